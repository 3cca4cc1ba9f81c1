"""A plan of layers as a network, with a linear classifier behind it."""

from __future__ import annotations

from typing import Any, final

import torch
from automl_ext.tasks.architecture.parts import PartError
from automl_ext.tasks.architecture.parts_space import Plan
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.training import mode

__all__ = ["PartsNetwork"]

Shape = tuple[int, ...]


@final
class Added(nn.Module):
    """Its input added to what `inner` makes of it. Zeros fill up the smaller one; all is flat where one is."""

    def __init__(self, inner: nn.Module, before: Shape, after: Shape) -> None:
        super().__init__()
        self.inner = inner
        self.flat = len(before) != len(after)
        if self.flat:
            before, after = (torch.Size(before).numel(),), (torch.Size(after).numel(),)
        self.shape = tuple(max(pair) for pair in zip(before, after, strict=True))
        self.fills = [_fill(shape, self.shape) for shape in (before, after)]

    def forward(self, x: Tensor) -> Tensor:
        pair = [x, self.inner(x)]
        if self.flat:
            pair = [each.flatten(1) for each in pair]
        left, right = (
            functional.pad(each, fill) if fill else each for each, fill in zip(pair, self.fills, strict=True)
        )
        return left + right


@final
class PartsNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). Images that are left are averaged. PartError for a plan that does not build."""

    def __init__(self, plan: Plan, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        made, after = _chain(plan, shape)
        self.body = nn.ModuleList(made)
        self.images = len(after) == 3
        self.classifier = nn.Linear(after[0], classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.body:
            x = module(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)) if self.images else x)
        return logits


def _chain(plan: Plan, shape: Shape) -> tuple[list[nn.Module], Shape]:
    """The modules of a plan, and the shape behind them."""
    made: list[nn.Module] = []
    for step in plan.steps:
        if isinstance(step, Plan):
            inner, after = _chain(step, shape)
            added = Added(nn.Sequential(*inner), shape, after)
            made.append(added)
            shape = added.shape
            continue
        layer, values = step
        try:
            module: Any = layer.make(shape, values)
            if not isinstance(module, nn.Module):
                raise TypeError(f"make gives {type(module).__name__}, no torch.nn.Module")
            shape = _shape_behind(module, shape)
        except Exception as error:  # a layer of the user's own may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise PartError(f"layer {layer.name} {values} on {shape}: {reason}") from error
        made.append(module)
    return made, shape


def _shape_behind(module: nn.Module, shape: Shape) -> Shape:
    """Found by running it on one input."""
    if isinstance(module, nn.ReLU | nn.BatchNorm2d | nn.BatchNorm1d | nn.Identity | nn.Dropout):
        return shape
    with mode(module, training=False), torch.inference_mode():
        after = tuple(module(torch.zeros(1, *shape)).shape[1:])
    if len(after) not in (1, 3) or 0 in after:
        raise ValueError(f"gives {after}, neither images nor flat values")
    return after


def _fill(shape: Shape, wanted: Shape) -> tuple[int, ...]:
    """What `pad` takes, or nothing where the shapes are equal."""
    if shape == wanted:
        return ()
    return tuple(
        number for have, want in reversed(list(zip(shape, wanted, strict=True))) for number in (0, want - have)
    )
