"""The space: how many channels each group keeps, in forward order, and AMC's Algorithm 1 as its `narrow`.

He, Lin, Liu, Wang, Li, Han: "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018,
arXiv 1802.03494. Differs from the paper:

1. A decision is a group of coupled layers and the number of channels that it keeps, not a layer's sparsity ratio. The
   group's channels are outputs of its writers; AMC decides on the inputs of its readers, which are the same channels.
2. The upper bound tests whole channel counts against the exact MACs, so that a group that a layer both reads and
   writes (a residual stream, quadratic in its count) is bounded as exactly as any other, and rounding cannot break
   the budget afterwards.
3. The lower bound is an option and may be a single channel (AMC: 0.2 of the channels). a_max (`high`) is by the kind
   of the group's first layer; by default it bounds nothing.
4. Layer sizes in the state are those of the group's first layer; its MACs are those of the layers that become final
   with the decision. A feature that is constant over the groups is 0. a_{t-1} is the kept share, 1 at the start, as in
   the released code.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from automl_ext.tasks.pruning.groups import Group, Kind, Plan
from automl_ext.tasks.pruning.macs import Cost, layer_macs, most, owners, total_macs
from automl_ext.tasks.pruning.network import PruningError
from numpy.typing import NDArray

from automl_ext.space import Decision, Integer, Space, Value, Walk

__all__ = ["FEATURES", "KINDS", "Ledger", "Observer", "check_reachable", "keep_space", "options"]

FEATURES = ("t", "n", "c", "h", "w", "stride", "k", "macs", "reduced", "rest", "before")
"""AMC's state, in its order."""
KINDS = ("conv", "linear")


def options(
    plan: Plan,
    round_to: int,
    low: float,
    high: Mapping[Kind, float] | None = None,
    protect: Collection[str] = (),
) -> dict[str, range]:
    """Legal counts by group: multiples of `round_to` from the least up; only the full count where a group is smaller.

    low: at least 1: a count; below 1: a share of the group's channels, rounded up. high: by the kind of layer that
    makes the channels, the largest share of them that may go (AMC's a_max). The larger of both floors holds. protect:
    layers that keep all inputs and outputs, and with them whatever is coupled to those. Raises PruningError, one line.
    """
    if round_to < 1:
        raise PruningError(f"round_to must be at least 1, not {round_to}")
    if not 0 < low < math.inf:
        raise PruningError(f"low must be a share above 0 or a count from 1 up, not {low}")
    high = high or {}
    for kind, share in high.items():
        if kind not in KINDS:
            raise PruningError(f"high: {kind!r} is no kind of layer; legal: {', '.join(KINDS)}")
        if not 0 <= share <= 1:
            raise PruningError(f"high: {kind} must be a share from 0 to 1, not {share}")
    names = [layer.name for layer in plan.layers]
    for name in protect:
        if name not in names:
            raise PruningError(f"protect: the network has no layer {name!r}; legal: {', '.join(names)}")
    legal = {}
    for group in plan.groups:
        whole = range(group.channels, group.channels + 1)
        least = _least(group.channels, low, high.get(plan.layer(group.name).kind, 1.0))
        fixed = not {*group.writers, *group.readers}.isdisjoint(protect)
        legal[group.name] = whole if fixed else _options(group, round_to, least)
    if protect and all(counts[0] == plan.group(name).channels for name, counts in legal.items()):
        raise PruningError("protect leaves nothing to prune: name fewer layers")
    return legal


def _least(channels: int, low: float, high: float) -> int:
    least = math.ceil(low * channels - 1e-9) if low < 1 else math.ceil(low)
    return min(max(least, math.ceil((1 - high) * channels - 1e-9), 1), channels)


def _options(group: Group, round_to: int, least: int) -> range:
    channels = group.channels
    if channels < round_to:
        return range(channels, channels + 1)
    first = min(-(-least // round_to), channels // round_to) * round_to
    return range(first, channels + 1, round_to)


def check_reachable(plan: Plan, legal: Mapping[str, range], target: float, cost: Cost, option: str) -> None:
    """PruningError, naming `option` and the reachable minimum, where no policy costs at most `target`."""
    least = cost(plan, {name: counts[0] for name, counts in legal.items()})
    if least > target:
        dense = cost(plan, {})
        asked, left = target / dense, least / dense
        raise PruningError(f"{option} {asked:.4g} cannot be reached: with every group at its least, {left:.4g} remain")


def keep_space(
    plan: Plan, legal: Mapping[str, range], target: float, cost: Cost = total_macs, option: str = "macs_kept"
) -> Space:
    """The space of counts that cost at most `target`, by Algorithm 1: undecided groups stand at their least. A target
    of the dense cost leaves all legal counts free.

    Raises PruningError, naming `option` and the reachable minimum, where no policy stays within it.
    """
    check_reachable(plan, legal, target, cost, option)
    least = {name: counts[0] for name, counts in legal.items()}

    def narrow(path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
        if not isinstance(decision, Integer):
            raise TypeError(f"{path}: counts are Integer decisions")
        counts: dict[str, Any] = {**least, **made}
        high = most(plan, counts, path, legal[path], target, cost)
        return decision if high is None else decision.within(decision.low, high)

    decisions = [Integer(name, counts[0], counts[-1], counts.step) for name, counts in legal.items()]
    return Space(*decisions, narrow=narrow if target < cost(plan, {}) else None)


@dataclass(frozen=True)
class Ledger:
    """Where the dense network's MACs are when it is the turn of one group; the four add up to all of them.

    reduced, kept: removed from and left in the layers that are final; own: dense MACs of the layers that become final
    with this decision; rest: dense MACs of those after.
    """

    reduced: int
    kept: int
    own: int
    rest: int


class Observer:
    """AMC's state of an unfinished walk: (11,) in [0, 1], see FEATURES."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._owners = owners(plan)
        self._total = total_macs(plan, {})
        self._index = {group.name: index for index, group in enumerate(plan.groups)}
        table = []
        for index, group in enumerate(plan.groups):
            layer = plan.layer(group.name)
            sizes = [layer.outputs, layer.inputs, *layer.size, layer.stride, layer.kernel[0]]
            table.append([index, *sizes, self._own(index)])
        columns = np.array(table, dtype=np.float64)
        span = np.ptp(columns, axis=0)
        self._static = (columns - columns.min(axis=0)) / np.where(span > 0, span, 1.0)

    def ledger(self, path: str, made: Mapping[str, Any]) -> Ledger:
        """The MACs when group `path` is to be decided and `made` has been."""
        here = self._index[path]
        final = [layer for layer in self.plan.layers if self._owners[layer.name] < here]
        kept = sum(layer_macs(layer, made) for layer in final)
        reduced = sum(layer_macs(layer, {}) for layer in final) - kept
        own = self._own(here)
        return Ledger(reduced, kept, own, self._total - reduced - kept - own)

    def __call__(self, walk: Walk) -> NDArray[np.float32]:
        made: dict[str, Any] = walk.candidate
        index = self._index[walk.path]
        ledger = self.ledger(walk.path, made)
        before = 1.0
        if index:
            group = self.plan.groups[index - 1]
            before = made[group.name] / group.channels
        moving = [ledger.reduced / self._total, ledger.rest / self._total, before]
        return np.concatenate([self._static[index], moving]).astype(np.float32)

    def _own(self, index: int) -> int:
        return sum(layer_macs(layer, {}) for layer in self.plan.layers if self._owners[layer.name] == index)
