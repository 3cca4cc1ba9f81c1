"""The layers of `parts.py` as modules, for an input of a given shape (without the batch).

Windows of even size reach one pixel further to the right and down than to the left and up, so that height and width
are divided by the stride, rounded up, whatever the size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from automl_ext.tasks.architecture.layers import AvgPool
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]
Values = Mapping[str, Any]


@final
class Grow(nn.Module):
    """One more column on the right and row below, of `value`."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 1, 0, 1), value=self.value)


@final
class EvenAveragePool(nn.Module):
    """Average over a window of even size, without the padding's zeros; for maps of `shape` (c, h, w)."""

    def __init__(self, shape: Shape, size: int, stride: int) -> None:
        super().__init__()
        self.grow, self.pool = Grow(), nn.AvgPool2d(size, stride, (size - 1) // 2)
        self.share: Tensor
        self.register_buffer("share", self.pool(self.grow(torch.ones(1, 1, *shape[1:]))))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.grow(x)) / self.share  # type: ignore[no-any-return]


def _reaching(layer: nn.Module, size: int, value: float = 0.0) -> nn.Module:
    """The layer, behind what windows of even size need."""
    return layer if size % 2 else nn.Sequential(Grow(value), layer)


def conv(shape: Shape, values: Values) -> nn.Module:
    """filters, size, stride."""
    size = int(values["size"])
    layer = nn.Conv2d(_channels(shape), int(values["filters"]), size, int(values["stride"]), (size - 1) // 2)
    return _reaching(layer, size)


def separable_conv(shape: Shape, values: Values) -> nn.Module:
    """filters, size, stride."""
    size, channels = int(values["size"]), _channels(shape)
    stride, padding = int(values["stride"]), (size - 1) // 2
    depthwise = nn.Conv2d(channels, channels, size, stride, padding, groups=channels, bias=False)
    return nn.Sequential(_reaching(depthwise, size), nn.Conv2d(channels, int(values["filters"]), 1))


def affine(shape: Shape, values: Values) -> nn.Module:
    """units."""
    linear = nn.Linear(math.prod(shape), int(values["units"]))
    return linear if len(shape) == 1 else nn.Sequential(nn.Flatten(), linear)


def max_pool(shape: Shape, values: Values) -> nn.Module:
    """size, stride."""
    _channels(shape)
    size = int(values["size"])
    return _reaching(nn.MaxPool2d(size, int(values["stride"]), (size - 1) // 2), size, -math.inf)


def average_pool(shape: Shape, values: Values) -> nn.Module:
    """size, stride."""
    _channels(shape)
    size, stride = int(values["size"]), int(values["stride"])
    return AvgPool(size, stride) if size % 2 else EvenAveragePool(shape, size, stride)


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
