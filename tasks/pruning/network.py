"""Dense networks by name, a user's own by `package.module:function`, exported ones by folder; their stored weights."""

from __future__ import annotations

import importlib
import importlib.util
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.pruning.mobilenet import MobileNetV1, MobileNetV2
from automl_ext.tasks.pruning.resnet import BottleneckResNet, ResNet, Small
from automl_ext.tasks.pruning.vgg import VGG16
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

__all__ = ["NETWORKS", "PruningError", "build", "first_line", "load_weights", "named", "own_weights"]


class PruningError(ValueError):
    """A network, weights, data or options that cannot be pruned; the message is one line."""


NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "mobilenet-v1": MobileNetV1,
    "mobilenet-v2": MobileNetV2,
    "resnet20": partial(ResNet, blocks=3),
    "resnet29-bottleneck": partial(BottleneckResNet, blocks=3),
    "resnet56": partial(ResNet, blocks=9),
    "small": Small,
    "vgg16-bn": VGG16,
}
"""Name -> function of the images' channels, the number of classes, `width`. Weights are initialised as torch does."""


def build(name: str, channels: int, classes: int, width: float = 1) -> nn.Module:
    """The network `name` for images of `channels` channels, freshly initialised from torch's global generator.

    name: a key of NETWORKS; `package.module:function`, a function without arguments that returns an nn.Module; or the
    folder of an exported network (`runs/x-s0/best`), whose model.py is imported, as a module of the user's would be.
    width: multiplier of the channel counts of a network of NETWORKS, rounded as that network rounds.
    Raises PruningError, one line, for a name that leads nowhere or a function that returns something else.
    """
    if name in NETWORKS:
        return NETWORKS[name](channels, classes, **({} if width == 1 else {"width": width}))
    known = ", ".join(sorted(NETWORKS))
    exported = own_weights(name) is not None
    if ":" not in name and not exported:
        raise PruningError(
            f"network {name!r} is unknown: give one of {known}, package.module:function, or an exported folder"
        )
    if width != 1:
        raise PruningError(f"width {width:g} is for {known}; your own network {name!r} has the width that it has")
    if exported:
        return _exported(Path(name))
    function = named("network", name)
    try:
        network = function()
    except Exception as error:
        raise PruningError(f"network {name!r} could not be built: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise PruningError(f"network {name!r} gave a {type(network).__name__}, not a torch.nn.Module")
    return network


def named(option: str, name: str) -> Any:
    """What `package.module:attribute` names. Raises PruningError, one line, which begins with the option."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise PruningError(f"{option} {name!r} must be package.module:function")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module of the user's own may raise anything
        raise PruningError(f"{option} {name!r} cannot be imported: {first_line(error)}") from error


def own_weights(name: str) -> str | None:
    """The path of the weights that lie beside an exported network; None for a `name` that is no such folder."""
    stored = Path(name) / "model.safetensors"
    try:
        return str(stored) if stored.is_file() and stored.with_name("model.py").is_file() else None
    except OSError:
        return None


def _exported(folder: Path) -> nn.Module:
    try:
        spec = importlib.util.spec_from_file_location("automl_ext_exported_model", folder / "model.py")
        if spec is None or spec.loader is None:
            raise ImportError("no Python source")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network = module.load(folder / "model.safetensors")
    except Exception as error:
        raise PruningError(f"network {str(folder)!r} could not be loaded: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise PruningError(f"network {str(folder)!r} gave a {type(network).__name__}, not a torch.nn.Module")
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
        raise PruningError(f"weights {path}: not readable as {path.suffix}: {first_line(error)}") from error
    raise PruningError(f"weights {path}: must be a .safetensors or .npz file")


def first_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error) or type(error).__name__).splitlines()[0]
