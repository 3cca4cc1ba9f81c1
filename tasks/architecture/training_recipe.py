"""How a fixed network is trained: what random, grid, Bayesian optimisation, RL and evolution are compared on.

Up to five decisions: `rate` and `weight_decay` (on a logarithmic scale), `batch` (likewise), `momentum`, `schedule`.
The network is the same for all, a residual or a plain one, or one of the user's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.reference import Handmade
from pydantic import Field
from torch import nn

from automl_ext.decisions import Choice, Decision, Integer, Real, Value
from automl_ext.space import Candidate, Space
from automl_ext.training import Recipe, lent_seed

__all__ = ["family"]

Tuned = Literal["rate", "batch", "weight_decay", "momentum", "schedule"]
DECISIONS: Mapping[str, Decision] = {
    "rate": Real("rate", 1e-3, 3.0, log=True),
    "batch": Integer("batch", 8, 256, log=True),
    "weight_decay": Real("weight_decay", 1e-6, 1e-1, log=True),
    "momentum": Real("momentum", 0.0, 0.99),
    "schedule": Choice("schedule", ("one-cycle", "constant")),
}
REFERENCE: Mapping[str, Value] = {
    "rate": 0.1,
    "batch": 128,
    "weight_decay": 5e-4,
    "momentum": 0.9,
    "schedule": "one-cycle",
}
"""The trainer's own defaults."""


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    tune: Annotated[Sequence[Tuned], Field(min_length=1)] = ("rate", "batch", "weight_decay", "momentum", "schedule"),
    network: str = "resnet",
    width: Annotated[int, Field(ge=1, le=4096)] = 8,
) -> Family:
    """Recipes for one network on images of `shape`.

    tune: what is decided; the rest is as the environment's options say. network: resnet, plain, or your own
    package.module:function, which gets (channels, classes) and returns a module. width: channels of the first of up to
    three stages, doubled by each further one.
    """
    names = tuple(dict.fromkeys(tune))
    _check(network, shape, classes, width)
    space = Space(*(DECISIONS[name] for name in names))

    def build(candidate: Candidate) -> nn.Module:
        return _network(network, shape, classes, width)

    def recipe(candidate: Candidate, others: Recipe) -> Recipe:
        chosen: dict[str, Any] = {name: candidate[name] for name in names if name in candidate}
        return replace(others, **chosen)

    def draw(candidate: Candidate, file: Path) -> None:
        from automl_ext.tasks.architecture.training_drawing import draw_rates

        draw_rates(recipe(candidate, Recipe(decay=0.0)), names, file)

    return Family(space, {"default": {name: REFERENCE[name] for name in names}}, build, draw, recipe=recipe)


def _network(name: str, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    if name in ("resnet", "plain"):
        return Handmade(shape, classes, width, residual=name == "resnet")
    module_name, _, function_name = name.partition(":")
    made: Any = getattr(importlib.import_module(module_name), function_name)(shape[0], classes)
    if not isinstance(made, nn.Module):
        raise TypeError(f"returned {type(made).__name__}, no torch.nn.Module")
    return made


def _check(name: str, shape: tuple[int, int, int], classes: int, width: int) -> None:
    """ValueError, one line, for a network that cannot be had or does not fit the images."""
    module_name, colon, function_name = name.partition(":")
    if name not in ("resnet", "plain") and not (
        colon and all(part.isidentifier() for part in (*module_name.split("."), function_name))
    ):
        raise ValueError(f"env.space_options.network: resnet, plain or your package.module:function, not {name!r}")
    try:
        with lent_seed(0), torch.inference_mode():
            logits = _network(name, shape, classes, width).eval()(torch.zeros(2, *shape))
    except Exception as error:  # a module of the user's own may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"env.space_options.network: {name!r} does not run on images of {shape}: {reason}") from None
    if tuple(logits.shape) != (2, classes):
        raise ValueError(f"env.space_options.network: {name!r} gives {tuple(logits.shape)}, needed is {(2, classes)}")
