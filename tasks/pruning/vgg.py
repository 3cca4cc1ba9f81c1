"""VGG-16 with batch norms for small images (8x8 grey to 32x32 colour), as a plain module.

Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, arXiv 1409.1556,
configuration D. Differs from the paper: a batch norm follows each convolution, and one linear layer stands in for the
three of the classifier, as is usual for CIFAR (Li, Kadav, Durdanovic, Samet, Graf: "Pruning Filters for Efficient
ConvNets", ICLR 2017, arXiv 1608.08710, section 4.1). Poolings round sizes up, so that smaller images than 32x32 go
through all five.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["VGG16"]

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage, which a pooling ends."""


class VGG16(nn.Module):
    """13 convolutions: (n, channels, h, w) -> (n, classes). width: multiplier of all channel counts."""

    def __init__(self, channels: int, classes: int, width: float = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size, repeats in STAGES:
            outputs = max(1, int(size * width))
            for _ in range(repeats):
                layers += [nn.Conv2d(channels, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                channels = outputs
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]
