"""Training of a head on cached features, and of a whole network on images, by one loop.

The paper's schedule: SGD, the rate falls as (1 - progress) ^ 0.9. Every random number comes from the seed, so that a
head on cached features and the same head behind a frozen backbone (evaluation mode) see the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from automl_ext.tasks.segmentation.scores import VOID
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.channels_last import channels_last, laid_out
from automl_ext.training import lent_seed, mode

__all__ = ["Batches", "Recipe", "Trained", "fit"]

Batches = Callable[[Tensor, np.random.Generator], tuple[tuple[Tensor, ...], Tensor]]
"""(places (k,), randomness) -> what the network takes, and masks (k, h, w) int64."""


@dataclass(frozen=True)
class Recipe:
    """How to train. rate: at the start. weight_decay: on weights, not on biases and norms. clip: of the gradient."""

    epochs: int = 12
    batch: int = 32
    rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 5.0


@dataclass(frozen=True)
class Trained:
    """losses: mean of each epoch. stopped: whether `report` said so."""

    losses: tuple[float, ...]
    stopped: bool


def fit(
    network: nn.Module,
    batches: Batches,
    count: int,
    recipe: Recipe,
    *,
    seed: int,
    weights: Tensor | None = None,
    report: Callable[[int], bool] | None = None,
    modes: Callable[[nn.Module], None] | None = None,
) -> Trained:
    """Train `network` in place on `count` images. weights: (classes,) of the loss.

    report(epoch) is called after each epoch and ends the training where it returns True. modes: called once the network
    is in training mode, to put parts of it back. Raises FloatingPointError after an epoch whose loss is not finite.
    """
    optimizer = _sgd(network, recipe)
    losses: list[float] = []
    stop = False
    while len(losses) < recipe.epochs and not stop:
        with mode(network, training=True), channels_last(network):
            if modes is not None:
                modes(network)
            losses.append(_epoch(network, batches, count, recipe, len(losses), seed, optimizer, weights))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss is {losses[-1]} in epoch {len(losses)}")
        stop = report is not None and report(len(losses))
    return Trained(tuple(losses), stop)


def _epoch(
    network: nn.Module, batches: Batches, count: int, recipe: Recipe, epoch: int, seed: int,
    optimizer: torch.optim.Optimizer, weights: Tensor | None,
) -> float:  # fmt: skip
    """One pass in batches whose sizes differ by one at most; the mean loss of an image.

    Batches without a pixel that counts are left out. None has one image: norms need two values of a channel.
    """
    rng = np.random.default_rng((seed, epoch))
    order = torch.from_numpy(rng.permutation(count))
    parts = order.tensor_split(max(1, min(math.ceil(count / recipe.batch), count // 2)))
    total, seen = 0.0, 0
    with lent_seed(int(rng.integers(2**63))):
        for index, places in enumerate(parts):
            progress = (epoch + index / len(parts)) / recipe.epochs
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * (1 - progress) ** 0.9
            inputs, masks = batches(places, rng)
            if not _counts(masks, weights):
                continue
            logits = network(*map(laid_out, inputs))
            loss = functional.cross_entropy(logits, masks, weights, ignore_index=VOID)
            optimizer.zero_grad()
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            total += float(loss.detach()) * len(places)
            seen += len(places)
    return total / max(seen, 1)


def _counts(masks: Tensor, weights: Tensor | None) -> bool:
    """Whether a pixel is neither void nor of a class of weight 0; the mean over none would be 0 / 0."""
    known = masks[masks != VOID]
    return bool(len(known)) if weights is None else bool((weights[known] > 0).any())


def _sgd(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, recipe.rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
