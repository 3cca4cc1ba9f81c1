"""Small networks, and a prepared environment that is trained for two epochs only."""

from __future__ import annotations

import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.network import build

from automl_ext.artefact import program
from automl_ext.artefact import write as writing
from automl_ext.env import Job, never_stop
from automl_ext.training import lent_seed

torch.set_num_threads(1)


def network(name, channels):
    """A network with random weights and norms that are not trivial, in eval mode."""
    with lent_seed(0):
        made = build(name, channels, 10)
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.1)
    return made.eval()


WRITE = writing.write_programs


@pytest.fixture(autouse=True)
def _without_programs(monkeypatch):
    """torch's exporters take seconds; only those that ask for programs get them."""
    monkeypatch.setattr(writing, "write_programs", lambda *given: {"model.pt2": "left out: not in this test"})


@pytest.fixture
def with_programs(monkeypatch):
    """Exports write `model.pt2`, too."""
    monkeypatch.setattr(writing, "write_programs", WRITE)
    monkeypatch.setattr(program, "EXTRA", ("none of this test",))


@pytest.fixture
def with_onnx(monkeypatch):
    """Exports write `model.pt2` and `model.onnx`, too."""
    monkeypatch.setattr(writing, "write_programs", WRITE)


@pytest.fixture(scope="session")
def small():
    return network("small", 1), torch.zeros(1, 1, 8, 8)


@pytest.fixture(scope="session")
def resnet20():
    return network("resnet20", 3), torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def env(folder):
    made = PruningEnv(epochs=3, calibration_images=100)
    made.prepare(folder)
    return made


@pytest.fixture(scope="session")
def evaluate(env, folder):
    """evaluate(candidate, **job fields) -> metrics"""

    def run(candidate, **fields):
        return env.evaluate(Job(0, dict(candidate), shared=str(folder), **fields), never_stop)

    return run
