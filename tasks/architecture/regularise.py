"""What a training does besides gradient descent: Cutout, drop-path and an auxiliary classifier.

DeVries, Taylor: "Improved Regularization of Convolutional Neural Networks with Cutout", 2017, arXiv 1708.04552. Zoph
et al. 2018 (NASNet), arXiv 1707.07012: the chance to drop a path grows in a line over the training, and a classifier at
two thirds of the depth learns along, its loss weighted by 0.4.

Differs from the papers:

1. The auxiliary classifier is a 1x1 convolution, batch norm, ReLU and a linear layer on the mean of the pixels, since
   images here are too small for the paper's pooling.
2. The chance to drop a path does not depend on the depth of the cell.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from automl_ext.tasks.architecture.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Auxiliary", "Regularise", "auxiliary_loss", "body_of", "cut_out"]

WEIGHT = 0.4
WIDTH = 32
"""Channels of the auxiliary classifier's convolution."""


@final
class Regularise:
    """A transform of training batches (see `automl_ext.training`): Cutout, and the network's drop-path by progress.

    cutout: side of the square, as a share of the image's; 0 for none. drop_path: the rate at the end.
    """

    def __init__(self, network: nn.Module, cutout: float, drop_path: float, fill: tuple[int, ...]) -> None:
        self.drops = [module for module in network.modules() if isinstance(module, DropPath)]
        self.cutout, self.drop_path, self.fill = cutout, drop_path, fill

    def __call__(
        self, image: Tensor, label: Tensor, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        for drop in self.drops:
            drop.rate = self.drop_path * progress
        if not self.cutout:
            return image, label
        return cut_out(image, self.cutout, self.fill, rng), label


def cut_out(image: Tensor, share: float, fill: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """A square of `share` of the side, centred anywhere, gets `fill` (a value a channel); images (n, c, h, w)."""
    count, _, height, width = image.shape
    inside = torch.ones(1, dtype=torch.bool, device=image.device)
    for axis, side in ((1, height), (2, width)):
        size = max(1, round(share * side))
        centre = torch.from_numpy(rng.integers(side, size=count)).to(image.device)
        first = (centre - size // 2)[:, None]
        place = torch.arange(side, device=image.device)[None]
        within = (place >= first) & (place < first + size)
        inside = inside & (within[:, :, None] if axis == 1 else within[:, None, :])
    colour = torch.tensor(fill, dtype=image.dtype, device=image.device)[None, :, None, None]
    return torch.where(inside[:, None], colour, image)


def body_of(network: nn.Module) -> list[nn.Module]:
    """The modules of `network.body` that have parameters, in order; [] where there is no body."""
    body = getattr(network, "body", None)
    modules = list(body) if isinstance(body, nn.ModuleList | nn.Sequential) else []
    return [module for module in modules if any(True for _ in module.parameters())]


def _last_maps(network: nn.Module, modules: list[nn.Module], shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """The last of `modules` that gives maps (n, c, h, w), and how many channels."""
    found: dict[nn.Module, int] = {}

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.dim() == 4:
            found[module] = output.shape[1]

    hooks = [module.register_forward_hook(see) for module in modules]
    was = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, *shape))
    network.train(was)
    for hook in hooks:
        hook.remove()
    if not found:
        raise ValueError("auxiliary: this network has no maps that a second classifier could attach to")
    return list(found.items())[-1]


@final
class Auxiliary(nn.Module):
    """`network` with a second classifier at two thirds of its body, or before where that is flat.

    Training: (logits, auxiliary logits); else logits. Only `network` is kept after training; `detach` frees it. Raises
    ValueError where it has no body, or none with maps.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        body = body_of(network)
        if not body:
            raise ValueError("auxiliary: networks of this space have no body that a second classifier could attach to")
        self.network = network
        self.seen: list[Tensor] = []
        place, channels = _last_maps(network, body[: len(body) * 2 // 3 + 1], shape)
        self._hook = place.register_forward_hook(self._see)
        self.conv = nn.Conv2d(channels, WIDTH, 1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.classifier = nn.Linear(WIDTH, classes)

    def detach(self) -> nn.Module:
        """The network alone."""
        self._hook.remove()
        return self.network

    def _see(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.seen[:] = [output]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits: Tensor = self.network(x)
        middle = self.seen.pop()
        if not self.training:
            return logits
        y = functional.relu(self.norm(self.conv(functional.relu(middle))))
        return logits, self.classifier(y.mean(dim=(2, 3)))


def auxiliary_loss(output: Tensor | tuple[Tensor, Tensor], label: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of both classifiers."""
    if isinstance(output, Tensor):
        return functional.cross_entropy(output, label, label_smoothing=smoothing)
    first, second = (functional.cross_entropy(logits, label, label_smoothing=smoothing) for logits in output)
    return first + WEIGHT * second
