"""DeepArchitect: networks out of parts that a user writes down in a few lines; see parts.py for the language.

R. Negrinho, G. Gordon, 2017, arXiv 1704.08792.

Differs from the paper:

1. Its spaces are there at a small size: fewer filters and repeats, and a linear classifier behind them by itself.
2. What cannot be built is found when the space is made, on random candidates, not skipped in the search.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.parts import (
    Chain,
    Hyperparameters,
    Maybe,
    Part,
    PartError,
    Permutation,
    Repeat,
    Residual,
    affine,
    average_pool,
    batch_norm,
    conv,
    dropout,
    max_pool,
    relu,
)
from automl_ext.tasks.architecture.parts_network import PartsNetwork
from automl_ext.tasks.architecture.parts_space import parts_space, plan, tuned
from torch import nn

from automl_ext.space import Candidate
from automl_ext.training import Recipe, lent_seed

__all__ = ["NETWORKS", "family"]

TRIED = 20
"""How many random candidates are built when a space is made."""


def deepconv(shape: tuple[int, int, int], classes: int) -> Part:
    """The paper's chain: two stages of convolutions, each layer of a stage like the others."""

    def stage(filters: list[int]) -> Chain:
        block = Chain(conv(filters, [3, 5]), Permutation(relu(), batch_norm()), Maybe(dropout([0.5, 0.9])))
        return Chain(conv(filters, [3, 5, 7], [2]), Repeat(block, [1, 2, 4], tied=True))

    return Chain(stage([8, 12, 16, 24]), stage([16, 24, 32, 48]))


def resnet(shape: tuple[int, int, int], classes: int) -> Part:
    """The paper's residual space: blocks around which their input goes, and pooling between two stages, or none."""

    def stage(filters: list[int]) -> Chain:
        convs = Repeat(Chain(conv(filters, [1, 3, 5]), Permutation(batch_norm(), relu())), [1, 2], tied=True)
        return Chain(Repeat(Residual(Chain(convs, conv(filters, [1, 3]))), [1, 2]), Maybe(dropout([0.5, 0.9])))

    return Chain(stage([8, 16, 24]), Maybe(average_pool([3, 5])), stage([16, 32, 48]))


def tutorial(shape: tuple[int, int, int], classes: int) -> Part:
    """The paper's small space: two convolutions with pooling, a hidden layer; joined with how it is trained."""
    stages = [Chain(conv([8, 16, 24, 32], [1, 3, 5]), relu(), max_pool([2, 3])) for _ in range(2)]
    training = Hyperparameters({"rate": [0.01, 0.02, 0.05, 0.1, 0.2], "momentum": [0.5, 0.9, 0.95]})
    return Chain(training, *stages, affine([32, 64, 128]), relu(), dropout([0.25, 0.5, 0.75]))


NETWORKS: Mapping[str, Callable[[tuple[int, int, int], int], Part]] = {
    "deepconv": deepconv,
    "resnet": resnet,
    "tutorial": tutorial,
}


def family(shape: tuple[int, int, int], classes: int, *, network: str = "resnet") -> Family:
    """Networks of the user's parts for images of `shape`.

    network: deepconv, resnet or tutorial, or your own package.module:function, which gets (shape, classes) and returns
    a part. Raises PartError where that is none, or some of its candidates do not build.
    """
    part = _part(network, shape, classes)
    space = parts_space(part)

    def build(candidate: Candidate) -> nn.Module:
        return PartsNetwork(plan(part, candidate), shape, classes)

    def recipe(candidate: Candidate, others: Recipe) -> Recipe:
        return replace(others, **tuned(part, candidate))  # type: ignore[arg-type]

    def draw(candidate: Candidate, file: Path) -> None:
        from automl_ext.tasks.architecture.parts_drawing import draw_plan

        draw_plan(plan(part, candidate), tuned(part, candidate), file)

    middle = space.build(lambda walk: walk.decision.grid(3)[len(walk.decision.grid(3)) // 2])
    found = Family(space, {"middle": middle}, build, draw, recipe=recipe)
    _try(found, network, shape, classes)
    return found


def _part(name: str, shape: tuple[int, int, int], classes: int) -> Part:
    module_name, colon, function_name = name.partition(":")
    if name not in NETWORKS and not (
        colon and all(word.isidentifier() for word in (*module_name.split("."), function_name))
    ):
        legal = f"{', '.join(NETWORKS)} or your package.module:function"
        raise PartError(f"env.space_options.network: {legal}, not {name!r}")
    try:
        make: Any = NETWORKS.get(name) or getattr(importlib.import_module(module_name), function_name)
        part = make(shape, classes)
    except Exception as error:  # a module of the user's own may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PartError(f"env.space_options.network: {name!r} gives none for (shape, classes): {reason}") from error
    if not isinstance(part, Part):
        raise PartError(f"env.space_options.network: {name!r} returned {type(part).__name__}, no part")
    return part


def _try(family: Family, name: str, shape: tuple[int, int, int], classes: int) -> None:
    """Some candidates build and give logits; they are the same every time."""
    rng = np.random.default_rng(0)
    for candidate in (*family.references.values(), *(family.space.sample(rng) for _ in range(TRIED))):
        try:
            with lent_seed(0), torch.inference_mode():
                family.build(candidate).eval()(torch.zeros(2, *shape))
            family.recipe(candidate, Recipe())
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise PartError(
                f"env.space_options.network: {name!r} has candidates that do not build: {reason}"
            ) from error
