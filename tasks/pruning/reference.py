"""Hand-made policies shown beside every result: the dense network, uniform counts, global magnitude."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from automl_ext.tasks.pruning.coupling import full_group, trace
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.macs import Cost, total_macs, uniform
from torch import Tensor, nn

__all__ = ["references"]

Policy = dict[str, int]
SHARES = (0.75, 0.5, 0.25)


def references(
    network: nn.Module | None,
    example: Tensor,
    plan: Plan,
    legal: Mapping[str, range],
    target: float,
    cost: Cost = total_macs,
) -> dict[str, Policy]:
    """Counts by reference. The dense one breaks the target on purpose. network: trained, or None if it is not yet:
    then there is no magnitude to go by. Where the target leaves everything free, the others come at those of SHARES
    that can be reached, so that a front has references along it: `uniform-0.5`.
    """
    found = {"dense": {group.name: group.channels for group in plan.groups}}
    dense = cost(plan, {})
    least = cost(plan, {name: counts[0] for name, counts in legal.items()})
    targets = {"": target} if target < dense else {f"-{share:g}": share * dense for share in SHARES}
    for suffix, within in targets.items():
        if least > within:
            continue
        found[f"uniform{suffix}"] = uniform(plan, legal, within, cost)
        if network is not None:
            found[f"global-magnitude{suffix}"] = global_magnitude(network, example, plan, legal, within, cost)
    return found


def global_magnitude(
    network: nn.Module, example: Tensor, plan: Plan, legal: Mapping[str, range], target: float, cost: Cost = total_macs
) -> Policy:
    """torch-pruning's MagnitudeImportance (its defaults) with one threshold over all groups, the lowest that stays
    within a cost of `target`. Counts are rounded down to the legal ones and never below their least.
    """
    twin = copy.deepcopy(network).eval()
    graph = trace(twin, example)
    modules = dict(twin.named_modules())
    scorer = tp.importance.MagnitudeImportance()
    with torch.no_grad():
        scores = {group.name: scorer(full_group(graph, modules[group.name])) for group in plan.groups}
    thresholds = torch.cat([score.flatten() for score in scores.values()]).sort().values
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        within = cost(plan, _above(scores, float(thresholds[middle]), legal)) <= target
        low, high = (low, middle) if within else (middle + 1, high)
    return _above(scores, float(thresholds[low]), legal)


def _above(scores: Mapping[str, Tensor], threshold: float, legal: Mapping[str, range]) -> Policy:
    counts = {name: int((score >= threshold).sum()) for name, score in scores.items()}
    return {
        name: max((option for option in legal[name] if option <= count), default=legal[name][0])
        for name, count in counts.items()
    }
