"""A dense prediction cell as a network.

Differs from the paper and its published code (tensorflow/models, research/deeplab):

1. Pooling takes the mean of each cell of the grid, as the paper says; the code slides a window of that size by one.
2. Channels, the dropout and the rates are options; rates follow the size of the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from automl_ext.tasks.segmentation.depthwise import depthwise
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.space import Branch
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.channels_last import laid_out

__all__ = ["CellNetwork", "Separable", "convolved"]

Pair = tuple[int, int]
"""Rows and columns."""


def convolved(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, dilation: Pair = (1, 1)) -> nn.Sequential:
    """Convolution that keeps the size (but for the stride), batch norm, ReLU."""
    padding = (dilation[0] * (kernel // 2), dilation[1] * (kernel // 2))
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Separable(nn.Module):
    """Depthwise 3x3 with its rate, batch norm, ReLU; pointwise, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, rate: Pair = (1, 1)) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, 1, rate, rate, inputs, bias=False)
        self.norm = nn.BatchNorm2d(inputs)
        self.pointwise = convolved(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(functional.relu(self.norm(depthwise(self.depthwise, x))))  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """Mean of each cell of a grid, 1x1 convolution, bilinear back to the map's size."""

    def __init__(self, inputs: int, outputs: int, grid: Pair, size: Pair) -> None:
        super().__init__()
        self.grid, self.size = grid, size
        self.layers = convolved(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(functional.adaptive_avg_pool2d(x, self.grid))
        y = functional.interpolate(x, size=self.size, mode="bilinear", align_corners=True)
        return laid_out(y) if self.training else y


def operation(op: Op, inputs: int, outputs: int, size: Pair) -> nn.Module:
    """The network of one operation. size: of the map, rows and columns."""
    rate = (op.rows, op.columns)
    if op.kind == "3x3":
        return Separable(inputs, outputs, rate)
    if op.kind == "pool":
        return Pooled(inputs, outputs, rate, size)
    if op.kind == "as-is":
        return nn.Identity()
    return convolved(inputs, outputs, 3, 1, rate) if op.kind == "dense" else convolved(inputs, outputs)


class CellNetwork(nn.Module):
    """(n, inputs, h, w) -> (n, filters, h, w): branches, concatenated, dropout, 1x1 convolution.

    filters: channels of each branch and of the output. size: (h, w).
    """

    def __init__(self, cell: Sequence[Branch], inputs: int, filters: int, size: Pair, dropout: float) -> None:
        super().__init__()
        self.sources = [branch.source for branch in cell]
        widths = [inputs]
        made = []
        for branch in cell:
            made.append(operation(branch.op, widths[branch.source], filters, size))
            widths.append(widths[branch.source] if branch.op.kind == "as-is" else filters)
        self.branches = nn.ModuleList(made)
        self.dropout = nn.Dropout(dropout)
        self.projection = convolved(sum(widths[1:]), filters)

    def outputs(self, features: Tensor) -> list[Tensor]:
        """Of each branch, (n, filters, h, w)."""
        known = [features]
        for source, branch in zip(self.sources, self.branches, strict=True):
            known.append(branch(known[source]))
        return known[1:]

    def forward(self, features: Tensor) -> Tensor:
        return self.projection(self.dropout(torch.cat(self.outputs(features), 1)))  # type: ignore[no-any-return]
