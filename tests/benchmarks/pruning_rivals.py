"""What torch-pruning's criteria prune in one shot: which channels stay, at the same share of MACs.

Scores are those of torch-pruning's importances with their defaults, on its own groups; spread over the groups as it
does by default (the same share everywhere, `uniform`) or with one threshold over all of them (`global`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
import torch_pruning as tp
from automl_ext.tasks.pruning.coupling import full_group, trace
from automl_ext.tasks.pruning.macs import total_macs, uniform
from automl_ext.tasks.pruning.prepared import Prepared
from torch import Tensor
from torch.nn import functional

CRITERIA = {
    "L1": lambda: tp.importance.MagnitudeImportance(p=1),
    "L2": lambda: tp.importance.MagnitudeImportance(p=2),
    "LAMP": lambda: tp.importance.LAMPImportance(),
    "BN scale": lambda: tp.importance.BNScaleImportance(),
    "Taylor": lambda: tp.importance.TaylorImportance(),
    "geometric median": lambda: tp.importance.FPGMImportance(),
}

Policy = dict[str, int]
Ranking = dict[str, list[int]]


def one_shot(
    prepared: Prepared, legal: Mapping[str, range], target: float, labels: Tensor
) -> Iterator[tuple[str, Ranking, Policy]]:
    """(criterion and spread, channels of each group by it, the best first, counts) for all of them.

    legal: counts by group; target: MACs; labels: (n,) of the calibration images.
    """
    plan = prepared.plan
    for name, build in CRITERIA.items():
        scores = _scores(prepared, build(), labels)
        ranking = {
            group: torch.argsort(score, descending=True, stable=True).tolist() for group, score in scores.items()
        }
        yield f"{name}, uniform", ranking, uniform(plan, legal, target)
        yield f"{name}, global", ranking, _global(prepared, scores, target)


def _scores(prepared: Prepared, importance: tp.importance.Importance, labels: Tensor) -> dict[str, Tensor]:
    twin = copy.deepcopy(prepared.network).eval()
    graph = trace(twin, prepared.example)
    functional.cross_entropy(twin(prepared.dense.images), labels).backward()
    modules = dict(twin.named_modules())
    return {
        group.name: importance(full_group(graph, modules[group.name]))[: group.channels].detach()
        for group in prepared.plan.groups
    }


def _global(prepared: Prepared, scores: Mapping[str, Tensor], target: float) -> Policy:
    """One threshold over all groups, the lowest within the target; a channel a group stays."""
    best: Policy = {}
    for threshold in torch.cat(list(scores.values())).sort(descending=True).values.tolist():
        counts = {name: max(int((score >= threshold).sum()), 1) for name, score in scores.items()}
        if total_macs(prepared.plan, counts) > target:
            break
        best = counts
    return best
