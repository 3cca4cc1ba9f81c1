"""What a space of architectures consists of. Each space is a module with a function

    family(shape, classes, **options) -> Family

for images of `shape` (c, h, w); `families.py` lists them. Stem and depth follow the size of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Space, Walk
from automl_ext.training import Recipe

__all__ = ["Family", "Piece", "keep"]

Shape = tuple[int, int, int]
"""Of one image: (channels, height, width)."""


def keep(candidate: Candidate, recipe: Recipe) -> Recipe:
    """The recipe as it is."""
    return recipe


@dataclass(frozen=True)
class Piece:
    """A part of a network whose latency is measured on its own. name: what it is, in words; equal pieces have one name.

    make: builds it. shape: of its input, without the batch.
    """

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """A space of architectures for images of one shape and a number of classes, and what a candidate of it is.

    references: published candidates; they may lie outside the space, and are built and drawn all the same.
    build: a network with fresh weights from torch's global generator; images (n, c, h, w) -> logits (n, classes). What
    it has as `body`, a list of modules, tells an auxiliary head where two thirds of the depth are.
    draw: one SVG file. variation: the paper's own operators, else the generic ones. recipe: how the candidate is
    trained, given how others are. observe: what learning agents see of a walk, in [0, 1]; else the generic view.
    pieces: the parts whose latencies add up to the candidate's, and of None all parts there can be.
    """

    space: Space
    references: Mapping[str, Candidate]
    build: Callable[[Candidate], nn.Module]
    draw: Callable[[Candidate, Path], None]
    variation: Variation | None = None
    recipe: Callable[[Candidate, Recipe], Recipe] = keep
    observe: Callable[[Walk], NDArray[np.float32]] | None = None
    pieces: Callable[[Candidate | None], Sequence[Piece]] | None = None
