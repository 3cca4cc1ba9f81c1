"""The images of a search: few to train on, as in AutoAugment (arXiv 1805.09501), so that a training is short."""

from __future__ import annotations

from dataclasses import replace

import torch

from automl_ext.data import Data, DataError, Split, load, split_off


def reduced(name: str, root: str | None, seed: int, images: int | None, val_images: int) -> Data:
    """The data set with `images` of its train part, class by class, and at most `val_images` of its validation part.

    The test part stays whole; mean and std are those of the whole train part. Raises DataError, one line.
    """
    data = load(name, root=root, seed=seed)
    if images is not None and images > len(data.train):
        raise DataError(f"images: {name!r} has {len(data.train)} train images, not {images}")
    train = few(data.train, images, seed)
    order = torch.randperm(len(data.val), generator=torch.Generator().manual_seed(seed))
    return replace(data, train=train, val=data.val[order[:val_images].sort().values])


def few(split: Split, images: int | None, seed: int) -> Split:
    """About `images` of the split, rounded class by class; all of them where it has no more, or for None.

    Raises DataError where nothing is left.
    """
    if images is None or images >= len(split):
        return split
    try:
        return split_off(split, images / len(split), seed)[1]
    except DataError:
        raise DataError(f"images: {images} of {len(split)} train images are too few, class by class") from None
