"""The images that a search trains, calibrates, rewards and tests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from automl_ext.tasks.pruning.network import PruningError

from automl_ext.data import Data, load

__all__ = ["check_calibration", "rewarded_data"]


def rewarded_data(
    name: str, root: str | None, seed: int, mean: Sequence[float] | None, std: Sequence[float] | None, rewarded: int
) -> Data:
    """The data set with its validation part cut to the reward images, and normalised as asked.

    name, root: as `automl_ext.data.load` takes them. mean, std: a number a channel, in units of [0, 1]; None: those of
    the train part. rewarded: how many validation images stay. Raises PruningError and DataError, one line.
    """
    data = load(name, root=root, seed=seed)
    if data.train.label.ndim != 1:
        raise PruningError(f"dataset {name!r} has masks; pruning needs one label an image")
    _check_moments(mean, std, data.train.image.shape[1])
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data.val), generator=generator)[:rewarded].sort().values
    return replace(
        data,
        val=data.val[chosen],
        mean=data.mean if mean is None else tuple(mean),
        std=data.std if std is None else tuple(std),
    )


def _check_moments(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> None:
    for option, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise PruningError(f"{option} has {len(values)} numbers, the images have {channels} channels")
    for value in mean or ():
        if not 0 <= value <= 1:
            raise PruningError(f"mean must lie within 0 and 1, as the images do (255 is 1), not {value}")
    for value in std or ():
        if not 0 < value < math.inf:
            raise PruningError(f"std must be above 0 and finite, not {value}")


def check_calibration(recalibrate: bool, calibration_images: int) -> None:
    """PruningError where batch-norm statistics would be those of one image."""
    if recalibrate and calibration_images < 2:
        raise PruningError("recalibrate needs calibration_images to be 2 or more, a single image has no variance")
