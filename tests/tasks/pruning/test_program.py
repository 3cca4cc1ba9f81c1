"""The exported programs: they run where this package is not, for any number of images, and are what was searched."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from automl_ext.tasks.pruning.evaluate import Recovery, slim
from automl_ext.tasks.pruning.export import pattern, write
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prepared import make
from safetensors.torch import load_file, save_file
from torch import nn

from automl_ext.artefact import program
from automl_ext.artefact.agreement import ExportError, counted_macs
from automl_ext.training import lent_seed

pytestmark = pytest.mark.slow  # torch's exporters take seconds to import
MOMENTS = ((0.5,), (0.25,))


def prepare(network):
    images = torch.randn((8, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    plan = inspect(network, images[:1])
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(8, dtype=torch.long)
    return make(network, plan, images, labels, importance="magnitude", points=4, ridge=0.1, generator=generator)


class Tiny(nn.Module):
    """offset: what is added to each map; a plain tensor cannot be restated in model.py."""

    def __init__(self, offset):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, 2)
        self.linear = nn.Linear(8, 10)
        self.offset = offset

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.linear((self.conv2(x) + self.offset).mean((2, 3)))


@pytest.fixture(scope="module")
def prepared():
    with lent_seed(0):
        return prepare(Tiny(0.5).eval())


@pytest.fixture(scope="module")
def pruned(prepared):
    counts = {"conv1": 5, "conv2": 3}
    return slim(prepared, counts, Recovery("sequential", True, 0.1, False)), counts


_PROGRAM = """
import sys
sys.modules["automl_ext"] = sys.modules["torch_pruning"] = None
import torch
from safetensors.torch import load_file, save_file
images = load_file("images.safetensors")["images"]
network = torch.export.load("model.pt2").module()
with torch.no_grad():
    outputs = {"program": network(images), "one": network(images[:1])}
if "onnx" in sys.argv:
    import onnxruntime
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    outputs["onnx"] = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    outputs["onnx one"] = torch.from_numpy(session.run(None, {"images": images[:1].numpy()})[0])
save_file(outputs, "outputs.safetensors")
"""


def test_programs_run_for_any_number_of_images_where_this_package_is_not(prepared, pruned, tmp_path, with_onnx):
    network, counts = pruned
    write(network, prepared, counts, {}, MOMENTS, tmp_path)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    whole = not program.lacking()
    written = {name for name, said in recipe["files"].items() if not said.startswith("left out")}
    assert written == {"model.py", "model.pt2", *(["model.onnx"] if whole else [])}
    assert {file.name for file in tmp_path.iterdir()} == written | {"model.safetensors", "recipe.json"}
    assert recipe["input"]["shape"] == ["n", 1, 8, 8] and recipe["input"]["mean"] == [0.5]
    images = torch.randn((7, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    save_file({"images": images}, tmp_path / "images.safetensors")
    command = [sys.executable, "-c", _PROGRAM, *(["onnx"] if whole else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = load_file(tmp_path / "outputs.safetensors")
    with torch.no_grad():
        wanted = network(images)
    assert len(outputs) == (4 if whole else 2) and float(wanted.abs().max()) > 0.01
    for name, got in outputs.items():
        assert torch.allclose(got, wanted[: len(got)], atol=1e-5, rtol=1e-4 if "onnx" in name else 1e-5), name


def test_without_the_extra_onnx_is_left_out_with_the_reason(prepared, pruned, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "EXTRA", ("onnx", "no_such_package"))
    monkeypatch.setattr(program, "exported", lambda network, images: None)
    monkeypatch.setattr(program, "_save_program", lambda made, file: pruned[0])
    files = program.write_programs(pruned[0], pattern(pruned[0], prepared, pruned[1]), tmp_path)
    assert files["model.onnx"].startswith("left out: needs the extra onnx, no_such_package not installed")
    assert not files["model.pt2"].startswith("left out")


def test_a_file_that_is_not_the_searched_network_is_refused(prepared, pruned):
    network, counts = pruned
    wanted = pattern(network, prepared, counts)
    wanted.check("model.pt2", network)
    assert wanted.macs == total_macs(prepared.plan, counts) == counted_macs(network, prepared.example)
    assert wanted.params == sum(parameter.numel() for parameter in network.parameters())
    with pytest.raises(ExportError, match=r"model\.pt2 computes something else than .*: it is 0\.0001 off"):
        wanted.check("model.pt2", lambda images: network(images) + 1e-4)
    longer = nn.Sequential(network, nn.BatchNorm1d(10, eps=0)).eval()
    with pytest.raises(ExportError, match=r"model\.py has 253 parameters, the searched network 233"):
        wanted.check("model.py", longer)
    with torch.no_grad():
        wasteful = nn.Sequential(network, nn.Linear(10, 10, bias=False))
        wasteful[1].weight.copy_(torch.eye(10))
    with pytest.raises(ExportError, match=r"model\.py has .* multiply-accumulates, the searched network"):
        wanted.check("model.py", wasteful)
    with pytest.raises(PruningError, match="multiply-accumulates, the search counted"):
        pattern(network, prepared, {**counts, "conv1": 6})


class Clock(nn.Module):
    """A network that branches on values in a way that torch.export does not follow."""

    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


def test_what_cannot_be_written_is_left_out_with_the_reason(tmp_path, monkeypatch, with_programs):
    case = prepare(Tiny(torch.ones(1)).eval())
    counts = {"conv1": 2, "conv2": 8}
    network = slim(case, counts, Recovery("none", False, 0.1, False))
    write(network, case, counts, {}, MOMENTS, tmp_path)
    files = json.loads((tmp_path / "recipe.json").read_text())["files"]
    assert "a constant that is no parameter or buffer cannot be exported" in files["model.py"]
    assert {file.name for file in tmp_path.iterdir()} == {"model.pt2", "recipe.json"}
    with pytest.raises(ExportError, match=r"torch\.export cannot follow the network") as caught:
        program.exported(Clock(), torch.zeros(2, 1, 8, 8))
    assert "\n" not in str(caught.value)

    def refuse(network, images):
        raise ExportError("no way")

    monkeypatch.setattr(program, "exported", refuse)
    with pytest.raises(ExportError, match=r"model\.py left out: .*; model\.pt2 left out: no way"):
        write(network, case, counts, {}, MOMENTS, tmp_path)
