"""The environment as the core sees it: contract, evaluation, tuning, test, export, bad input."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import subprocess
import sys
from typing import get_type_hints

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.evaluate import slim
from automl_ext.tasks.pruning.network import PruningError, build
from automl_ext.tasks.pruning.weight_env import WeightPruningEnv
from safetensors.torch import save_file

from automl_ext.data import normalise
from automl_ext.env import Job, never_stop
from automl_ext.training import accuracy

CPU = torch.device("cpu")


@pytest.mark.slow
def test_an_evaluation_gives_the_metrics(env, evaluate):
    metrics = evaluate(env.references["uniform"])
    assert set(metrics) - set(env.measured) == {"accuracy", "macs_m", "macs_kept", "params_k"}
    assert 0.2 < metrics["accuracy"] <= 1 and metrics["macs_kept"] <= 0.5
    assert env.objectives[0].name == "accuracy" and set(env.measured) - set(metrics) == {
        "seconds_tune",
        "seconds_sieve",
    }
    again = evaluate(env.references["uniform"])
    assert {name: value for name, value in again.items() if name not in env.measured} == {
        name: value for name, value in metrics.items() if name not in env.measured
    }


@pytest.mark.slow
def test_the_dense_reference_has_the_original_accuracy(env, evaluate, folder):
    """all-ones preserve = original accuracy bit for bit"""
    metrics = evaluate(env.references["dense"])
    facts = json.loads((folder / "prepared.json").read_text())
    assert metrics["accuracy"] == facts["accuracy"]
    assert metrics["macs_kept"] == 1
    assert env.references["dense"] not in env.space


@pytest.mark.slow
def test_any_count_from_one_up_is_evaluated_and_others_are_refused(env, evaluate):
    assert evaluate(dict.fromkeys(env.references["dense"], 1))["macs_kept"] < 0.02
    with pytest.raises(PruningError, match="conv1: 0 channels cannot be kept; legal: 1 to 16"):
        evaluate({**env.references["dense"], "conv1": 0})


@pytest.mark.slow
def test_an_episode_clips_to_the_bound_and_reports_what_was_realised(env):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(env, "_measure", lambda candidate: {"accuracy": 0.25})
        observation, info = env.reset(seed=0)
        done = False
        while not done:
            assert env.observation_space.contains(observation) and observation.shape == (11,)
            observation, reward, done, _, info = env.step(np.array([1.0], dtype=np.float32))
            assert info["realised"] <= info["requested"]
        assert reward == 0.25 and info["candidate"] in env.space


@pytest.mark.slow
def test_tuning_keeps_its_weights_for_the_test(env, evaluate, folder, tmp_path):
    candidate = dict(env.references["uniform"])
    curve = []
    job = Job(0, candidate, budget=2, seed=3, shared=str(folder), folder=str(tmp_path))
    metrics = env.evaluate(job, lambda step, value: curve.append((step, value)))
    assert [step for step, _ in curve] == [1, 2] and metrics["accuracy"] == curve[-1][1]
    assert metrics["accuracy_untuned"] == evaluate(candidate)["accuracy"]
    tested = env.test(Job(1, candidate, budget=2, seed=9, shared=str(folder), parent=str(tmp_path)), never_stop)
    anew = env.test(Job(1, candidate, budget=2, seed=3, shared=str(folder)), never_stop)
    assert tested["test_accuracy"] == anew["test_accuracy"]
    assert tested["params_k"] == metrics["params_k"]


_PROGRAM = """
import sys
sys.modules["automl_ext"] = sys.modules["torch_pruning"] = None
sys.path.insert(0, sys.argv[1])
import torch
from safetensors.torch import load_file, save_file
from model import load
with torch.no_grad():
    save_file({"logits": load()(load_file(sys.argv[2])["images"])}, sys.argv[3])
assert not [name for name in sys.modules if name.startswith("automl_ext.")]
"""


def exported_logits(folder, tmp_path, images):
    save_file({"images": images}, tmp_path / "images.safetensors")
    paths = [str(folder), str(tmp_path / "images.safetensors"), str(tmp_path / "logits.safetensors")]
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *paths], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    from safetensors.torch import load_file

    return load_file(paths[2])["logits"]


@pytest.mark.slow
def test_the_export_loads_without_this_package(env, folder, tmp_path):
    """masked (search) model and exported (really pruned) model give equal logits to 1e-5"""
    candidate = dict(env.references["uniform"])
    (tmp_path / "best").mkdir()
    env.export(Job(0, candidate, shared=str(folder)), tmp_path / "best")
    images = normalise(env.data.val.image[:64], env.data.mean, env.data.std)
    logits = exported_logits(tmp_path / "best", tmp_path, images)
    network = slim(env._prepared(Job(0, candidate, shared=str(folder))), candidate, env.recovery)
    with torch.no_grad():
        assert torch.allclose(logits, network(images), atol=1e-5)
    recipe = json.loads((tmp_path / "best" / "recipe.json").read_text())
    assert {name: group["kept"] for name, group in recipe["groups"].items()} == candidate
    assert recipe["macs"] == sum(layer["macs"] for layer in recipe["layers"].values()) < recipe["macs_dense"]
    assert len(recipe["layers"]["layer1.0.conv1"]["outputs"]) == candidate["layer1.0.conv1"]
    assert recipe["metrics"]["accuracy"] == pytest.approx(accuracy(network, env.data.val, env.data, CPU))
    again = PruningEnv(str(tmp_path / "best"))
    assert {group.name: group.channels for group in again.plan.groups} == candidate
    assert again.macs_dense == recipe["macs"] and again.weights == str(tmp_path / "best" / "model.safetensors")


_USERS = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(1, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.LeakyReLU(0.1))
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.three = nn.Conv2d(16, 12, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.drop = nn.Dropout(0.2)
        self.linear = nn.Linear(48, 10)
        self.scale = nn.Parameter(torch.ones(1))
    def forward(self, x):
        one = self.one(x)
        x = torch.cat([one, self.two(one) * self.scale], dim=1)
        x = nn.functional.gelu(self.three(nn.functional.max_pool2d(x, 2)))
        return self.linear(torch.flatten(self.drop(self.pool(x)), 1))
def network():
    return Net()
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    (tmp_path / "users_networks.py").write_text(_USERS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.slow
def test_a_users_own_network_is_pruned_and_exported(users, tmp_path):
    env = PruningEnv("users_networks:network", epochs=1, calibration_images=50, importance="reconstruction")
    assert [slot.path for slot in env.space.slots] == ["one.0", "two.0", "three"]
    shared, best = tmp_path / "shared", tmp_path / "best"
    shared.mkdir()
    best.mkdir()
    env.prepare(shared)
    job = Job(0, env.space.sample(np.random.default_rng(0)), shared=str(shared))
    assert env.evaluate(job, never_stop)["macs_kept"] <= 0.5
    env.export(job, best)
    images = normalise(env.data.val.image[:16], env.data.mean, env.data.std)
    found = importlib.util.spec_from_file_location("exported_model", best / "model.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    with torch.no_grad():
        network = slim(env._prepared(job), job.candidate, env.recovery)
        assert torch.allclose(module.load()(images), network(images), atol=1e-5)


@pytest.mark.slow
def test_bad_options_are_refused_in_one_line_before_anything_is_trained():
    for options, message in [
        ({"macs_kept": 1.5}, "macs_kept must lie above 0"),
        ({"protect": ["conv"]}, "protect: the network has no layer 'conv'; legal: conv1, layer1.0.conv1"),
        ({"round_to": 0}, "round_to must be at least 1"),
        ({"points": 0}, "points must be above 0"),
        ({"ridge": -1.0}, "ridge must not be negative"),
        ({"ridge": math.nan}, "ridge must not be negative and must be finite, not nan"),
        ({"tune_rate": math.inf}, "tune_rate must be above 0 and finite, not inf"),
        ({"recalibrate": True, "calibration_images": 1}, "recalibrate needs calibration_images to be 2 or more"),
        ({"dataset": "digit"}, "did you mean digits"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            PruningEnv(**options)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [PruningEnv, WeightPruningEnv])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.5, 0.5]}, "mean has 2 numbers, the images have 1"),
        ({"mean": [128.0]}, "mean must lie within 0 and 1, .* not 128.0"),
        ({"mean": [math.nan]}, "mean must lie within 0 and 1, .* not nan"),
        ({"std": [math.nan]}, "std must be above 0 and finite, not nan"),
        ({"std": [math.inf]}, "std must be above 0 and finite, not inf"),
        ({"std": [0.0]}, "std must be above 0 and finite, not 0.0"),
        ({"tune_decay": math.nan}, "tune_decay must not be negative and must be finite, not nan"),
    ],
)
def test_numbers_that_are_none_are_refused(kind, options, message):
    with pytest.raises(PruningError, match=message):
        kind(**options)


def test_options_are_annotated_so_that_configs_can_be_checked():
    hints = get_type_hints(PruningEnv.__init__)
    assert set(inspect.signature(PruningEnv).parameters) == hints.keys() - {"return"}


@pytest.mark.slow
def test_the_pictures_are_self_contained_svgs(env, tmp_path):
    env.illustrate(env.references["uniform"], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"channels.svg", "couplings.svg"}
    for file in tmp_path.iterdir():
        text = file.read_text()
        assert "<svg" in text and "<!-- layer1.0.conv1 -->" in text and "<image" not in text


@pytest.mark.slow
def test_references_by_magnitude_come_with_stored_weights(tmp_path):
    from automl_ext.tasks.pruning.macs import total_macs

    save_file(build("small", 1, 10).state_dict(), tmp_path / "w.safetensors")
    env = PruningEnv(weights=str(tmp_path / "w.safetensors"))
    assert set(env.references) == {"dense", "uniform", "global-magnitude"}
    macs = total_macs(env.plan, env.references["global-magnitude"])
    assert 0.35 * env.macs_dense < macs <= 0.5 * env.macs_dense
