"""Residual networks for small images (8x8 grey to 32x32 colour), as plain modules.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385: ResNet-20 and -56 of
section 4.2. The same: "Identity Mappings in Deep Residual Networks", ECCV 2016, arXiv 1603.05027: the bottlenecks for
small images, of depth 9 n + 2. All take (n, channels, h, w) and give logits (n, classes).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BottleneckResNet", "ResNet", "Small"]


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut: (n, c, h, w) -> (n, width, h / stride, w / stride).

    pad: where the shapes differ, subsample and add zero channels (He's option A) instead of a 1x1 projection.
    """

    def __init__(self, channels: int, width: int, stride: int, pad: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.margin = (width - channels) // 2 if pad else 0
        self.shortcut: nn.Module = nn.Identity()
        if not pad and (stride > 1 or channels != width):
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.margin:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.margin, self.margin))
        return functional.relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 down to `width`, 3x3, 1x1 up to 4 `width`, around a shortcut that is projected where the shapes differ."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != 4 * width:
            projection = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        return functional.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


def _first(width: float) -> int:
    """16 channels of the first stage times `width`, even, so that the margins of option A come out whole."""
    return max(1, round(8 * width)) * 2


class Small(nn.Module):
    """Ten convolutions in four blocks for small images; 42,938 parameters, 1.1 M MACs on 8x8 grey ones.

    width: multiplier of all channel counts, as in the networks below.
    """

    def __init__(self, channels: int, classes: int, width: float = 1) -> None:
        super().__init__()
        c = _first(width)
        self.conv1 = nn.Conv2d(channels, c, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.layer1 = nn.Sequential(Block(c, c, 1, False), Block(c, c, 1, False))
        self.layer2 = nn.Sequential(Block(c, 2 * c, 2, False), Block(2 * c, 2 * c, 1, False))
        self.linear = nn.Linear(2 * c, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer2(self.layer1(out))
        return self.linear(out.mean((2, 3)))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """The CIFAR ResNet of depth 6 n + 2: 3 stages of n = `blocks` blocks with 16, 32 and 64 channels, option A."""

    def __init__(self, channels: int, classes: int, blocks: int, width: float = 1) -> None:
        super().__init__()
        c, d, e = (_first(width) * scale for scale in (1, 2, 4))
        self.conv1 = nn.Conv2d(channels, c, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.layer1 = nn.Sequential(*(Block(c, c, 1, True) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Block(c, d, 2, True), *(Block(d, d, 1, True) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Block(d, e, 2, True), *(Block(e, e, 1, True) for _ in range(blocks - 1)))
        self.linear = nn.Linear(e, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean((2, 3)))  # type: ignore[no-any-return]


class BottleneckResNet(nn.Module):
    """3 stages of n = `blocks` bottlenecks with 64, 128 and 256 channels outside and a quarter inside; depth 9 n + 2.

    Differs from arXiv 1603.05027: the norms follow the convolutions, as in the first paper.
    """

    def __init__(self, channels: int, classes: int, blocks: int, width: float = 1) -> None:
        super().__init__()
        c, d, e = (_first(width) * scale for scale in (1, 2, 4))
        self.conv1 = nn.Conv2d(channels, c, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.layer1 = nn.Sequential(Bottleneck(c, c, 1), *(Bottleneck(4 * c, c, 1) for _ in range(blocks - 1)))
        self.layer2 = nn.Sequential(Bottleneck(4 * c, d, 2), *(Bottleneck(4 * d, d, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Bottleneck(4 * d, e, 2), *(Bottleneck(4 * e, e, 1) for _ in range(blocks - 1)))
        self.linear = nn.Linear(4 * e, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean((2, 3)))  # type: ignore[no-any-return]
