"""Weights with channels last in memory while a network trains: convolutions are up to twice as fast so, on any device.

What comes out differs from the plain order by rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["channels_last", "laid_out"]

_SAFE = 16


@contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """Within it the network's weights of four dimensions (all filters) lie channels-last; then they are as before.

    Parameters stay the same objects. Strided 1x1 convolutions of few channels take each stride's first pixel before
    them, which is the same: oneDNN's gradient of their weights writes past a buffer where images lie channels-last
    (oneDNN issue 6035, found in torch 2.13).
    """
    filters = [(weight, weight.is_contiguous()) for weight in network.parameters() if weight.ndim == 4]
    with ExitStack() as stack:
        for module in network.modules():
            if _breaks(module):
                stack.enter_context(_strided_before(module))
        for weight, _ in filters:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        try:
            yield
        finally:
            for weight, plain in filters:
                if plain:
                    weight.data = weight.data.contiguous()


def _breaks(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.padding in ((0, 0), "valid")
        and max(module.stride) > 1
        and module.in_channels // module.groups < _SAFE
    )


@contextmanager
def _strided_before(module: nn.Module) -> Iterator[None]:
    stride: Any = module.stride

    def thin(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (functional.avg_pool2d(given[0] if given else named["input"], 1, stride),), {}

    hook = module.register_forward_pre_hook(thin, with_kwargs=True)
    module.stride = (1, 1)  # type: ignore[assignment]
    try:
        yield
    finally:
        module.stride = stride
        hook.remove()


def laid_out(x: Tensor) -> Tensor:
    """Images (n, c, h, w) channels-last in memory, those of one channel or one pixel, too.

    torch takes such images for plain ones if they were, and the layers behind them, 1x1 or depthwise, would stay plain.
    """
    _, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    return x.as_strided(x.shape, (channels * height * width, 1, channels * width, channels))
