"""The images of a search: few to train on, as in AutoAugment (arXiv 1805.09501), so that a training is short."""

from __future__ import annotations

from dataclasses import replace

import torch

from automl_ext.data import Data, DataError, load, split_off


def reduced(name: str, root: str | None, seed: int, images: int | None, val_images: int) -> Data:
    """The data set with `images` of its train part, class by class, and at most `val_images` of its validation part.

    The test part stays whole; mean and std are those of the whole train part. Raises DataError, one line.
    """
    data = load(name, root=root, seed=seed)
    train = data.train
    if images is not None and images > len(train):
        raise DataError(f"images: {name!r} has {len(train)} train images, not {images}")
    if images is not None and images < len(train):
        _, train = split_off(train, images / len(train), seed)
    order = torch.randperm(len(data.val), generator=torch.Generator().manual_seed(seed))
    return replace(data, train=train, val=data.val[order[:val_images].sort().values])
