"""MobileNets for small images (8x8 grey to 32x32 colour), as plain modules.

Howard et al.: "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, arXiv
1704.04861. Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
arXiv 1801.04381. Differ from the papers, whose images have 224 pixels: the first convolution does not subsample, in
the second version the stage of 24 channels does not either, and no dropout stands before the classifier. 32x32 images
end as 4x4 maps in the second version and 2x2 in the first; 8x8 images as 1x1 in both.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["MobileNetV1", "MobileNetV2"]

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Outputs and stride of each depthwise separable convolution."""
V2 = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, outputs, blocks, and stride of the first block, of each stage."""


def _convolution(channels: int, width: int, kernel: int, stride: int, groups: int, act: nn.Module) -> list[nn.Module]:
    """Convolution that keeps the size (but for the stride), norm, activation."""
    layer = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(width), act]


def _scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, to the nearest multiple of 8 and at least 8."""
    return channels if width == 1 else max(8, int(channels * width + 4) // 8 * 8)


class MobileNetV1(nn.Module):
    """13 depthwise separable convolutions: (n, channels, h, w) -> (n, classes). width: the paper's multiplier."""

    def __init__(self, channels: int, classes: int, width: float = 1) -> None:
        super().__init__()
        inputs = _scaled(32, width)
        self.stem = nn.Sequential(*_convolution(channels, inputs, 3, 1, 1, nn.ReLU()))
        blocks = []
        for size, stride in V1:
            outputs = _scaled(size, width)
            depthwise = _convolution(inputs, inputs, 3, stride, inputs, nn.ReLU())
            blocks.append(nn.Sequential(*depthwise, *_convolution(inputs, outputs, 1, 1, 1, nn.ReLU())))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.blocks(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """1x1 up to `expansion` times the channels, depthwise 3x3, linear 1x1 down to `width`; a sum where shapes agree.

    With an expansion of 1 there is no first convolution.
    """

    def __init__(self, channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside = channels * expansion
        wider = _convolution(channels, inside, 1, 1, 1, nn.ReLU6()) if expansion > 1 else []
        depthwise = _convolution(inside, inside, 3, stride, inside, nn.ReLU6())
        self.layers = nn.Sequential(*wider, *depthwise, nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width))
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """17 inverted residuals: (n, channels, h, w) -> (n, classes).

    width: the multiplier; that of the last convolution is at least 1, as in the paper.
    """

    def __init__(self, channels: int, classes: int, width: float = 1) -> None:
        super().__init__()
        inputs = _scaled(32, width)
        self.stem = nn.Sequential(*_convolution(channels, inputs, 3, 1, 1, nn.ReLU6()))
        blocks: list[nn.Module] = []
        for expansion, size, repeats, first in V2:
            for index in range(repeats):
                outputs = _scaled(size, width)
                blocks.append(InvertedResidual(inputs, outputs, expansion, first if index == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        outputs = _scaled(1280, max(1, width))
        self.last = nn.Sequential(*_convolution(inputs, outputs, 1, 1, 1, nn.ReLU6()))
        self.linear = nn.Linear(outputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.last(self.blocks(self.stem(x))).mean((2, 3)))  # type: ignore[no-any-return]
