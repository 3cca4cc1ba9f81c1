"""The exported source of every operation is what was searched, and the recipe says the cell.

That all files of a run load where this package is not: test_env.py.
"""

from __future__ import annotations

import importlib.util
import json

import torch
from automl_ext.tasks.segmentation import export
from automl_ext.tasks.segmentation.network import Shape, fresh
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.space import Branch

CELL = tuple(
    Branch(source, Op.of(text))
    for source, text in ((0, "3x3 1x2"), (0, "pool 1x1"), (1, "1x1"), (1, "pool 2x4"), (0, "dense 2x2"), (0, "as-is"))
)
SHAPE = Shape((3, 20, 28), 4, 4, 2, 0.25, 8, 8)


def test_the_source_gives_the_same_logits(tmp_path, monkeypatch):
    monkeypatch.setattr("automl_ext.artefact.write.write_programs", lambda *given: {})
    network = fresh(CELL, SHAPE, 0).train()
    network(torch.randn(8, *SHAPE.image, generator=torch.Generator().manual_seed(1)))  # norms that are not their start
    names = ["sky", "road", "car", "tree"]
    export.write(network, CELL, SHAPE, names, ((0.5,) * 3, (0.2,) * 3), tmp_path)
    found = importlib.util.spec_from_file_location("written", tmp_path / "model.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    images = torch.randn(5, *SHAPE.image, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(module.load()(images), network(images), atol=1e-5)
    assert "automl_ext" not in (tmp_path / "model.py").read_text()
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["classes"] == names and recipe["cell"][3] == {"input": 1, "operation": "pool 2x4"}
    assert recipe["features"] == [5, 7] and recipe["macs_m"] > recipe["cell_macs_m"]
