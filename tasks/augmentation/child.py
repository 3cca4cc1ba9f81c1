"""The networks that are trained under a policy: residual networks for small images, or one of your own.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, section 4.2: three
stages of blocks of two 3x3 convolutions, 16, 32 and 64 channels; ResNet-8 has one block a stage. Zagoruyko, Komodakis:
"Wide Residual Networks", BMVC 2016, arXiv 1605.07146: AutoAugment's child, WRN-40-2, has batch norm and ReLU ahead of
each convolution, six blocks a stage, twice as many channels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.training import lent_seed

STAGES = (16, 32, 64)


class ChildError(ValueError):
    """A network that cannot be had, or does not fit the images; one line."""


@final
class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut. ahead: norm and ReLU come before the convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int, ahead: bool) -> None:
        super().__init__()
        self.ahead = ahead
        self.bn1 = nn.BatchNorm2d(inputs if ahead else outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.ahead:
            y = functional.relu(self.bn1(x))
            return self.conv2(functional.relu(self.bn2(self.conv1(y)))) + self.shortcut(x)  # type: ignore[no-any-return]
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


@final
class Residual(nn.Module):
    """(n, c, h, w) -> (n, classes). blocks: a stage. width: times 16, 32 and 64 channels."""

    def __init__(self, channels: int, classes: int, blocks: int, width: float = 1, ahead: bool = False) -> None:
        super().__init__()
        sizes = [max(1, round(width * size)) for size in STAGES]
        self.conv = nn.Conv2d(channels, STAGES[0] if ahead else sizes[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(sizes[-1] if ahead else sizes[0])
        made, inputs = [], self.conv.out_channels
        for index, outputs in enumerate(sizes):
            for place in range(blocks):
                made.append(Block(inputs, outputs, 2 if index and not place else 1, ahead))
                inputs = outputs
        self.blocks = nn.Sequential(*made)
        self.linear = nn.Linear(inputs, classes)
        self.ahead = ahead

    def maps(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, inputs of the linear layer, h / 4, w / 4)."""
        x = self.conv(x)
        y: Tensor = functional.relu(self.bn(self.blocks(x))) if self.ahead else self.blocks(functional.relu(self.bn(x)))
        return y

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.maps(x).mean(dim=(2, 3)))
        return y


@final
class Pixels(nn.Module):
    """(n, c, h, w) -> (n, classes, h, w): a residual network whose linear layer reads every place of its maps."""

    def __init__(self, channels: int, classes: int, blocks: int, width: float = 1) -> None:
        super().__init__()
        self.residual = Residual(channels, classes, blocks, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.residual.linear(self.residual.maps(x).movedim(1, -1)).movedim(-1, 1)
        return functional.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)


NETWORKS: Mapping[str, Callable[[int, int, float], nn.Module]] = {
    "resnet8": lambda channels, classes, width: Residual(channels, classes, 1, width),
    "resnet8-pixels": lambda channels, classes, width: Pixels(channels, classes, 1, width),
    "resnet20": lambda channels, classes, width: Residual(channels, classes, 3, width),
    "wrn-16-2": lambda channels, classes, width: Residual(channels, classes, 2, 2 * width, ahead=True),
    "wrn-40-2": lambda channels, classes, width: Residual(channels, classes, 6, 2 * width, ahead=True),
}
"""Name -> (channels, classes, width) -> network."""


def fresh(name: str, shape: tuple[int, int, int], classes: int, width: float, seed: int) -> nn.Module:
    """A new network for images of `shape` (c, h, w), its weights drawn from the seed.

    name: a key of NETWORKS, or package.module:function that takes (channels, classes). Raises ChildError.
    """
    with lent_seed(seed):
        made = NETWORKS[name](shape[0], classes, width) if name in NETWORKS else _own(name, shape[0], classes)
    if not isinstance(made, nn.Module):
        raise ChildError(f"network: {name!r} returned {type(made).__name__}, no torch.nn.Module")
    return made


def check_fit(name: str, shape: tuple[int, int, int], classes: int, width: float, masks: bool = False) -> None:
    """ChildError where the network does not run on the images, or gives another shape than (n, classes).

    masks: it has to give (n, classes, h, w).
    """
    network = fresh(name, shape, classes, width, 0).eval()
    try:
        with torch.inference_mode():
            output = network(torch.zeros(2, *shape))
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ChildError(f"network: {name!r} does not run on images of {shape}: {reason}") from None
    wanted = (2, classes, *shape[1:]) if masks else (2, classes)
    if tuple(output.shape) != wanted:
        raise ChildError(f"network: {name!r} gives {tuple(output.shape)} for 2 images, and {wanted} is needed")


def _own(name: str, channels: int, classes: int) -> object:
    """What the user's function returns."""
    module_name, _, function_name = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
        raise ChildError(f"network: one of {', '.join(NETWORKS)}, or your package.module:function, not {name!r}")
    try:
        return getattr(importlib.import_module(module_name), function_name)(channels, classes)
    except Exception as error:  # a module of the user's own may raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise ChildError(f"network: {name!r} gives none for (channels, classes): {reason}") from error
