"""A policy applied to uint8 images in memory, grouped by operation; the search's fast form of it.

The same seed gives the same pixels wherever it runs: all draws of a call are made ahead, for every image, whether they
are needed or not, and OpenCV runs on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, final

import cv2
import numpy as np
from automl_ext.tasks.augmentation.geometry import Interpolation, Matrix, cut_out, matrix, warped
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS
from automl_ext.tasks.augmentation.pixels import POINTWISE
from automl_ext.tasks.augmentation.policy import Policy, Stage
from numpy.typing import NDArray

cv2.setNumThreads(0)

Images = NDArray[np.uint8]
NAMES = (IDENTITY, *OPERATIONS)

AT_ONCE = 2**18
"""Bytes of images that an operation gets at once, so that what it makes on the way stays in the processor's cache."""


@dataclass(frozen=True)
class Ground:
    """What operations need to know of the images.

    fill: one value a channel, for what nothing covers. bank: (m, h, w, c) images to pair with, from the train part.
    fill_mask: what a mask gets there.
    """

    fill: tuple[int, ...]
    bank: Images | None = None
    interpolation: Interpolation = "linear"
    fill_mask: int = 0


class Draws(NamedTuple):
    """One stage's chances for n images: choice (n,) of the sub-policy; a row a step in the rest.

    fire, sign, other: (steps, n) in [0, 1). spot: (steps, n, 2) in [0, 1).
    """

    choice: NDArray[np.int64]
    fire: NDArray[np.float64]
    sign: NDArray[np.float64]
    other: NDArray[np.float64]
    spot: NDArray[np.float64]

    def of(self, place: int, which: NDArray[np.int64]) -> Each:
        """What some images need at one place."""
        return Each(self.sign[place, which], self.other[place, which], self.spot[place, which])


class Each(NamedTuple):
    """sign, other: (k,) in [0, 1). spot: (k, 2) in [0, 1)."""

    sign: NDArray[np.float64]
    other: NDArray[np.float64]
    spot: NDArray[np.float64]


@final
@dataclass(frozen=True)
class Applier:
    """Applies one policy to batches. Its tables are built once."""

    policy: Policy
    ground: Ground
    _matrices: dict[tuple[str, float, int, int], Matrix | None] = field(default_factory=dict, repr=False)

    def __call__(
        self, images: Images, rng: np.random.Generator, masks: Images | None = None
    ) -> tuple[Images, Images | None]:
        """New images (n, h, w, c), and masks (n, h, w) moved along with them. Each image has draws of its own."""
        images, masks = images.copy(), None if masks is None else masks.copy()
        for stage in self._stages:
            draws = _drawn(stage, len(images), rng)
            for place in range(stage.operation.shape[1]):
                self._step(stage, place, draws, images, masks)
        return images, masks

    @cached_property
    def _stages(self) -> tuple[_Table, ...]:
        return tuple(_table(stage) for stage in self.policy.stages)

    def _step(self, stage: _Table, place: int, draws: Draws, images: Images, masks: Images | None) -> None:
        """The steps at one place of all chosen sub-policies, an operation at a time, in place."""
        happens = draws.fire[place] < stage.probability[draws.choice, place]
        operations = np.where(happens, stage.operation[draws.choice, place], 0)
        values = stage.value[draws.choice, place]
        most = max(1, AT_ONCE // images[:1].nbytes) if len(images) else 1
        for code in np.unique(operations[operations > 0]):
            group = np.flatnonzero(operations == code)
            for start in range(0, len(group), most):
                which = group[start : start + most]
                self._group(NAMES[code], values[which], draws.of(place, which), which, images, masks)

    def _group(
        self, name: str, values: NDArray[np.float64], draws: Each, which: NDArray[np.int64], images: Images,
        masks: Images | None,
    ) -> None:  # fmt: skip
        """One operation on some of the images, in place."""
        group = images[which]
        if name in POINTWISE:
            images[which] = POINTWISE[name](group, values)
        elif name == "Cutout":
            images[which] = cut_out(group, values, draws.spot, self.ground.fill)
        elif name == "SamplePairing":
            images[which] = self._paired(group, values, draws.other)
        else:
            signed = np.where(draws.sign < 0.5, values, -values)
            moves = [self._matrix(name, float(value), *images.shape[1:3]) for value in signed]
            images[which] = warped(group, moves, self.ground.fill, self.ground.interpolation)
            if masks is not None:
                masks[which] = warped(masks[which], moves, [self.ground.fill_mask], "nearest")

    def _paired(self, group: Images, weights: NDArray[np.float64], other: NDArray[np.float64]) -> Images:
        bank = self.ground.bank
        if bank is None:
            raise ValueError("SamplePairing needs a bank of images")
        partners = (other * len(bank)).astype(np.int64)
        out = np.empty_like(group)
        for image, partner, weight, made in zip(group, partners, weights, out, strict=True):
            cv2.addWeighted(image, 1 - weight, bank[partner], weight, 0, dst=made)
        return out

    def _matrix(self, name: str, value: float, height: int, width: int) -> Matrix | None:
        key = (name, value, height, width)
        if key not in self._matrices:
            self._matrices[key] = matrix(*key)
        return self._matrices[key]


@dataclass(frozen=True, eq=False)
class _Table:
    """A stage as arrays (sub-policies, steps), shorter sub-policies filled up with identities."""

    operation: NDArray[np.int64]
    probability: NDArray[np.float64]
    value: NDArray[np.float64]
    borders: NDArray[np.float64] | None


def _table(stage: Stage) -> _Table:
    shape = (len(stage.choices), max(len(choice) for choice in stage.choices))
    operation, probability, value = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
    for row, choice in enumerate(stage.choices):
        for column, step in enumerate(choice):
            if not step.idle:
                operation[row, column] = NAMES.index(step.operation)
                probability[row, column] = step.probability
                value[row, column] = 0.0 if step.value is None else step.value
    return _Table(operation, probability, value, np.cumsum(stage.weights) if stage.weights else None)


def _drawn(table: _Table, count: int, rng: np.random.Generator) -> Draws:
    steps = table.operation.shape[1]
    place = rng.random(count)
    if table.borders is None:
        choice = (place * len(table.operation)).astype(np.int64)
    else:
        choice = np.minimum(np.searchsorted(table.borders, place, side="right"), len(table.operation) - 1)
    chances = rng.random((5, steps, count))
    return Draws(choice, chances[0], chances[1], chances[2], np.moveaxis(chances[3:], 0, -1))


def fill_of(mean: Sequence[float]) -> tuple[int, ...]:
    """The fill colour for channel means in [0, 1]."""
    return tuple(round(255 * value) for value in mean)
