"""What the dense network does on calibration images: its outputs at random points, and Gram matrices of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from automl_ext.tasks.pruning.flow import Flow, run
from automl_ext.tasks.pruning.groups import Plan
from torch import Tensor, fx, nn
from torch.nn import functional

__all__ = ["Dense", "Grams", "calibrate", "patches", "sampled", "solvable"]


@dataclass(frozen=True)
class Dense:
    """images: (n, c, h, w) normalised; places: layer -> (n, points) flat output positions; outputs, partners: layer ->
    (n * points, channels) the layer's outputs there, and the other side of the sum that it ends in, if that is no
    number and nothing is broadcast.
    """

    images: Tensor
    places: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    partners: Mapping[str, Tensor]

    def first(self, count: int) -> Dense:
        """The same of the first `count` images alone."""
        share = min(count, len(self.images))

        def cut(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[: share * len(value) // len(self.images)] for name, value in tensors.items()}

        return Dense(self.images[:share], cut(self.places), cut(self.outputs), cut(self.partners))


@dataclass(frozen=True)
class Grams:
    """A layer that reads prunable channels, in float64. f = input channels x kernel area, o = outputs.

    gram: (f, f) of centred inputs; mean: (f,) of the inputs; weight (o, f) and bias (o,) of the dense layer.
    """

    gram: Tensor
    mean: Tensor
    weight: Tensor
    bias: Tensor


def calibrate(
    network: nn.Module,
    flow: Flow,
    plan: Plan,
    images: Tensor,
    points: int,
    generator: torch.Generator,
    with_grams: bool = True,
) -> tuple[Dense, dict[str, Grams]]:
    """Run the dense network once over `images`, drawing `points` a map from `generator`, layer after layer.

    with_grams: Gram matrices cost 8 f^2 bytes a layer, a gigabyte for VGG-16; without, there are none.
    """
    places: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    partners: dict[str, Tensor] = {}
    grams: dict[str, Grams] = {}

    def before(name: str, module: nn.Module, inputs: Tensor, values: Mapping[fx.Node, Any]) -> None:
        if not solvable(module, inputs):
            return
        layer = plan.layer(name)
        chosen = torch.rand(len(images), layer.places, generator=generator).argsort(1)[:, :points]
        places[name] = chosen.to(images.device)
        rows = patches(inputs, module, places[name])
        weight: Any = module.weight
        bias: Any = module.bias if module.bias is not None else weight.new_zeros(len(weight))
        outputs[name] = functional.linear(rows, weight.flatten(1), bias)
        other = values[flow.sums[name].partner] if name in flow.sums else None
        if isinstance(other, Tensor) and other.shape == (len(inputs), *module(inputs[:1]).shape[1:]):
            partners[name] = sampled(other, places[name])
        if layer.reads and with_grams:
            rows = rows.double()
            mean = rows.mean(0)
            rows = rows - mean
            grams[name] = Grams(rows.T @ rows, mean, weight.detach().flatten(1).double(), bias.detach().double())

    run(network, flow, images, before)
    return Dense(images, places, outputs, partners), grams


def solvable(module: nn.Module, inputs: Tensor) -> bool:
    """Whether the layer is a matrix on patches: no channel groups, zero padding in numbers, no extra dimension."""
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return isinstance(module, nn.Linear) and inputs.dim() == 2


def patches(inputs: Tensor, module: nn.Module, places: Tensor) -> Tensor:
    """(n * points, c * k * k): what the layer sees at the flat output positions `places` (n, points) of `inputs`."""
    if not isinstance(module, nn.Conv2d):
        return inputs
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    ph, pw = int(module.padding[0]), int(module.padding[1])
    padded = functional.pad(inputs, (pw, pw, ph, ph)) if ph or pw else inputs
    n, c, _, width = padded.shape
    across = (width - dw * (kw - 1) - 1) // sw + 1
    corner = places // across * sh * width + places % across * sw
    taps = torch.arange(kh)[:, None] * dh * width + torch.arange(kw) * dw
    index = (corner[:, :, None] + taps.flatten().to(places.device)).flatten(1)
    picked = padded.flatten(2).gather(2, index[:, None, :].expand(n, c, -1))
    return picked.view(n, c, -1, kh * kw).permute(0, 2, 1, 3).reshape(-1, c * kh * kw)


def sampled(maps: Tensor, places: Tensor) -> Tensor:
    """(n * points, c): the values of `maps` (n, c, h, w) at flat positions `places` (n, points)."""
    n, c = maps.shape[:2]
    picked = maps.flatten(2).gather(2, places[:, None, :].expand(n, c, -1))
    return picked.permute(0, 2, 1).reshape(-1, c)
