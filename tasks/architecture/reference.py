"""Hand-made networks beside every result: a residual and a plain one, as wide as a given number of parameters allows.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, section 4.2: three
stages of blocks of two 3x3 convolutions, twice as many channels in each; ResNet-8 has one block a stage. The plain
network is the same without shortcuts.

Differs from the paper:

1. The width follows from the wanted number of parameters.
2. Images below 4 pixels are not halved any more; beyond 40 pixels the first convolution has stride 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from automl_ext.tasks.architecture.layers import conv_norm
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.space import Candidate, Value

__all__ = ["build_handmade", "handmade", "is_handmade", "params_of"]

NAMES = ("resnet", "plain")
WIDEST = 1024


@final
class Block(nn.Module):
    """Two 3x3 convolutions, with a shortcut where `residual`."""

    def __init__(self, inputs: int, outputs: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, 3, stride)
        self.second = conv_norm(outputs, outputs, 3)
        self.shortcut: nn.Module | None = None
        if residual:
            same = stride == 1 and inputs == outputs
            self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x)))
        return functional.relu(y if self.shortcut is None else y + self.shortcut(x))


@final
class Handmade(nn.Module):
    """(n, c, h, w) -> (n, classes). width: channels of the first stage."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int, residual: bool) -> None:
        super().__init__()
        side = min(shape[1:])
        self.stem = conv_norm(shape[0], width, 3, 2 if side > 40 else 1)
        halvings = min(2, max(0, side.bit_length() - 2))
        sizes = [width * 2**stage for stage in range(halvings + 1)]
        made = [Block(width, width, 1, residual)]
        made += [Block(inputs, 2 * inputs, 2, residual) for inputs in sizes[:-1]]
        self.body = nn.Sequential(*made)
        self.classifier = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.body(functional.relu(self.stem(x))).mean(dim=(2, 3)))
        return y


def handmade(params: int) -> dict[str, Candidate]:
    """The references of about `params` parameters; they lie outside of every space."""
    return {name: {"reference": name, "params": params} for name in NAMES}


def is_handmade(candidate: Mapping[str, Value]) -> bool:
    return candidate.get("reference") in NAMES


def build_handmade(candidate: Mapping[str, Value], shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network of a candidate from `handmade`: the width whose parameters are nearest to the wanted ones."""
    wanted, residual = int(candidate["params"] or 0), candidate["reference"] == "resnet"

    def params(width: int) -> int:
        with torch.device("meta"):
            return params_of(Handmade(shape, classes, width, residual))

    low, high = 1, WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if params(middle) <= wanted else (low, middle)
    width = min((low, high), key=lambda each: abs(params(each) - wanted))
    return Handmade(shape, classes, width, residual)


def params_of(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
