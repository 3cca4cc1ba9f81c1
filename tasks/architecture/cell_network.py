"""Networks of cells: a stem, stacks of normal cells with reduction cells between them, a linear classifier.

Zoph, Vasudevan, Shlens, Le: "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018, arXiv
1707.07012.

Differs from the paper:

1. Only what the logits depend on is built: cells and inputs that nothing uses have no parameters.
2. Images below 4 pixels are not halved any more; beyond 40 pixels the stem halves them until they are smaller.
3. The output joins the unused blocks only, and never the cell's inputs; the released NASNet-A joins a used state, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import torch
from automl_ext.tasks.architecture import layers
from automl_ext.tasks.architecture.cell_form import BEFORE, LAST, Block, CellPlan, Cells, kinds_of, live, stacked
from automl_ext.tasks.architecture.layers import AvgPool, DropPath, Halve, MinPool, relu_conv_norm, separable
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["OPERATIONS", "CellNetwork"]

Operation = Callable[[int, int], nn.Module]


def _identity(channels: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 else Halve(channels, channels)


def _max_pool(kernel: int) -> Operation:
    return lambda channels, stride: nn.MaxPool2d(kernel, stride, kernel // 2)


def _asymmetric(length: int) -> Operation:
    """1 x length, then length x 1; the first has the stride in both directions."""
    return lambda channels, stride: nn.Sequential(
        *relu_conv_norm(channels, channels, (1, length), stride), *relu_conv_norm(channels, channels, (length, 1))
    )


def _twice(kernel: int) -> Operation:
    return lambda channels, stride: layers.twice_separable(channels, kernel, stride)


OPERATIONS: Mapping[str, Operation] = {
    "identity": _identity,
    "conv_1x3_3x1": _asymmetric(3),
    "conv_1x7_7x1": _asymmetric(7),
    "dil_conv_3x3": lambda channels, stride: relu_conv_norm(channels, channels, 3, stride, 2),
    "avg_pool_3x3": lambda channels, stride: AvgPool(3, stride),
    "max_pool_3x3": _max_pool(3),
    "max_pool_5x5": _max_pool(5),
    "max_pool_7x7": _max_pool(7),
    "conv_1x1": lambda channels, stride: relu_conv_norm(channels, channels, 1, stride),
    "conv_3x3": lambda channels, stride: relu_conv_norm(channels, channels, 3, stride),
    "sep_conv_3x3": _twice(3),
    "sep_conv_5x5": _twice(5),
    "sep_conv_7x7": _twice(7),
    "dil_sep_conv_3x3": lambda channels, stride: separable(channels, channels, 3, stride, 2),
    "dil_sep_conv_5x5": lambda channels, stride: separable(channels, channels, 5, stride, 2),
    "min_pool_3x3": lambda channels, stride: MinPool(3, stride),
}
"""Name -> (channels, stride) -> a module from channels to channels."""


@final
class BlockModule(nn.Module):
    """Two operations and their sum, or their concat brought back to `channels` by a 1x1 convolution."""

    def __init__(self, block: Block, channels: int, stride: int) -> None:
        super().__init__()
        self.left = OPERATIONS[block.left_op](channels, stride if block.left < 0 else 1)
        self.right = OPERATIONS[block.right_op](channels, stride if block.right < 0 else 1)
        self.left_drop, self.right_drop = DropPath(), DropPath()
        self.join = relu_conv_norm(2 * channels, channels, 1) if block.join == "concat" else None

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        x, y = self.left_drop(self.left(left)), self.right_drop(self.right(right))
        if self.join is None:
            return x + y  # type: ignore[no-any-return]
        return self.join(torch.cat([x, y], 1))  # type: ignore[no-any-return]


@final
class Cell(nn.Module):
    """(last, before) -> output. last, before: their channels. halved: before is twice as large. stride: of the cell."""

    def __init__(self, plan: CellPlan, last: int, before: int, channels: int, stride: int, halved: bool) -> None:
        super().__init__()
        self.plan = plan
        self.last = relu_conv_norm(last, channels, 1) if LAST in plan.used else None
        self.before: nn.Module | None = None
        if BEFORE in plan.used:
            self.before = Halve(before, channels) if halved else relu_conv_norm(before, channels, 1)
        self.blocks = nn.ModuleList(BlockModule(block, channels, stride) for block in plan.blocks)

    def forward(self, last: Tensor, before: Tensor) -> Tensor:
        states: dict[int, Tensor] = {}
        if self.last is not None:
            states[LAST] = self.last(last)
        if self.before is not None:
            states[BEFORE] = self.before(before)
        for index, (block, module) in enumerate(zip(self.plan.blocks, self.blocks, strict=True)):
            states[index] = module(states[block.left], states[block.right])
        outputs = [states[index] for index in self.plan.outputs]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)


@final
class CellNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). repeats: normal cells a stack. width: channels of a block in the first stack.

    Images with sides above 40 are halved by the stem until they are not.
    """

    def __init__(
        self, cells: Cells, shape: tuple[int, int, int], classes: int, repeats: int, width: int, stem: int
    ) -> None:
        super().__init__()
        side, strides = min(shape[1:]), 0
        while side > 40:
            side, strides = -(-side // 2), strides + 1
        self.stem = _stem(shape[0], stem * width, strides)
        kinds = kinds_of(side, repeats)
        self.live = live(stack := stacked(cells, kinds))
        made: list[nn.Module] = []
        outputs = [(stem * width, 0), (stem * width, 0)]  # channels, and how often halved
        scale = 0
        for plan, halving, alive in zip(stack, kinds, self.live, strict=True):
            (before, earlier), (last, now) = outputs[-2:]
            scale += halving
            channels = width * 2**scale
            stride = 2 if halving else 1
            cell = Cell(plan, last, before, channels, stride, earlier < now) if alive else nn.Identity()
            made.append(cell)
            outputs.append((channels * len(plan.outputs), scale))
        self.body = nn.ModuleList(made)
        self.classifier = nn.Linear(outputs[-1][0], classes)

    def forward(self, x: Tensor) -> Tensor:
        before = last = self.stem(x)
        for cell, alive in zip(self.body, self.live, strict=True):
            before, last = last, cell(last, before) if alive else before
        y: Tensor = self.classifier(functional.relu(last).mean(dim=(2, 3)))
        return y


def _stem(inputs: int, channels: int, halvings: int) -> nn.Sequential:
    """A 3x3 convolution, and one more of stride 2 for each halving but the first."""
    made = [*layers.conv_norm(inputs, channels, 3, 2 if halvings else 1)]
    for _ in range(halvings - 1):
        made += [*relu_conv_norm(channels, channels, 3, 2)]
    return nn.Sequential(*made)
