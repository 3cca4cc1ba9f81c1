"""A sparse network as the files that automl_ext/artefact writes, with a recipe of its own: shapes stay dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from automl_ext.tasks.pruning.groups import Layer, uncounted
from automl_ext.tasks.pruning.sparsity import nonzero
from automl_ext.tasks.pruning.weight_space import Part
from torch import nn

from automl_ext.artefact.agreement import pattern_of
from automl_ext.artefact.source import Moments
from automl_ext.artefact.write import write_files

__all__ = ["sparse_recipe", "write"]


def write(
    network: nn.Module,
    layers: Sequence[Layer],
    parts: Sequence[Part],
    metrics: Mapping[str, float],
    shape: tuple[int, ...],
    moments: Moments,
    folder: Path,
) -> None:
    """Write the files of `network` (on the CPU). shape: of one image (c, h, w); moments: mean and std.

    Raises ExportError as `write_files` does.
    """
    wanted = pattern_of(network.eval(), shape)
    write_files(network, wanted, sparse_recipe(network, layers, parts, metrics), moments, folder)


def sparse_recipe(
    network: nn.Module, layers: Sequence[Layer], parts: Sequence[Part], metrics: Mapping[str, float]
) -> dict[str, Any]:
    """As JSON, by layer: its weights, how many are not zero and which share that is, and the MACs that they make."""
    left = nonzero(network, [layer.name for layer in layers])
    sizes = {part.name: part.weights for part in parts}
    by_layer = {
        layer.name: {
            "weights": sizes[layer.name],
            "kept": left[layer.name],
            "share": left[layer.name] / sizes[layer.name],
            "macs_nonzero": left[layer.name] * layer.places,
            "macs_dense": sizes[layer.name] * layer.places,
        }
        for layer in layers
        if layer.name in sizes
    }
    totals = {"weights": sum(sizes.values()), "kept": sum(left[name] for name in sizes)}
    protected = [layer.name for layer in layers if layer.name not in sizes]
    return {**totals, "metrics": dict(metrics), "layers": by_layer, "not_pruned": [*protected, *uncounted(network)]}
