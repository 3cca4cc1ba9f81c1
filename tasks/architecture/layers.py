"""Layers that several spaces share. All keep height and width as "same" padding does; a stride divides, rounding up.

Order as in the NASNet paper: ReLU, convolution, batch norm.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AvgPool", "DropPath", "Halve", "MinPool", "conv_norm", "relu_conv_norm", "separable", "twice_separable"]


@final
class DropPath(nn.Module):
    """Drops its input for a share `rate` of the images and scales the others up, while training.

    G. Larsson, M. Maire, G. Shakhnarovich, "FractalNet", ICLR 2017, arXiv 1605.07648; the rate is set from outside,
    which makes it the scheduled one of NASNet. Draws from torch's global generator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        kept = torch.rand((len(x), 1, 1, 1), device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


@final
class AvgPool(nn.Module):
    """Average over a window, without the padding's zeros."""

    def __init__(self, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, self.kernel, self.stride, self.kernel // 2, count_include_pad=False)


@final
class MinPool(nn.Module):
    """The smallest in a window."""

    def __init__(self, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return -functional.max_pool2d(-x, self.kernel, self.stride, self.kernel // 2)


@final
class Halve(nn.Module):
    """Half the height and width without throwing pixels away: two strided 1x1 convolutions, one moved by a pixel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        first = max(1, outputs // 2)
        self.even = nn.Conv2d(inputs, first, 1, 2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - first, 1, 2, bias=False) if outputs > first else None
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        y = self.even(x)
        if self.odd is not None:
            moved = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
            y = torch.cat([y, self.odd(moved)], 1)
        return self.norm(y)  # type: ignore[no-any-return]


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


def relu_conv_norm(
    inputs: int, outputs: int, kernel: tuple[int, int] | int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """ReLU, convolution, batch norm."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (dilation * (height // 2), dilation * (width // 2))
    conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, dilation, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(outputs))


def separable(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """ReLU, a depthwise and a 1x1 convolution with nothing between them, batch norm."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, inputs, kernel, stride, padding, dilation, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


def twice_separable(channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A separable convolution, then another of stride 1, as NASNet has them."""
    return nn.Sequential(*separable(channels, channels, kernel, stride), *separable(channels, channels, kernel))
