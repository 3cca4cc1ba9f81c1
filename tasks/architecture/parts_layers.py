"""The layers of `parts.py` as modules, for an input of a given shape (without the batch)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from automl_ext.tasks.architecture.layers import AvgPool
from torch import nn

Shape = tuple[int, ...]
Values = Mapping[str, Any]


def conv(shape: Shape, values: Values) -> nn.Module:
    """filters, size, stride."""
    size = int(values["size"])
    return nn.Conv2d(_channels(shape), int(values["filters"]), size, int(values["stride"]), size // 2)


def separable_conv(shape: Shape, values: Values) -> nn.Module:
    """filters, size, stride."""
    size, channels = int(values["size"]), _channels(shape)
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, int(values["stride"]), size // 2, groups=channels, bias=False),
        nn.Conv2d(channels, int(values["filters"]), 1),
    )


def affine(shape: Shape, values: Values) -> nn.Module:
    """units."""
    linear = nn.Linear(math.prod(shape), int(values["units"]))
    return linear if len(shape) == 1 else nn.Sequential(nn.Flatten(), linear)


def max_pool(shape: Shape, values: Values) -> nn.Module:
    """size, stride."""
    _channels(shape)
    size = int(values["size"])
    return nn.MaxPool2d(size, int(values["stride"]), size // 2)


def average_pool(shape: Shape, values: Values) -> nn.Module:
    """size, stride."""
    _channels(shape)
    return AvgPool(int(values["size"]), int(values["stride"]))


def dropout(shape: Shape, values: Values) -> nn.Module:
    """keep."""
    return nn.Dropout(1 - float(values["keep"]))


def batch_norm(shape: Shape, values: Values) -> nn.Module:
    """Over images or flat values."""
    return nn.BatchNorm1d(shape[0]) if len(shape) == 1 else nn.BatchNorm2d(shape[0])


def _channels(shape: Shape) -> int:
    if len(shape) != 3:
        raise ValueError(f"needs images, and gets {shape[0]} flat values; put it before what flattens them")
    return shape[0]
