"""A sparse network as files that need plain torch and safetensors only, as export.py writes them: shapes stay dense."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from automl_ext.tasks.pruning.export import source
from automl_ext.tasks.pruning.groups import Layer
from automl_ext.tasks.pruning.prepared import tensors
from automl_ext.tasks.pruning.sparsity import nonzero
from automl_ext.tasks.pruning.weight_space import Part
from safetensors.torch import save_file
from torch import nn

__all__ = ["sparse_recipe", "write"]


def write(
    network: nn.Module,
    layers: Sequence[Layer],
    parts: Sequence[Part],
    metrics: Mapping[str, float],
    shape: tuple[int, ...],
    moments: tuple[tuple[float, ...], tuple[float, ...]],
    folder: Path,
) -> None:
    """Write `model.py`, `model.safetensors` and `recipe.json`. shape: of one image (c, h, w); moments: mean and std.

    Raises PruningError, one line, for a network with an operation or layer that cannot be written as source.
    """
    stored = tensors(network)
    (folder / "model.py").write_text(source(network, shape, moments), encoding="utf-8")
    save_file({name: stored[name] for name in sorted(stored)}, folder / "model.safetensors")
    text = json.dumps(sparse_recipe(network, layers, parts, metrics), indent=1)
    (folder / "recipe.json").write_text(text + "\n", encoding="utf-8")


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
    return {**totals, "metrics": dict(metrics), "layers": by_layer, "not_pruned": protected}
