"""What a pixel of a branch's output sees of the features: which places, and along how many ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.space import FEATURES, Branch
from numpy.typing import NDArray

__all__ = ["Map", "field_of", "reach"]

Map = NDArray[np.float64]


def field_of(cell: Sequence[Branch], number: int, size: tuple[int, int]) -> Map:
    """(h, w) weights with which the features reach the middle pixel of branch `number`, all taps alike.

    They sum to 1. size: of the map.
    """
    here = np.zeros(size)
    here[size[0] // 2, size[1] // 2] = 1.0
    while number != FEATURES:
        branch = cell[number - 1]
        here = _behind(branch.op, here)
        number = branch.source
    field: Map = here / here.sum()
    return field


def reach(field: Map) -> tuple[int, int]:
    """Rows and columns of the smallest box around what is seen."""
    rows, columns = np.nonzero(field.any(1))[0], np.nonzero(field.any(0))[0]
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def _behind(op: Op, here: Map) -> Map:
    """The weights on an operation's input, of weights on its output."""
    if op.kind in ("3x3", "dense"):
        rows, columns = (_taps(side, rate) for side, rate in zip(here.shape, (op.rows, op.columns), strict=True))
        return rows.T @ here @ columns
    if op.kind == "pool":
        rows, columns = (_pooled(side, grid) for side, grid in zip(here.shape, (op.rows, op.columns), strict=True))
        return rows.T @ here @ columns
    return here


def _taps(side: int, rate: int) -> Map:
    """(side, side) output by input of three taps along one side."""
    return np.eye(side) + np.eye(side, k=rate) + np.eye(side, k=-rate)


def _pooled(side: int, grid: int) -> Map:
    """(side, side) output by input: means of `grid` parts, and linear between their values, ends on ends."""
    mean = np.zeros((grid, side))
    for part in range(grid):
        first, behind = part * side // grid, math.ceil((part + 1) * side / grid)
        mean[part, first:behind] = 1 / (behind - first)
    places = np.arange(side) * (grid - 1) / max(side - 1, 1)
    between = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(grid)))
    made: Map = between @ mean
    return made
