"""Exported networks run where this package is not, for any number of images, and are what was searched."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from automl_ext.tasks.segmentation import export
from automl_ext.tasks.segmentation.network import Shape, fresh
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.space import Branch
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.slow  # torch's exporters take seconds to import

CELL = tuple(
    Branch(source, Op.of(text))
    for source, text in ((0, "3x3 1x2"), (0, "pool 1x1"), (1, "1x1"), (1, "pool 2x4"), (0, "dense 2x2"), (0, "as-is"))
)
SHAPE = Shape((3, 20, 28), 4, 4, 2, 0.25, 8, 8)
_PROGRAM = """
import sys
sys.modules["automl_ext"] = None
import onnxruntime, torch
from safetensors.torch import load_file, save_file
from model import load
images = load_file("images.safetensors")["images"]
program = torch.export.load("model.pt2").module()
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
with torch.no_grad():
    found = {"source": load()(images), "program": program(images)}
found["onnx"] = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
save_file({name: value.contiguous() for name, value in found.items()}, "found.safetensors")
"""


def test_all_files_load_without_this_package_and_give_the_same_logits(tmp_path):
    network = fresh(CELL, SHAPE, 0).train()
    network(torch.randn(8, *SHAPE.image, generator=torch.Generator().manual_seed(1)))  # norms that are not their start
    names = ["sky", "road", "car", "tree"]
    export.write(network, CELL, SHAPE, names, ((0.5,) * 3, (0.2,) * 3), tmp_path)
    images = torch.randn(5, *SHAPE.image, generator=torch.Generator().manual_seed(2))
    save_file({"images": images}, tmp_path / "images.safetensors")
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        wanted = network(images)
    found = load_file(tmp_path / "found.safetensors")
    assert set(found) == {"source", "program", "onnx"}
    for name, logits in found.items():
        assert torch.allclose(logits, wanted, atol=1e-5), name
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["classes"] == names and recipe["cell"][3] == {"input": 1, "operation": "pool 2x4"}
    assert "automl_ext" not in (tmp_path / "model.py").read_text()
