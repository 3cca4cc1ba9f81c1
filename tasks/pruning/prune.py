"""Counts of kept channels -> a really smaller network, or the same network with the lost channels masked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from automl_ext.tasks.pruning.coupling import Entry, entries, full_group, group_of, trace
from automl_ext.tasks.pruning.network import PruningError
from torch import Tensor, nn

__all__ = ["Indices", "Ranking", "mask", "remaining", "remove", "silence"]

Indices = Mapping[str, Sequence[int]]
"""Group name -> channels of its root layer."""
Ranking = Mapping[str, Sequence[int]]
"""Group name -> its channels, the most important first."""


def remaining(ranking: Ranking, counts: Mapping[str, int]) -> dict[str, list[int]]:
    """Which channels each group keeps, ascending: the best `counts[group]` of its ranking.

    Raises PruningError for a group without a count and for counts outside 1 ... number of channels.
    """
    chosen = {}
    for name, order in ranking.items():
        count = counts.get(name)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(order):
            raise PruningError(f"{name}: {count!r} channels cannot be kept; legal: 1 to {len(order)}")
        chosen[name] = sorted(order[:count])
    for name in counts.keys() - ranking.keys():
        raise PruningError(f"{name}: no such group; legal: {', '.join(ranking)}")
    return chosen


def remove(network: nn.Module, example: Tensor, keep: Indices) -> nn.Module:
    """A copy of `network` in eval mode that has only the channels `keep` of each group named; others stay whole.

    example: one image (1, c, h, w). Raises PruningError where a layer would lose all its channels.
    """
    twin = copy.deepcopy(network).eval()
    modules = dict(twin.named_modules())
    graph = None
    for name, channels in keep.items():
        root = modules[name]
        stay = set(channels)
        gone = [channel for channel in range(root.weight.shape[0]) if channel not in stay]
        if not gone:
            continue
        graph = graph if graph is not None else trace(twin, example)
        group = group_of(graph, root, gone)
        if not stay or not graph.check_pruning_group(group):
            raise PruningError(f"{name}: a layer would lose all its channels")
        group.prune()
    twin.zero_grad(set_to_none=True)
    return twin


def mask(network: nn.Module, example: Tensor, keep: Indices) -> nn.Module:
    """A copy of `network` in eval mode, shapes unchanged, in which the channels not in `keep` have no effect.

    Zeroes what produces them and the weights of those that read them.
    """
    twin = copy.deepcopy(network).eval()
    modules = dict(twin.named_modules())
    graph = trace(twin, example)
    for name, channels in keep.items():
        silence(entries(graph, full_group(graph, modules[name])), channels)
    return twin


def silence(members: Iterable[Entry], keep: Sequence[int]) -> None:
    """Zero, in place, what the members of a full group have for the root's channels that are not in `keep`."""
    stay = set(keep)
    with torch.no_grad():
        for module, out, own, roots in members:
            gone = [index for index, root in zip(own, roots, strict=True) if root not in stay]
            if not out:
                weight: Any = module.weight
                weight[:, gone] = 0
                continue
            for parameter in module.parameters(recurse=False):
                parameter[gone] = 0
