"""A policy -> a smaller network with its weights recovered -> metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from automl_ext.tasks.pruning.cut import cut
from automl_ext.tasks.pruning.fold import fold_biases
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prepared import Prepared
from automl_ext.tasks.pruning.prune import Indices, remaining, remove
from automl_ext.tasks.pruning.reconstruct import put, reconstruct, reconstruct_by_gram, reestimate_norms
from automl_ext.tasks.pruning.timing import Laps
from torch import Tensor, nn

__all__ = ["Recovery", "restore", "size_metrics", "slim"]


@dataclass(frozen=True)
class Recovery:
    """How accuracy is won back before fine-tuning; see `reconstruct.py`. recalibrate: batch-norm statistics anew."""

    reconstruction: Literal["sequential", "gram", "none"]
    refit: bool
    ridge: float
    recalibrate: bool


def slim(prepared: Prepared, counts: Mapping[str, int], recovery: Recovery, laps: Laps | None = None) -> nn.Module:
    """The dense network with `counts` channels left in each group, in eval mode; equal to it where all are kept.

    laps: takes the seconds of `prune` and `reconstruct` (with batch-norm statistics and the final check).
    Raises PruningError for counts that are illegal, or if the smaller network does not run.
    """
    laps = laps or Laps()
    keep = remaining(prepared.ranking, counts)
    smaller = _without(prepared, keep)
    laps.end("prune")
    _recover(smaller, prepared, keep, recovery)
    laps.end("reconstruct")
    return smaller


def _without(prepared: Prepared, keep: Indices) -> nn.Module:
    """A copy of the dense network with only the channels `keep`: by indexing where that will do."""
    if prepared.members is None:
        return remove(prepared.network, prepared.example, keep)
    return cut(prepared.network, prepared.members, keep)


def _recover(smaller: nn.Module, prepared: Prepared, keep: Indices, recovery: Recovery) -> None:
    if all(len(keep[group.name]) == group.channels for group in prepared.plan.groups):
        return
    if recovery.reconstruction == "sequential":
        given = (prepared.flow, prepared.plan, keep, prepared.dense)
        reconstruct(smaller, *given, ridge=recovery.ridge, refit=recovery.refit)
    elif recovery.reconstruction == "gram":
        reconstruct_by_gram(smaller, prepared.plan, keep, prepared.grams, ridge=recovery.ridge)
    fold_biases(smaller, prepared.network, prepared.flow)
    if recovery.recalibrate:
        reestimate_norms(smaller, prepared.dense.images)
    check(smaller, prepared)


def restore(prepared: Prepared, counts: Mapping[str, int], state: Mapping[str, Tensor]) -> nn.Module:
    """The smaller network of `counts` with the weights `state`, which may hold biases that the dense one lacks."""
    smaller = _without(prepared, remaining(prepared.ranking, counts))
    for name, module in smaller.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is None and f"{name}.bias" in state:
            put(module, module.weight.flatten(1), state[f"{name}.bias"])
    smaller.load_state_dict(state)
    return smaller


def check(smaller: nn.Module, prepared: Prepared) -> None:
    """One image forward. PruningError where the result has not the dense network's shape, or is not finite."""
    with torch.no_grad():
        shape = prepared.network(prepared.example).shape
        try:
            output = smaller(prepared.example)
        except Exception as error:
            line = (str(error) or type(error).__name__).splitlines()[0]
            raise PruningError(f"the pruned network does not run: {line}") from error
    if output.shape != shape or not bool(torch.isfinite(output).all()):
        raise PruningError(f"the pruned network gives {tuple(output.shape)}, or numbers that are not finite")


def size_metrics(prepared: Prepared, counts: Mapping[str, int], smaller: nn.Module) -> dict[str, float]:
    """macs_m: millions of multiply-accumulates an image; macs_kept: share of the dense ones; params_k: thousands."""
    macs = total_macs(prepared.plan, counts)
    params = sum(parameter.numel() for parameter in smaller.parameters())
    return {"macs_m": macs / 1e6, "macs_kept": macs / total_macs(prepared.plan, {}), "params_k": params / 1e3}
