"""Dilated depthwise 3x3 convolutions that train fast on CPUs.

torch's forward pass is fast for rates of a few columns where images lie channels-last in memory; its passes for more
columns and its gradients are not. Those are sums over the nine taps here, a pass over the map each, and the gradient of
the input is a forward pass with the weights turned. Exact; faster than torch's and than space-to-batch, see the README.
In evaluation, and where a network is traced, the layer is torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["depthwise"]

Rate = tuple[int, int]
Part = tuple[slice, slice, slice]
FAST = 4
"""The most columns that oneDNN's fast kernels reach to a side, on any kind of processor."""


def depthwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """`layer(x)` of a depthwise 3x3 convolution without bias that keeps the size of x (n, c, h, w)."""
    rate = (int(layer.dilation[0]), int(layer.dilation[1]))
    if not layer.training or rate == (1, 1) or x.device.type != "cpu":
        return layer(x)  # type: ignore[no-any-return]
    return _Dilated.apply(x, layer.weight, rate)  # type: ignore[no-any-return,no-untyped-call]


class _Dilated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rate: Rate) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        ctx.rate = rate
        return _convolved(x, weight, rate)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), rate = ctx.saved_tensors, ctx.rate
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _convolved(gradient, weight.flip(2, 3), rate)
        if ctx.needs_input_grad[1]:
            to_weight = torch.empty_like(weight)
            said, read = gradient.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
            for row, column, to, of in _taps(x, rate):
                to_weight[:, 0, row, column] = (said[to] * read[of]).flatten(0, 2).sum(0)
        return to_x, to_weight, None


def _convolved(x: Tensor, weight: Tensor, rate: Rate) -> Tensor:
    """x: channels-last in memory."""
    if rate[1] <= FAST:
        return functional.conv2d(x, weight, None, 1, rate, rate, x.shape[1])
    read, taps = x.permute(0, 2, 3, 1), weight.permute(2, 3, 1, 0).contiguous()  # (3, 3, 1, c)
    made = read * taps[1, 1, 0]
    for row, column, to, of in _taps(x, rate):
        if (row, column) != (1, 1):
            made[to].addcmul_(read[of], taps[row, column, 0])
    return made.permute(0, 3, 1, 2)


def _taps(x: Tensor, rate: Rate) -> Iterator[tuple[int, int, Part, Part]]:
    """Row and column of each tap; which outputs (n, h, w, c) it reaches from inside the map x (n, c, h, w), and which
    inputs it reads for them."""
    every = slice(None)
    for row, (above, below) in enumerate(_ends(x.shape[2], rate[0])):
        for column, (left, right) in enumerate(_ends(x.shape[3], rate[1])):
            yield row, column, (every, above, left), (every, below, right)


def _ends(size: int, rate: int) -> Iterator[tuple[slice, slice]]:
    """Of one side: outputs and inputs of the tap before, at and behind each place."""
    for shift in (-rate, 0, rate):
        low, high = max(0, -shift), max(0, -shift, min(size, size - shift))
        yield slice(low, high), slice(low + shift, high + shift)
