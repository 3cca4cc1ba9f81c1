"""Dense networks: two residual ones of our own, a user's by `package.module:function`, and their stored weights."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PruningError", "build", "load_weights", "resnet20", "small"]


class PruningError(ValueError):
    """A network, weights, data or options that cannot be pruned; the message is one line."""


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


class Small(nn.Module):
    """Ten convolutions in four blocks for small images; 42,938 parameters, 1.1 M MACs on 8x8 grey ones."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1, False), Block(16, 16, 1, False))
        self.layer2 = nn.Sequential(Block(16, 32, 2, False), Block(32, 32, 1, False))
        self.linear = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer2(self.layer1(out))
        return self.linear(out.mean((2, 3)))  # type: ignore[no-any-return]


class ResNet20(nn.Module):
    """The CIFAR ResNet-20 of He et al. (CVPR 2016, section 4.2): 3 stages of 3 blocks, 16, 32 and 64 channels."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1, True), Block(16, 16, 1, True), Block(16, 16, 1, True))
        self.layer2 = nn.Sequential(Block(16, 32, 2, True), Block(32, 32, 1, True), Block(32, 32, 1, True))
        self.layer3 = nn.Sequential(Block(32, 64, 2, True), Block(64, 64, 1, True), Block(64, 64, 1, True))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean((2, 3)))  # type: ignore[no-any-return]


def small(channels: int = 1, classes: int = 10) -> nn.Module:
    """A residual network with projection shortcuts, whose residual stream can be pruned too."""
    return Small(channels, classes)


def resnet20(channels: int = 3, classes: int = 10) -> nn.Module:
    """ResNet-20 with option-A shortcuts."""
    return ResNet20(channels, classes)


NETWORKS: Mapping[str, Callable[[int, int], nn.Module]] = {"small": small, "resnet20": resnet20}


def build(name: str, channels: int, classes: int) -> nn.Module:
    """The network `name` for images of `channels` channels, freshly initialised from torch's global generator.

    name: a key of NETWORKS, or `package.module:function`, a function without arguments that returns an nn.Module.
    Raises PruningError, one line, for a name that leads nowhere or a function that returns something else.
    """
    if name in NETWORKS:
        return NETWORKS[name](channels, classes)
    module_name, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(sorted(NETWORKS))
        raise PruningError(f"network {name!r} is unknown: give one of {known}, or package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PruningError(f"network {name!r} cannot be imported: {_line(error)}") from error
    try:
        network = function()
    except Exception as error:
        raise PruningError(f"network {name!r} could not be built: {_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise PruningError(f"network {name!r} gave a {type(network).__name__}, not a torch.nn.Module")
    return network


def load_weights(network: nn.Module, path: str) -> None:
    """Load a state dict from `path` (.safetensors or .npz) in place.

    `num_batches_tracked` may be missing. Raises PruningError, one line, for a file that is missing or unreadable and
    for names or shapes that differ from the network's.
    """
    state = _read(Path(path))
    own = network.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    for name in sorted(own.keys() - state.keys() - counters):
        raise PruningError(f"weights {path}: {name} is missing")
    for name in sorted(state.keys() - own.keys()):
        raise PruningError(f"weights {path}: the network has no {name}")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            have, want = tuple(tensor.shape), tuple(own[name].shape)
            raise PruningError(f"weights {path}: {name} has shape {have}, the network wants {want}")
    network.load_state_dict(state, strict=False)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise PruningError(f"weights {path}: no such file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if path.suffix == ".safetensors":
            return load_file(path)
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        raise PruningError(f"weights {path}: not readable as {path.suffix}: {_line(error)}") from error
    raise PruningError(f"weights {path}: must be a .safetensors or .npz file")


def _line(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error) or type(error).__name__).splitlines()[0]
