"""A found network as files that load without this package; see automl_ext/artefact/write.py.

`recipe.json` says the cell, beside what the inputs are and which of the files were left out and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from automl_ext.tasks.segmentation.network import Segmenter, Shape
from automl_ext.tasks.segmentation.objectives import costs
from automl_ext.tasks.segmentation.space import Cell, candidate_of

from automl_ext.artefact.agreement import pattern_of
from automl_ext.artefact.source import Moments
from automl_ext.artefact.write import write_files

__all__ = ["recipe", "write"]


def write(network: Segmenter, cell: Cell, shape: Shape, names: Sequence[str], moments: Moments, folder: Path) -> None:
    """Write the files of `network`. Raises ExportError as `write_files` does."""
    whole = network.cpu().eval()
    wanted = pattern_of(whole, shape.image)
    write_files(whole, wanted, recipe(whole, cell, shape, names), moments, folder)


def recipe(network: Segmenter, cell: Cell, shape: Shape, names: Sequence[str]) -> dict[str, Any]:
    """What was found, as JSON. Inputs of branches: 0 is the backbone's features, k the output of branch k."""
    made = candidate_of(cell)
    branches = [
        {"input": made[f"{number}.input"], "operation": made[f"{number}.op"]} for number in range(1, len(cell) + 1)
    ]
    sizes = {"features": list(shape.map), "output_stride": shape.stride, "decoder_stride": shape.decoder}
    return {
        "cell": branches, "classes": list(names), "filters": shape.filters, **sizes, **costs(network, shape),
        "output": "logits (n, classes, h, w); the class of a pixel has the largest",
    }  # fmt: skip
