"""Hand-made policies of fine-grained pruning: the network as it is, one share, one threshold over all layers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import torch
from automl_ext.tasks.pruning.reference import SHARES
from automl_ext.tasks.pruning.sparsity import weight_of
from automl_ext.tasks.pruning.weight_space import Part, cost_of, policy_of, target_of
from torch import Tensor, nn

from automl_ext.space import Candidate

__all__ = ["weight_references"]

Counts = dict[str, int]


def weight_references(network: nn.Module | None, parts: Sequence[Part], share: float) -> dict[str, Candidate]:
    """Policies by name: `dense`, which breaks the target on purpose, `uniform`, `global-magnitude`.

    network: trained, or None if it is not yet: then there is no magnitude to go by. share: of the cost of all
    weights; where that leaves everything free, the last two come at those of reference.SHARES that can be reached.
    """
    least = sum(part.price * part.least for part in parts)
    found = {"dense": {part.name: part.most for part in parts}}
    free = target_of(parts, share) >= sum(part.price * part.most for part in parts)
    for suffix, part_of in {f"-{each:g}": each for each in SHARES}.items() if free else [("", share)]:
        target = target_of(parts, part_of)
        if least > target:
            continue
        found[f"uniform{suffix}"] = uniform(parts, target)
        if network is not None:
            found[f"global-magnitude{suffix}"] = global_magnitude(network, parts, target)
    return {name: policy_of(parts, counts) for name, counts in found.items()}


def uniform(parts: Sequence[Part], target: int) -> Counts:
    """The largest common kept share that costs at most `target`; a layer's bounds go before it."""
    finest = max(part.weights for part in parts)

    def common(step: int) -> Counts:
        return _bounded(parts, [step * part.weights // finest for part in parts])

    return _largest(parts, common, finest, target)


def global_magnitude(network: nn.Module, parts: Sequence[Part], target: int) -> Counts:
    """The lowest threshold for |w| over all layers with which weights stay that cost at most `target`; a layer's
    bounds go before it. Ties: earlier layers, earlier weights first.
    """
    sizes = torch.cat([weight_of(network, part.name).detach().abs().flatten().cpu() for part in parts])
    owner = torch.cat([torch.full((part.weights,), place) for place, part in enumerate(parts)])
    ordered: Tensor = owner[sizes.sort(descending=True, stable=True).indices]

    def above(count: int) -> Counts:
        return _bounded(parts, torch.bincount(ordered[:count], minlength=len(parts)).tolist())

    return _largest(parts, above, len(ordered), target)


def _largest(parts: Sequence[Part], counts: Callable[[int], Counts], steps: int, target: int) -> Counts:
    """The last of counts(0) ... counts(steps), which grow, that costs at most `target`; counts(0) costs no more."""
    within = bisect_right(range(steps + 1), target, key=lambda step: cost_of(parts, counts(step)))
    return counts(within - 1)


def _bounded(parts: Sequence[Part], wanted: Sequence[int]) -> Counts:
    return {part.name: min(max(count, part.least), part.most) for part, count in zip(parts, wanted, strict=True)}
