"""The space of fine-grained pruning: the share of its weights that each layer keeps, and AMC's Algorithm 1.

He, Lin, Liu, Wang, Li, Han: "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018,
arXiv 1802.03494. Differs from the paper:

1. A decision is the share that is kept, 1 - a, as in the released code; so is a_{t-1} in the state, 1 at the start.
2. Algorithm 1 counts whole weights: a share means the whole number of weights at or below it, and what a layer must
   remove is what the target leaves over when all later layers are at their least. So no policy exceeds the target.
   Weights cost one each, or the multiply-accumulates that they make, see Part.
3. A layer keeps at least one weight, and at most those that are not zero at the start: in a later round of iterative
   pruning, what is gone counts as removed.
4. The state counts what the budget counts, weights or MACs, and the input map is (1, 1) for linear layers. A feature
   that is constant over the layers is 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from automl_ext.tasks.pruning.groups import Kind, Layer
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.space import KINDS, Ledger
from numpy.typing import NDArray

from automl_ext.space import Candidate, Decision, Real, Space, Value, Walk

__all__ = [
    "A_MAX", "Part", "WeightObserver", "cost_of", "counts_of", "parts_of", "policy_of", "share_space", "target_of",
]  # fmt: skip

A_MAX: Mapping[Kind, float] = {"conv": 0.8, "linear": 0.98}
"""Kind of layer -> largest share of its weights that may go."""


@dataclass(frozen=True)
class Part:
    """A layer whose weights can go. weights: all of them; least, most: how many may stay.

    price: what each that stays costs: 1, or, where MACs are counted, the places of the output map that it is used at.
    """

    layer: Layer
    weights: int
    least: int
    most: int
    price: int = 1

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def cost(self) -> int:
        """Of all its weights."""
        return self.price * self.weights

    def kept(self, share: float) -> int:
        """How many weights a share stands for: the whole number at or below it, and no more than there are."""
        return min(math.floor(share * self.weights + 1e-6), self.most)


def parts_of(
    layers: Sequence[Layer],
    present: Mapping[str, int],
    high: Mapping[Kind, float] | None,
    protect: Collection[str],
    on_macs: bool = False,
) -> tuple[Part, ...]:
    """The layers that are not protected, in forward order. present: layer -> weights that are not zero.

    high: kind of layer -> largest share that may go, in place of A_MAX. on_macs: whether weights cost their MACs.
    Raises PruningError, one line.
    """
    for kind, share in (high or {}).items():
        if kind not in KINDS:
            raise PruningError(f"high: {kind!r} is no kind of layer; legal: {', '.join(KINDS)}")
        if not 0 <= share <= 1:
            raise PruningError(f"high: {kind} must be a share from 0 to 1, not {share}")
    names = [layer.name for layer in layers]
    for name in protect:
        if name not in names:
            raise PruningError(f"protect: the network has no layer {name!r}; legal: {', '.join(names)}")
    a_max, parts = {**A_MAX, **(high or {})}, []
    for layer in layers:
        if layer.name in protect:
            continue
        weights = layer.kernel[0] * layer.kernel[1] * (layer.inputs // layer.groups) * layer.outputs
        most = min(present[layer.name], weights)
        least = max(1, math.ceil((1 - a_max[layer.kind]) * weights - 1e-6))
        parts.append(Part(layer, weights, min(least, most), most, layer.places if on_macs else 1))
    if all(part.least == part.most for part in parts):
        raise PruningError("nothing is left to prune: protect fewer layers or let more of them go (high)")
    return tuple(parts)


def target_of(parts: Sequence[Part], share: float) -> int:
    """What a share of all weights of `parts` may cost: the whole number at or below it."""
    return math.floor(share * sum(part.cost for part in parts) + 1e-6)


def cost_of(parts: Sequence[Part], counts: Mapping[str, int]) -> int:
    """What the weights cost that a policy keeps."""
    return sum(part.price * counts[part.name] for part in parts)


def share_space(parts: Sequence[Part], share: float, option: str = "weights_kept") -> Space:
    """The space of kept shares which cost at most `share` of all weights of `parts`, by Algorithm 1.

    Raises PruningError, naming `option` and the reachable minimum, where the least of all layers cost more.
    """
    whole = sum(part.cost for part in parts)
    target = target_of(parts, share)
    least = sum(part.price * part.least for part in parts)
    if least > target:
        raise PruningError(
            f"{option} {share:.4g} cannot be reached: with every layer at its least, {least / whole:.4g} remain; "
            f"a larger high lets more go (by default {', '.join(f'{kind}: {most:g}' for kind, most in A_MAX.items())})"
        )
    index = {part.name: place for place, part in enumerate(parts)}

    def narrow(path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
        if not isinstance(decision, Real):
            raise TypeError(f"{path}: shares are Real decisions")
        here = index[path]
        before, own = parts[:here], parts[here]
        reduced = sum(part.cost for part in before) - cost_of(before, _counts(before, made))
        later = sum(part.cost - part.price * part.least for part in parts[here + 1 :])
        duty = whole - target - later - reduced
        return decision.within(decision.low, max(decision.low, (own.cost - duty) // own.price / own.weights))

    def canonical(candidate: Candidate) -> Candidate:
        return policy_of(parts, _counts(parts, candidate))

    decisions = [Real(part.name, part.least / part.weights, part.most / part.weights) for part in parts]
    free = target >= sum(part.price * part.most for part in parts)
    return Space(*decisions, narrow=None if free else narrow, canonical=canonical)


def counts_of(parts: Sequence[Part], candidate: Mapping[str, Value]) -> dict[str, int]:
    """Layer -> weights that it keeps. PruningError for a layer too many or too few, and for what is no share."""
    for name in candidate.keys() ^ {part.name for part in parts}:
        legal = ", ".join(part.name for part in parts)
        raise PruningError(f"{name}: {'no such layer' if name in candidate else 'no share'}; legal: {legal}")
    for name, share in candidate.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise PruningError(f"{name}: {share!r} of its weights cannot be kept; legal: 0 to 1")
    return _counts(parts, candidate)


def policy_of(parts: Sequence[Part], counts: Mapping[str, int]) -> Candidate:
    """The candidate that keeps `counts` weights of each layer."""
    return {part.name: counts[part.name] / part.weights for part in parts}


def _counts(parts: Sequence[Part], made: Mapping[str, Value]) -> dict[str, int]:
    return {part.name: part.kept(float(made[part.name] or 0)) for part in parts if part.name in made}


class WeightObserver:
    """AMC's state of an unfinished walk: (11,) in [0, 1], as space.FEATURES, with what the budget counts for MACs."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self._index = {part.name: place for place, part in enumerate(parts)}
        self._total = sum(part.cost for part in parts)
        table = []
        for place, part in enumerate(parts):
            layer = part.layer
            sizes = [layer.outputs, layer.inputs, *layer.size, layer.stride, layer.kernel[0]]
            table.append([place, *sizes, part.cost])
        columns = np.array(table, dtype=np.float64)
        span = np.ptp(columns, axis=0)
        self._static = (columns - columns.min(axis=0)) / np.where(span > 0, span, 1.0)

    def ledger(self, path: str, made: Mapping[str, Value]) -> Ledger:
        """The costs when layer `path` is to be decided and `made` has been; rest: all of the later layers."""
        here = self._index[path]
        before, own = self.parts[:here], self.parts[here].cost
        kept = cost_of(before, _counts(before, made))
        reduced = sum(part.cost for part in before) - kept
        return Ledger(reduced, kept, own, self._total - reduced - kept - own)

    def __call__(self, walk: Walk) -> NDArray[np.float32]:
        made, here = walk.candidate, self._index[walk.path]
        ledger = self.ledger(walk.path, made)
        before = float(made[self.parts[here - 1].name] or 0) if here else 1.0
        moving = [ledger.reduced / self._total, ledger.rest / self._total, before]
        return np.concatenate([self._static[here], moving]).astype(np.float32)
