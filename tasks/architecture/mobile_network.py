"""Layers and networks of the mobile space. Sandler et al. 2018 (MobileNetV2), arXiv 1801.04381; Hu, Shen, Sun:
"Squeeze-and-Excitation Networks", CVPR 2018, arXiv 1709.01507.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from automl_ext.tasks.architecture.layers import AvgPool, DropPath, conv_norm
from torch import Tensor, nn

__all__ = ["Layer", "MobileNetwork", "head", "layer_module", "stem"]


@dataclass(frozen=True)
class Layer:
    """op: conv, dwconv, mbconv3, mbconv6. se: share of channels that squeeze-and-excitation keeps, 0 for none.

    skip: none, identity or pool, as chosen.
    """

    op: str
    kernel: int
    se: float
    skip: str
    inputs: int
    outputs: int
    stride: int

    @property
    def skips(self) -> bool:
        """Whether there is a skip: an identity needs equal shapes."""
        same = self.stride == 1 and self.inputs == self.outputs
        return self.skip == "pool" or (self.skip == "identity" and same)

    @property
    def name(self) -> str:
        """In words, equal for layers that are equal."""
        skip = self.skip if self.skips else "no"
        size = f"{self.inputs}-{self.outputs} stride {self.stride}"
        return f"{self.op} kernel {self.kernel} {size} squeeze {self.se:g} {skip} skip"


@final
class Squeeze(nn.Module):
    """Scales each channel by what a small network says of the means of all."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, kept, 1), nn.Conv2d(kept, channels, 1)
        self.relu, self.sigmoid = nn.ReLU(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.sigmoid(self.up(self.relu(self.down(x.mean(dim=(2, 3), keepdim=True)))))
        return x * weight  # type: ignore[no-any-return]


@final
class LayerModule(nn.Module):
    """The operation, and the skip added to it. Dropped, where drop-path is on, is the operation."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.operation = _operation(layer)
        self.drop = DropPath() if layer.skips else None
        self.skip: nn.Module | None = None
        if layer.skips:
            self.skip = nn.Identity() if layer.skip == "identity" else _pooled(layer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.operation(x)
        if self.drop is None or self.skip is None:
            return y
        return self.drop(y) + self.skip(x)  # type: ignore[no-any-return]


@final
class MobileNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). first: channels of the stem; large: it halves the size."""

    def __init__(
        self, layers: Sequence[Layer], shape: tuple[int, int, int], classes: int, first: int, large: bool
    ) -> None:
        super().__init__()
        self.stem = stem(shape[0], first, large)
        self.body = nn.Sequential(*(layer_module(layer) for layer in layers))
        self.head = head(layers[-1].outputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(self.stem(x)))
        return y


def stem(inputs: int, outputs: int, large: bool) -> nn.Module:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(*conv_norm(inputs, outputs, 3, 2 if large else 1), nn.ReLU())


def head(inputs: int, classes: int) -> nn.Module:
    """ReLU, mean of the pixels, linear classifier."""
    return nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def layer_module(layer: Layer) -> nn.Module:
    """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
    return LayerModule(layer)


def _operation(layer: Layer) -> nn.Module:
    inputs, outputs, kernel, stride = layer.inputs, layer.outputs, layer.kernel, layer.stride
    squeeze = [Squeeze] if layer.se else []
    if layer.op == "conv":
        made = [*conv_norm(inputs, outputs, kernel, stride), nn.ReLU()]
        return nn.Sequential(*made, *(each(outputs, _kept(layer.se, outputs)) for each in squeeze))
    inner = inputs * (int(layer.op.removeprefix("mbconv")) if layer.op.startswith("mbconv") else 1)
    expand = [*conv_norm(inputs, inner, 1), nn.ReLU()] if layer.op.startswith("mbconv") else []
    depthwise = [*conv_norm(inner, inner, kernel, stride, groups=inner), nn.ReLU()]
    excite = [each(inner, _kept(layer.se, inputs)) for each in squeeze]
    return nn.Sequential(*expand, *depthwise, *excite, *conv_norm(inner, outputs, 1))


def _kept(share: float, channels: int) -> int:
    return max(1, round(share * channels))


def _pooled(layer: Layer) -> nn.Module:
    pool = AvgPool(3, layer.stride)
    return pool if layer.inputs == layer.outputs else nn.Sequential(pool, *conv_norm(layer.inputs, layer.outputs, 1))
