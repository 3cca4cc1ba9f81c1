"""Weights set to zero, and kept at zero while the others are trained.

A layer keeps the weights of largest absolute value (AMC's fine-grained pruning, He et al., ECCV 2018, arXiv
1802.03494). Fewer of a ranking are always among more of it, and zeros come last: masks are nested, from policy to
policy as from round to round of iterative pruning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from automl_ext.tasks.pruning.network import PruningError
from torch import Tensor, nn

__all__ = ["Masks", "held", "masks_of", "nonzero", "rank_weights", "weight_of", "zero"]

Masks = Mapping[str, Tensor]
"""Layer -> which of its weights stay: bool, of the weight's shape."""


def weight_of(network: nn.Module, name: str) -> nn.Parameter:
    """The weight of layer `name`. PruningError where it is computed from other parameters (weight norm)."""
    weight = network.get_submodule(name).weight
    if not isinstance(weight, nn.Parameter):
        raise PruningError(f"{name}: its weight is made of other parameters; that is not supported")
    return weight


def rank_weights(network: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    """Layer -> flat indices (weights,) of its weights, the largest absolute value first; ties: the earlier first."""
    return {
        name: weight_of(network, name).detach().abs().flatten().sort(descending=True, stable=True).indices
        for name in names
    }


def masks_of(network: nn.Module, ranking: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Masks in which exactly the first `counts[name]` weights of each layer's ranking stay."""
    found = {}
    for name, order in ranking.items():
        stays = torch.zeros(len(order), dtype=torch.bool, device=order.device)
        stays[order[: counts[name]]] = True
        found[name] = stays.view_as(weight_of(network, name))
    return found


def zero(network: nn.Module, masks: Masks) -> None:
    """Set the weights that do not stay to zero, in place."""
    with torch.no_grad():
        for name, stays in masks.items():
            weight_of(network, name).masked_fill_(~stays, 0.0)


@contextmanager
def held(network: nn.Module, masks: Masks) -> Iterator[None]:
    """While it is open, weights that do not stay get no gradient.

    A weight that is exactly zero then stays so under SGD with a fresh momentum: its decay is zero, too. Masks and
    network have to be on the device where the training happens.
    """
    handles = [
        weight_of(network, name).register_hook(lambda gradient, gone=~stays: gradient.masked_fill(gone, 0.0))
        for name, stays in masks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def nonzero(network: nn.Module, names: Collection[str]) -> dict[str, int]:
    """Layer -> how many of its weights are not zero."""
    return {name: int(torch.count_nonzero(weight_of(network, name))) for name in names}
