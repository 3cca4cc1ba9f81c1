"""Dilated depthwise 3x3 convolutions that train fast on CPUs.

torch's forward pass is fast for them, its backward pass is not: gradients of weights are found tap by tap here, and
that of the input by a forward pass with the weights turned. Exact; faster than torch's and than space-to-batch, see the
README. In evaluation, and where a network is traced, the layer is torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["depthwise"]

Rate = tuple[int, int]


def depthwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """`layer(x)` of a depthwise 3x3 convolution without bias that keeps the size of x (n, c, h, w)."""
    rate = (int(layer.dilation[0]), int(layer.dilation[1]))
    if not layer.training or rate == (1, 1) or x.device.type != "cpu":
        return layer(x)  # type: ignore[no-any-return]
    return _Dilated.apply(x, layer.weight, rate)  # type: ignore[no-any-return,no-untyped-call]


class _Dilated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: Rate) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rate = rate
        return functional.conv2d(x, weight, None, 1, rate, rate, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), rate, (gradient,) = ctx.saved_tensors, ctx.rate, gradients
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = functional.conv2d(gradient, weight.flip(2, 3), None, 1, rate, rate, x.shape[1])
        if ctx.needs_input_grad[1]:
            to_weight = torch.empty_like(weight)
            for row, (above, below) in enumerate(_taps(x.shape[2], rate[0])):
                for column, (left, right) in enumerate(_taps(x.shape[3], rate[1])):
                    product = gradient[:, :, above, left] * x[:, :, below, right]
                    to_weight[:, 0, row, column] = product.sum((0, 2, 3))
        return to_x, to_weight, None


def _taps(size: int, rate: int) -> Iterator[tuple[slice, slice]]:
    """Which outputs along one side a tap reaches from inside the map, and which inputs it reads for them."""
    for shift in (-rate, 0, rate):
        low, high = max(0, -shift), max(0, -shift, min(size, size - shift))
        yield slice(low, high), slice(low + shift, high + shift)
