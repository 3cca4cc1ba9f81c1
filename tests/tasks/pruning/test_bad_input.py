"""What cannot work is one line on the command line, exit code 2, before any training, and nothing is written."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from automl_ext.tasks.pruning import env as pruning_env
from automl_ext.tasks.pruning.network import build
from safetensors.torch import save_file

from automl_ext.cli import main

_USERS = """
import torch
from torch import nn
class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        return self.linear(x) if x.sum() > 100 else self.linear(x * 2)
def branching():
    return Branching()
def head(channels=1, classes=10):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
def hundred():
    return head(classes=100)
def colour():
    return head(3)
def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
def grouped():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 10))
def no_module():
    return 5
def broken():
    raise RuntimeError("no\\nway")
def pair(images):
    return images, images
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Modules, weights and data of a user's."""
    made = tmp_path_factory.mktemp("bad")
    (made / "bad_networks.py").write_text(_USERS)
    for name, channels, classes in [("colour", 3, 10), ("hundred", 1, 100)]:
        save_file(build("small", channels, classes).state_dict(), made / f"{name}.safetensors")
    save_file(build("resnet20", 1, 10).state_dict(), made / "other.safetensors")
    (made / "torn.safetensors").write_bytes(b"no weights")
    parts = {f"{part}_image": np.zeros((20, 8, 8, 3), np.uint8) for part in ("train", "val", "test")}
    labels = {f"{part}_label": np.arange(20) % 10 for part in ("train", "val", "test")}
    np.savez(made / "colour.npz", **parts, **labels)
    return made


CASES = {
    "does not trace": ({"network": "bad_networks:branching"}, "network", "does not trace: symbolically traced"),
    "nothing prunable": ({"network": "bad_networks:linear"}, "network", "has nothing to prune .*the network's output"),
    "only grouped": ({"network": "bad_networks:grouped"}, "network", "has nothing to prune .*grouped convolution"),
    "no module": ({"network": "bad_networks:no_module"}, "network", "gave a int, not a torch.nn.Module"),
    "not built": ({"network": "bad_networks:broken"}, "network", "could not be built: no$"),
    "classes": ({"network": "bad_networks:hundred"}, "network", r"gives \(1, 100\) for one image, .* needs \(1, 10\)"),
    "channels": ({"network": "bad_networks:colour"}, "network", "does not run on an image of 'digits': .*3 channels"),
    "channels of data": (
        {"network": "bad_networks:head", "dataset": "npz:colour.npz"}, "network",
        "does not run on an image of 'npz:colour.npz': .*1 channels, but got 3",
    ),
    "weights of other data": (
        {"weights": "hundred.safetensors"}, "weights", r"linear.bias has shape \(100,\), the network wants \(10,\)"
    ),
    "weights of other images": (
        {"weights": "colour.safetensors"}, "weights", r"conv1.weight has shape \(16, 3, 3, 3\), .* wants \(16, 1, 3"
    ),
    "weights of another width": (
        {"weights": "colour.safetensors", "dataset": "npz:colour.npz", "width": 2.0}, "weights",
        r"bn1.bias has shape \(16,\), the network wants \(32,\)",
    ),
    "weights of another network": ({"weights": "other.safetensors"}, "weights", "shortcut.0.weight is missing"),
    "torn weights": ({"weights": "torn.safetensors"}, "weights", "not readable as .safetensors"),
    "no weights": ({"weights": "none.npz"}, "weights", "no such file"),
    "width of one's own": ({"network": "bad_networks:head", "width": 0.5}, "width", "your own network"),
    "too few MACs": ({"macs_kept": 0.001}, "macs_kept", r"every group at its least, 0\.0\d+ remain$"),
    "too few parameters": ({"params_kept": 0.001}, "params_kept", r"every group at its least, 0\.0\d+ remain$"),
    "a_max": (
        {"macs_kept": 0.05, "high": {"conv": 0.5}}, "macs_kept",
        r"0\.2\d+ remain; high {conv: 0\.5} holds it there, 0\.0\d+ without it$",
    ),
    "a_max by parameters": (
        {"params_kept": 0.05, "high": {"conv": 0.5}, "round_to": 2}, "params_kept",
        r"0\.2\d+ remain; high {conv: 0\.5} holds it there, 0\.0\d+ without it$",
    ),
    "low and protect": (
        {"macs_kept": 0.1, "low": 0.5, "protect": ["conv1"]}, "macs_kept",
        r"remain; low 0\.5 holds it there, 0\.\d+ without it; protect \[conv1\] holds it there, 0\.\d+ without it$",
    ),
    "a_max by default": ({"high": {"conv": 0.1}}, "high", "macs_kept 0.5 cannot be reached: .*high {conv: 0.1}"),
    "inputs": ({"inputs": "bad_networks:pair"}, "inputs", "does not run on an image .* takes 2 positional arguments"),
    "no inputs": ({"inputs": "bad_networks:none"}, "inputs", "cannot be imported"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_before_anything_is_trained_or_written(case, folder, tmp_path, monkeypatch, capsys):
    options, key, message = CASES[case]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setattr(pruning_env, "train", lambda *given, **options: pytest.fail("trained"))
    config = tmp_path / "bad.yaml"
    wanted = {"env": {"id": "automl_ext/Pruning-v0", **options}, "searcher": "random", "trials": 1}
    config.write_text(json.dumps(wanted))
    assert main(["run", str(config), "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"error: {config}:env.{key}: "), said.err
    assert re.search(message, said.err.strip()), said.err
    assert list(tmp_path.iterdir()) == [config]
