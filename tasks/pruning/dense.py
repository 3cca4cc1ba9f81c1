"""The dense network of a search and its accuracy: what the environments of this task share."""

from __future__ import annotations

import math

import torch
from automl_ext.tasks.pruning.inputs import fed
from automl_ext.tasks.pruning.network import PruningError, build, load_weights
from torch import nn

from automl_ext.data import Data, Split
from automl_ext.training import accuracy, lent_seed

__all__ = ["check_not_negative", "check_positive", "fresh", "rewarded_accuracy"]


def fresh(
    network: str, weights: str | None, data: Data, seed: int, width: float = 1.0, inputs: str | None = None
) -> nn.Module:
    """The network `network` in eval mode, initialised from `seed`, with the stored `weights` where there are any.

    width: share of its channels. inputs: the function that feeds it, see inputs.py.

    Raises PruningError, one line, see network.py.
    """
    with lent_seed(seed):
        made = build(network, data.train.image.shape[1], data.classes, width)
    if weights is not None:
        load_weights(made, weights)
    return fed(made, inputs).eval()


def rewarded_accuracy(network: nn.Module, data: Data, device: torch.device, images: Split | None = None) -> float:
    """On `images`, or the reward images, in [0, 1]. Channels-last is faster, and only used here."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    right = accuracy(network, images or data.val, data, device, batch=100)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return right


def check_positive(**values: float) -> None:
    """PruningError, naming the option, for a value that is not above 0, or not finite."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise PruningError(f"{name} must be above 0 and finite, not {value}")


def check_not_negative(**values: float) -> None:
    """PruningError, naming the option, for a value that is below 0, or not finite."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise PruningError(f"{name} must not be negative and must be finite, not {value}")
