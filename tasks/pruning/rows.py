"""Reading a few points of maps that come part by part, in channels-last order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["parts_of", "points_of", "rows_of", "weight_columns", "weight_shaped"]


def rows_of(parts: Sequence[Tensor], module: nn.Module, places: Tensor) -> Tensor:
    """(n * points, k * k * c): what the layer sees at the flat output positions `places` (n, points) of its inputs.

    parts: the inputs, (n1, c, h, w), (n2, c, h, w) ...; n1 + n2 + ... = n. As calibration.patches, but the channels of
    one tap stand together; `weight_columns` gives weights in that order.
    """
    if not isinstance(module, nn.Conv2d):
        return torch.cat(list(parts))
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    ph, pw = int(module.padding[0]), int(module.padding[1])
    channels, height, width = parts[0].shape[1:]
    across = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    taps = torch.arange(kh * kw, device=places.device)
    y = (places // across * sh - ph)[:, :, None] + taps // kw * dh
    x = (places % across * sw - pw)[:, :, None] + taps % kw * dw
    outside = ((y < 0) | (y >= height) | (x < 0) | (x >= width)).flatten().nonzero()[:, 0]
    rows = _read(parts, (y.clamp_(0, height - 1) * width + x.clamp_(0, width - 1)).flatten(1))
    if len(outside):
        rows.index_fill_(0, outside, 0.0)
    return rows.view(-1, kh * kw * channels)


def points_of(parts: Sequence[Tensor], places: Tensor) -> Tensor:
    """(n * points, c): the values of maps (n1, c, h, w), (n2, c, h, w) ... at flat positions `places` (n, points)."""
    return _read(parts, places)


def _read(parts: Sequence[Tensor], places: Tensor) -> Tensor:
    """(n * places, c)"""
    channels, height, width = parts[0].shape[1:]
    count = places.shape[1]
    rows = parts[0].new_empty(places.numel(), channels)
    first = 0
    for maps in parts:
        last = first + len(maps)
        flat = maps.permute(0, 2, 3, 1).reshape(-1, channels)
        offset = torch.arange(0, len(maps) * height * width, height * width, device=maps.device)[:, None]
        index = (places[first:last] + offset).flatten()
        torch.index_select(flat, 0, index, out=rows[first * count : last * count])
        first = last
    return rows


def weight_columns(weight: Tensor) -> Tensor:
    """(o, k * k * c) for the rows of `rows_of`, of a layer's weight (o, c, k, k) or (o, c)."""
    return weight if weight.dim() == 2 else weight.permute(0, 2, 3, 1).flatten(1)


def weight_shaped(columns: Tensor, like: Tensor) -> Tensor:
    """`weight_columns` undone: (o, c * k * k), in the order of the layer's weight, whose shape is that of `like`."""
    if like.dim() == 2:
        return columns
    outputs, inputs, kh, kw = like.shape
    return columns.view(outputs, kh, kw, inputs).permute(0, 3, 1, 2).flatten(1)


def parts_of(values: Sequence[Any], node: Any) -> list[Tensor]:
    """What `node` gave, part by part."""
    return [value[node] for value in values]
