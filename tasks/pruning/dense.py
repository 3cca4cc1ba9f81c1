"""The dense network of a search and its accuracy: what the environments of this task share."""

from __future__ import annotations

import torch
from automl_ext.tasks.pruning.network import PruningError, build, load_weights
from torch import nn

from automl_ext.data import Data
from automl_ext.training import accuracy, lent_seed

__all__ = ["check_outputs", "check_positive", "fresh", "rewarded_accuracy"]


def fresh(network: str, weights: str | None, data: Data, seed: int) -> nn.Module:
    """The network `network` in eval mode, initialised from `seed`, with the stored `weights` where there are any.

    Raises PruningError, one line, see network.py.
    """
    with lent_seed(seed):
        made = build(network, data.train.image.shape[1], data.classes)
    if weights is not None:
        load_weights(made, weights)
    return made.eval()


def rewarded_accuracy(network: nn.Module, data: Data, device: torch.device) -> float:
    """On the reward images, in [0, 1]. Channels-last is faster, and only used here."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    right = accuracy(network, data.val, data, device, batch=100)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return right


def check_outputs(network: nn.Module, example: torch.Tensor, name: str, dataset: str, classes: int) -> None:
    """PruningError where the network does not give one number a class. example: one image (1, c, h, w)."""
    try:
        with torch.no_grad():
            output = network(example)
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise PruningError(f"network {name!r} does not run on an image of {dataset!r}: {line}") from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (1, classes):
        raise PruningError(f"network {name!r} gives {shape} for one image, {dataset!r} needs (1, {classes})")


def check_positive(**values: float) -> None:
    """PruningError, naming the option, for a value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise PruningError(f"{name} must be above 0, not {value}")
