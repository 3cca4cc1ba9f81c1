"""The whole network: backbone, cell, decoder, classifier of pixels.

Backbone: Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
arXiv 1801.04381; decoder: Chen, Zhu, Papandreou, Schroff, Adam: "Encoder-Decoder with Atrous Separable Convolution for
Semantic Image Segmentation", ECCV 2018, arXiv 1802.02611. Differs from the papers:

1. Few blocks, an expansion of 4, and a last 1x1 convolution to `wide` channels; where the output stride is reached,
   later strides are left out without dilation in their place, so that context is the cell's to find.
2. The decoder has one separable 3x3 convolution instead of two, and reads the finest map of the backbone, at half or a
   quarter of the image's sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from automl_ext.tasks.segmentation.cell import CellNetwork, Separable, convolved
from automl_ext.tasks.segmentation.operations import SegmentationError
from automl_ext.tasks.segmentation.space import Branch
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.training import lent_seed

__all__ = ["Backbone", "Head", "Segmenter", "Shape", "fresh"]

STAGES = ((1, 16, 1, 1), (4, 24, 1, 2), (4, 64, 1, 2), (6, 128, 2, 2))
"""Expansion, channels, blocks, and stride of the first block, of each stage behind a stem of stride 2."""
STEM, SLIM = 16, 12
"""Channels of the stem, and to which the decoder brings the fine map."""


@dataclass(frozen=True)
class Shape:
    """What networks are made for. image: (channels, height, width). stride: of the features.

    decoder: 2 or 4, less than stride, or 0 for none; else SegmentationError.
    width: times the backbone's channels. wide: channels of the features. filters: of the cell and the decoder.
    """

    image: tuple[int, int, int]
    classes: int
    stride: int = 4
    decoder: int = 2
    width: float = 1.0
    wide: int = 192
    filters: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.decoder >= self.stride:
            raise SegmentationError(
                f"decoder: 0 or 2 with output_stride {self.stride}, not {self.decoder}, since it adds a map finer than"
                " the features"
            )

    @property
    def map(self) -> tuple[int, int]:
        """Rows and columns of the features."""
        return (-(-self.image[1] // self.stride), -(-self.image[2] // self.stride))

    def scaled(self, channels: int) -> int:
        return max(8, int(channels * self.width + 4) // 8 * 8)


class Inverted(nn.Module):
    """1x1 to `expansion` times the channels, depthwise 3x3, linear 1x1; a sum where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside = inputs * expansion
        layers: list[nn.Module] = [convolved(inputs, inside)] if expansion > 1 else []
        middle = nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False)
        layers += [middle, nn.BatchNorm2d(inside), nn.ReLU()]
        layers += [nn.Conv2d(inside, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)  # type: ignore[no-any-return]


class Backbone(nn.Module):
    """(n, c, h, w) -> features (n, wide, h / stride, w / stride) and the decoder's map (n, fine, h / decoder, ...).

    fine: its channels; without a decoder the second output is the features again.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        inputs, stride = shape.scaled(STEM), 2
        self.parts = nn.ModuleList([convolved(shape.image[0], inputs, 3, 2)])
        self.fine, self.tap = shape.wide, -1
        for expansion, size, blocks, first in STAGES:
            outputs = shape.scaled(size)
            step = first if stride * first <= shape.stride else 1
            for index in range(blocks):
                self.parts.append(Inverted(inputs, outputs, expansion, 1 if index else step))
                stride, inputs = stride * (1 if index else step), outputs
            if stride == shape.decoder:
                self.fine, self.tap = outputs, len(self.parts) - 1
        self.last = convolved(inputs, shape.wide)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = None
        for place, part in enumerate(self.parts):
            x = part(x)
            if place == self.tap:
                fine = x
        features = self.last(x)
        return features, features if fine is None else fine


class Head(nn.Module):
    """Cell, decoder, classifier: features and fine map -> logits (n, classes, h, w) of the image's size."""

    def __init__(self, cell: Sequence[Branch], shape: Shape, fine: int) -> None:
        super().__init__()
        self.cell = CellNetwork(cell, shape.wide, shape.filters, shape.map, shape.dropout)
        self.decoder = shape.decoder > 0
        if self.decoder:
            self.size = tuple(-(-side // shape.decoder) for side in shape.image[1:])
            self.slim = convolved(fine, SLIM)
            self.refine = Separable(shape.filters + SLIM, shape.filters)
        self.classifier = nn.Conv2d(shape.filters, shape.classes, 1)
        self.out = shape.image[1:]

    def forward(self, features: Tensor, fine: Tensor) -> Tensor:
        x = self.cell(features)
        if self.decoder:
            x = functional.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
            x = self.refine(torch.cat([x, self.slim(fine)], 1))
        x = self.classifier(x)
        return functional.interpolate(x, size=self.out, mode="bilinear", align_corners=False)


class Segmenter(nn.Module):
    """(n, c, h, w) normalised images -> logits (n, classes, h, w)."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        features, fine = self.backbone(x)
        return self.head(features, fine)  # type: ignore[no-any-return]


def fresh(cell: Sequence[Branch], shape: Shape, seed: int) -> Segmenter:
    """A new network, its weights drawn from the seed; those of the backbone do not depend on the cell."""
    with lent_seed(seed):
        backbone = Backbone(shape)
        return Segmenter(backbone, Head(cell, shape, backbone.fine))
