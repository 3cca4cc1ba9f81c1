"""Rankings of channels by torch-pruning's criteria, on the dense network, once. A group's score is summed over its
convolutions and linear layers, outputs and inputs, but for depthwise ones, which torch-pruning does not score.

l2: the L2 norm of all weights of a channel (Li et al.: "Pruning Filters for Efficient ConvNets", ICLR 2017,
arXiv 1608.08710, with L1 there).
bn-scale: |gamma| of the batch norms behind a channel, their mean where it has several (Liu et al.: "Learning Efficient
Convolutional Networks through Network Slimming", ICCV 2017, arXiv 1708.06519).
taylor: |weight x gradient of the loss|, summed over a channel's weights (Molchanov et al.: "Importance Estimation for
Neural Network Pruning", CVPR 2019, arXiv 1906.10771).
geometric-median: the sum of Euclidean distances from a channel's filter to the other ones (He et al.: "Filter Pruning
via Geometric Median", CVPR 2019, arXiv 1811.00250).

Differs from these papers:

1. Coupled layers are scored together, and the weights that read a channel count beside those that write it.
2. Taylor sums absolute values a weight, torch-pruning's default, of the gradient of the mean loss; the paper squares
   the sum a filter, batch by batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from automl_ext.tasks.pruning.coupling import full_group, trace
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.network import PruningError
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CRITERIA", "check_criterion", "rank_by_criterion"]

COUNTED = [nn.Conv2d, nn.Linear]
PLAIN: Mapping[str, Any] = {"group_reduction": "sum", "normalizer": None}
CRITERIA: Mapping[str, Any] = {
    "l2": tp.importance.MagnitudeImportance(p=2, target_types=COUNTED, **PLAIN),
    "bn-scale": tp.importance.BNScaleImportance(group_reduction="mean", normalizer=None),
    "taylor": tp.importance.TaylorImportance(target_types=COUNTED, **PLAIN),
    "geometric-median": tp.importance.FPGMImportance(p=1, **PLAIN),
}
LEGAL = ("magnitude", "reconstruction", *CRITERIA)


def rank_by_criterion(
    name: str, network: nn.Module, example: Tensor, plan: Plan, images: Tensor, labels: Tensor
) -> dict[str, list[int]]:
    """Channels of each group, the most important first; ties: the earlier channel first. `network` stays as it was.

    name: a key of CRITERIA. images (n, c, h, w), normalised, and labels (n,): only `taylor` looks at them.
    Raises PruningError, one line, for a group that the criterion cannot score.
    """
    twin = copy.deepcopy(network).eval()
    graph = trace(twin, example)
    if name == "taylor":
        _fill_gradients(twin, images, labels)
    elif name == "geometric-median":
        _make_positive(twin)
    modules = dict(twin.named_modules())
    ranking, silent = {}, []
    for group in plan.groups:
        score = CRITERIA[name](full_group(graph, modules[group.name]))
        if score is None:
            silent.append(group.name)
            continue
        score = score[: group.channels].cpu()  # a member that is longer than the root leaves zeros behind
        if not bool(torch.isfinite(score).all()):
            raise PruningError(f"importance {name!r}: the scores of group {group.name} are not finite")
        ranking[group.name] = [int(index) for index in torch.argsort(score, descending=True, stable=True)]
    if silent:
        raise _unscored(name, silent)
    return ranking


def check_criterion(name: str, network: nn.Module, example: Tensor, plan: Plan) -> None:
    """PruningError, one line, for an unknown importance and for groups of `network` that no training makes rankable."""
    if name not in LEGAL:
        raise PruningError(f"importance must be one of {', '.join(LEGAL)}, not {name!r}")
    if name == "bn-scale":
        rank_by_criterion(name, network, example, plan, example, example.new_zeros(1, dtype=torch.long))


def _unscored(name: str, groups: list[str]) -> PruningError:
    lack = "no batch norm with a scale" if name == "bn-scale" else "nothing to score"
    others = ", ".join(other for other in LEGAL if other != name)
    return PruningError(f"importance {name!r}: {lack} in {', '.join(groups)}; give another importance: {others}")


def _fill_gradients(network: nn.Module, images: Tensor, labels: Tensor, batch: int = 100) -> None:
    """Gradients of the mean cross-entropy over `images` into `network`, in eval mode; zeros where none arrive."""
    network.zero_grad(set_to_none=True)
    with torch.enable_grad():
        for part, wanted in zip(images.split(batch), labels.split(batch), strict=True):
            loss = functional.cross_entropy(network(part), wanted.to(part.device), reduction="sum") / len(images)
            loss.backward()
    for parameter in network.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def _make_positive(network: nn.Module) -> None:
    """Shift each layer's weights, in place, until none is negative, in float64: distances between filters stay.

    torch-pruning takes absolute values before it measures distances, so that w and -w would be copies of each other.
    """
    for module in network.modules():
        if isinstance(module, tuple(COUNTED)):
            weight: Any = module.weight
            weight.data = weight.data.double()
            weight.data -= weight.data.min()
