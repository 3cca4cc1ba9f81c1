"""What a search is asked for: objectives and budgets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.params import total_params, with_params
from automl_ext.tasks.pruning.protocol import demand
from automl_ext.tasks.pruning.timing import MEASURED
from torch import nn

from automl_ext import Run, search
from automl_ext.driver import export_trial
from automl_ext.env import Job, never_stop
from automl_ext.mistakes import ConfigError
from automl_ext.objective import front
from automl_ext.registry import make

SEVERAL = {"accuracy": "max", "macs_m": "min", "latency_ms": "min", "params_k": "min"}


def tiny():
    """Two convolutions with norms, 15,120 MACs on 8x8 grey images: little to train."""
    layers = [nn.Conv2d(1, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    layers += [nn.Conv2d(6, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(12, 10))


@pytest.fixture
def network(monkeypatch):
    """tiny, by a name that the environment can import"""
    import sys
    import types

    module = types.ModuleType("tiny_networks")
    module.tiny = tiny
    monkeypatch.setitem(sys.modules, "tiny_networks", module)
    return "tiny_networks:tiny"


def test_one_objective_is_accuracy_at_half_of_the_macs():
    asked = demand("resource")
    assert [vars(objective) for objective in asked.objectives] == [
        {"name": "accuracy", "goal": "max", "limit": None, "measured": False}
    ]
    assert asked.share == 0.5 and not asked.free
    assert demand("resource", macs_kept=0.3).share == 0.3


def test_several_objectives_are_free_of_a_budget_unless_one_is_given():
    asked = demand("resource", SEVERAL)
    assert [(objective.name, objective.goal) for objective in asked.objectives] == list(SEVERAL.items())
    assert [objective.name for objective in asked.objectives if objective.measured] == ["latency_ms"]
    assert asked.free and not demand("resource", SEVERAL, 0.7).free


def test_the_accuracy_guaranteed_protocols_are_free_and_rewarded():
    """monotone: lower error better; at equal error fewer FLOPs better; the paper's formula, on raw counts"""
    made = tiny().eval(), torch.zeros(1, 1, 8, 8)
    plan = with_params(inspect(*made), *made)
    whole, fewer = {}, {"3": 8}
    for protocol, count in (("accuracy-macs", total_macs), ("accuracy-params", total_params)):
        asked = demand(protocol)
        assert [objective.name for objective in asked.objectives] == ["reward"] and asked.free
        assert asked.objectives[0].goal == "max"
        given = asked.reward(plan, fewer, 0.8)["reward"]
        assert given == pytest.approx(-0.2 * np.log(count(plan, fewer)))
        assert asked.reward(plan, fewer, 0.81)["reward"] > given > asked.reward(plan, whole, 0.8)["reward"]
        assert asked.reward(plan, whole, 1.0)["reward"] == 0
    assert demand("accuracy-macs").sizes(plan, fewer) == {} == demand("resource").reward(plan, fewer, 0.8)
    assert 0 < demand("accuracy-params").sizes(plan, fewer)["params_kept"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": {"acc": "max"}}, "objectives: acc: max is not possible; legal: accuracy: max, macs_m: min"),
        ({"objectives": {"accuracy": "min"}}, "objectives: accuracy: min is not possible"),
        ({"objectives": {}}, "objectives is empty"),
        ({"macs_kept": 1.5}, "macs_kept must lie above 0 and at most at 1, not 1.5"),
        ({"params_kept": 0.0}, "params_kept must lie above 0 and at most at 1, not 0"),
        ({"objectives": SEVERAL, "macs_kept": 0.0}, "macs_kept must lie above 0"),
        ({"macs_kept": 0.5, "params_kept": 0.5}, "give one of them"),
        ({"protocol": "accuracy"}, "protocol 'accuracy' is unknown; legal: resource, accuracy-macs, accuracy-params"),
        ({"protocol": "accuracy-macs", "macs_kept": 0.5}, "accuracy-macs has no budget .* leave macs_kept out"),
        ({"protocol": "accuracy-params", "objectives": SEVERAL}, "leave objectives out"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(options, message):
    with pytest.raises(PruningError, match=message):
        demand(**{"protocol": "resource", **options})


def test_a_config_names_the_wrong_objective():
    with pytest.raises(ConfigError, match=r"env\.objectives"):
        make("automl_ext/Pruning-v0", objectives={"acurracy": "max"})


@pytest.mark.slow
def test_without_a_budget_every_legal_policy_is_in_the_space(network):
    env = PruningEnv(network, objectives=SEVERAL)
    assert {"0": 6, "3": 12} in env.space and {"0": 1, "3": 1} in env.space
    assert [slot.path for slot in env.space.slots] == ["0", "3"]
    assert set(env.references) == {"dense", "uniform-0.75", "uniform-0.5", "uniform-0.25"}
    assert env.references["dense"] in env.space
    held = PruningEnv(network, objectives=SEVERAL, macs_kept=0.4)
    assert {"0": 6, "3": 12} not in held.space and set(held.references) == {"dense", "uniform"}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["accuracy-macs", "accuracy-params"])
def test_an_evaluation_has_the_papers_reward(network, protocol, tmp_path):
    env = PruningEnv(network, epochs=1, calibration_images=20, protocol=protocol, reconstruction="none")
    assert dict(env.references["dense"]) in env.space
    env.prepare(tmp_path)
    metrics = env.evaluate(Job(0, {"0": 3, "3": 5}, shared=str(tmp_path)), never_stop)
    cost = 1000 * metrics["params_k"] if protocol == "accuracy-params" else 1e6 * metrics["macs_m"]
    assert metrics["reward"] == pytest.approx(-(1 - metrics["accuracy"]) * np.log(cost))


@pytest.mark.slow
def test_a_search_within_a_share_of_the_parameters(network, tmp_path):
    """every trial of evolution, whose mutation exchanges parameters, stays within the share"""
    env = {"id": "automl_ext/Pruning-v0", "network": network, "epochs": 1, "calibration_images": 20}
    env |= {"params_kept": 0.4, "reconstruction": "none"}
    run = search(Run.create(out=tmp_path, env=env, searcher="regularized-evolution", trials=12, executor="serial"))
    trials = [trial for trial in run.trials() if trial.stage == "search"]
    shares = [trial.metrics["params_kept"] for trial in trials]
    dense = sum(parameter.numel() for parameter in tiny().parameters())
    assert shares == pytest.approx([1000 * trial.metrics["params_k"] / dense for trial in trials])
    assert max(shares) <= 0.4


def logits_of_export(folder, images):
    import importlib.util

    spec = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        return module.load(folder / "model.safetensors")(images)


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["nsga2", "lemonade", "predictor"])
def test_a_front_in_one_run_of_which_any_point_is_exported(network, searcher, tmp_path):
    """each trial of the front leaves as a network that has the sizes and the accuracy of the trial"""
    env = {"id": "automl_ext/Pruning-v0", "network": network, "epochs": 2, "calibration_images": 40}
    run = search(
        Run.create(out=tmp_path, env={**env, "objectives": SEVERAL}, searcher=searcher, trials=8, executor="serial")
    )
    assert run.manifest["measured"] == sorted(MEASURED)
    trials = [trial for trial in run.trials() if trial.stage == "search"]
    assert len(trials) == 8 and not [trial.error for trial in trials if trial.error]
    points = [trials[index] for index in front([trial.metrics for trial in trials], run.objectives)]
    assert len({trial.metrics["macs_m"] for trial in points}) > 1
    last = min(points, key=lambda trial: trial.metrics["macs_m"])
    for trial in (points[0], last):
        folder = tmp_path / f"export-{trial.number}"
        export_trial(run, trial.number, folder)
        recipe = json.loads((folder / "recipe.json").read_text())
        assert {name: group["kept"] for name, group in recipe["groups"].items()} == dict(trial.candidate)
        assert recipe["metrics"]["macs_m"] == trial.metrics["macs_m"]
        assert recipe["metrics"]["params_k"] == trial.metrics["params_k"]
        assert recipe["metrics"]["accuracy"] == pytest.approx(trial.metrics["accuracy"], abs=0.01)
        assert logits_of_export(folder, torch.zeros(3, 1, 8, 8)).shape == (3, 10)
