"""Multiply-accumulates of a policy, counted without building anything: convolutions and linear layers, an image.

Equal to `torch.utils.flop_counter` FLOPs / 2 of the network with the channels really removed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

from automl_ext.tasks.pruning.groups import Layer, Plan, Wires
from automl_ext.tasks.pruning.network import PruningError

__all__ = ["Cost", "kept", "layer_macs", "most", "owners", "total_macs", "uniform"]

Counts = Mapping[str, int]
"""Group name -> channels that it keeps; a group that is missing keeps all."""
Cost = Callable[[Plan, Counts], float]
"""What a policy costs: MACs (`total_macs`), parameters (`total_params`) or latency (`LatencyCost`). Grows with every
count."""


def layer_macs(layer: Layer, counts: Counts) -> int:
    """Multiply-accumulates of one layer for one image."""
    inputs, outputs = kept(layer, counts)
    if layer.groups > 1 and not layer.depthwise:
        inputs //= layer.groups
    return layer.kernel[0] * layer.kernel[1] * inputs * outputs * layer.places


def kept(layer: Layer, counts: Counts) -> tuple[int, int]:
    """(inputs, outputs) that one layer keeps; a depthwise one reads a single input for each output."""
    outputs = layer.outputs - _lost(layer.writes, counts)
    return (1 if layer.depthwise else layer.inputs - _lost(layer.reads, counts)), outputs


def total_macs(plan: Plan, counts: Counts) -> int:
    """Multiply-accumulates of the whole network for one image."""
    return sum(layer_macs(layer, counts) for layer in plan.layers)


def owners(plan: Plan) -> dict[str, int]:
    """Layer name -> index of the last group that touches it (-1: none), with whose decision its MACs are final."""
    last = dict.fromkeys((layer.name for layer in plan.layers), -1)
    for index, group in enumerate(plan.groups):
        for name in (*group.writers, *group.readers):
            last[name] = index
    return last


def most(plan: Plan, counts: Counts, name: str, options: range, target: float, cost: Cost = total_macs) -> int | None:
    """The largest of `options` for group `name` with which `counts` costs at most `target`; None: there is none.

    By bisection, since costs grow with every count (quadratically where a layer both reads and writes the group).
    """
    low, high = 0, len(options)
    while low < high:
        middle = (low + high) // 2
        if cost(plan, {**counts, name: options[middle]}) <= target:
            low = middle + 1
        else:
            high = middle
    return options[low - 1] if low else None


def uniform(plan: Plan, options: Mapping[str, range], target: float, cost: Cost = total_macs) -> dict[str, int]:
    """The largest common kept fraction of all groups, rounded to the nearest of `options`, at a cost within `target`.

    Raises PruningError where even the lowest options exceed the target.
    """
    points = {value / group.channels for group in plan.groups for value in options[group.name]}
    points |= {(value - 0.5 * options[group.name].step) / group.channels
               for group in plan.groups for value in options[group.name]}  # fmt: skip
    ordered = sorted(points)

    def counts(index: int) -> dict[str, int]:
        return {group.name: _nearest(options[group.name], ordered[index] * group.channels) for group in plan.groups}

    within = bisect_left(range(len(ordered)), True, key=lambda index: cost(plan, counts(index)) > target)
    if not within:
        raise PruningError(f"no uniform policy stays within a cost of {target:.0f}")
    return counts(within - 1)


def _nearest(options: range, value: float) -> int:
    """The larger of two that are as near."""
    place = min(max(int((value - options[0]) // options.step), 0), len(options) - 1)
    return min(options[max(place - 1, 0) : place + 2], key=lambda option: (abs(option - value), -option))


def _lost(wires: Mapping[str, Wires], counts: Counts) -> int:
    """Channels lost: as many as a channel of the group takes, times the channels that the group loses."""
    return sum(len(own[0]) * (len(own) - counts.get(name, len(own))) for name, own in wires.items())
