"""A pruned network as files that load without this package (see automl_ext/artefact/write.py), and its recipe.

`recipe.json` says what was kept, beside what the inputs are and which of the files were left out and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_ext.tasks.pruning.macs import layer_macs, total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prepared import Prepared
from automl_ext.tasks.pruning.prune import remaining
from torch import nn

from automl_ext.artefact.agreement import Pattern, counted_macs, pattern_of
from automl_ext.artefact.source import Moments
from automl_ext.artefact.write import write_files

__all__ = ["pattern", "recipe", "write"]


def write(
    network: nn.Module,
    prepared: Prepared,
    counts: Mapping[str, int],
    metrics: Mapping[str, float],
    moments: Moments,
    folder: Path,
) -> None:
    """Write the files of `network` (on the CPU), pruned to `counts`. Raises ExportError as `write_files` does."""
    wanted = pattern(network.eval(), prepared, counts)
    write_files(network, wanted, recipe(prepared, counts, metrics), moments, folder)


def pattern(network: nn.Module, prepared: Prepared, counts: Mapping[str, int]) -> Pattern:
    """Of the searched `network` (eval mode, on the CPU), the dense one of `prepared` pruned to `counts`.

    Raises PruningError where its counted multiply-accumulates are not those that the search went by. (Networks that
    multiply matrices outside of layers do that beyond what the search counts; for them nothing is compared here.)
    """
    wanted = pattern_of(network, tuple(prepared.example.shape[1:]))
    searched = total_macs(prepared.plan, counts)
    whole = counted_macs(prepared.network, prepared.example) == total_macs(prepared.plan, {})
    if whole and wanted.macs != searched:
        raise PruningError(f"the network has {wanted.macs:,} multiply-accumulates, the search counted {searched:,}")
    return wanted


def recipe(prepared: Prepared, counts: Mapping[str, int], metrics: Mapping[str, float]) -> dict[str, Any]:
    """What was kept, as JSON: counts by group, and by layer the kept input and output channels and the MACs."""
    plan = prepared.plan
    keep = remaining(prepared.ranking, counts)
    layers = {
        layer.name: {
            "inputs": layer.kept_inputs(keep),
            "outputs": layer.kept_outputs(keep),
            "macs": layer_macs(layer, counts),
            "macs_dense": layer_macs(layer, {}),
        }
        for layer in plan.layers
    }
    groups = {
        group.name: {"kept": counts[group.name], "channels": group.channels, "coupled": list(group.writers)}
        for group in plan.groups
    }
    macs = {"macs": total_macs(plan, counts), "macs_dense": total_macs(plan, {})}
    return {**macs, "metrics": dict(metrics), "groups": groups, "layers": layers, "not_pruned": dict(plan.skipped)}
