"""Parameters of a policy, counted without building anything: as the network's own layers have them.

Equal to the parameters of the network with the channels really removed. What reconstruction may add is not counted:
biases of convolutions that had none and have no batch norm behind them (see fold.py), a number an output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.macs import layer_macs
from automl_ext.tasks.pruning.prune import remove
from torch import Tensor, nn

__all__ = ["total_params", "with_params"]


def with_params(plan: Plan, network: nn.Module, example: Tensor) -> Plan:
    """`plan` with what `total_params` counts by. example: one image (1, c, h, w).

    Biases, norms and whatever else goes with a group's channels are what its removal costs beyond the weights, which
    is the same for every channel.
    """
    dense = _params(network)
    beside = {}
    for group in plan.groups:
        half = group.channels // 2
        smaller = remove(network, example, {group.name: range(half)})
        weights = _weights(plan, {}) - _weights(plan, {group.name: half})
        beside[group.name] = (dense - _params(smaller) - weights) // (group.channels - half)
    return replace(plan, params=dense, beside=beside)


def total_params(plan: Plan, counts: Mapping[str, int]) -> int:
    """Parameters of the network that keeps `counts`; a group that is missing keeps all. plan: of `with_params`."""
    lost = sum(
        plan.beside[group.name] * (group.channels - counts.get(group.name, group.channels)) for group in plan.groups
    )
    return plan.params - lost - (_weights(plan, {}) - _weights(plan, counts))


def _weights(plan: Plan, counts: Mapping[str, int]) -> int:
    return sum(layer_macs(layer, counts) // layer.places for layer in plan.layers)


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
