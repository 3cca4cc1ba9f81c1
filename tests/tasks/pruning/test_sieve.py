"""The cheap accuracy ahead of the full one, and going on from a parent's weights."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.evaluate import Recovery, slim
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.sieve import cheap_images, cheaply_slim, check_sieve
from safetensors.torch import load_file
from torch import nn

from automl_ext import Run, search
from automl_ext.data import Split
from automl_ext.env import Job, never_stop
from automl_ext.journal import digest

POLICY = {"0": 3, "3": 5}
OPTIONS = {"network": "sieved_networks:tiny", "epochs": 1, "calibration_images": 40}


def tiny():
    """Two convolutions with norms for 8x8 grey images: little to train."""
    layers = [nn.Conv2d(1, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    layers += [nn.Conv2d(6, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(12, 10))


@pytest.fixture(scope="module", autouse=True)
def _importable():
    module = types.ModuleType("sieved_networks")
    module.tiny = tiny
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sieved_networks", module)
        yield


@pytest.fixture(scope="module", params=["small", "gram"])
def sieved(request, tmp_path_factory):
    """(environment, the folder that it prepared)"""
    env, folder = PruningEnv(**OPTIONS, sieve=request.param), tmp_path_factory.mktemp("shared")
    env.prepare(folder)
    return env, str(folder)


def played(sieved, tmp_path, stop_at=None, **fields):
    """(metrics, curve) of one evaluation that is told to stop at a step"""
    curve = []

    def report(step, value):
        curve.append((step, value))
        return step == stop_at

    env, shared = sieved
    return env.evaluate(Job(0, POLICY, shared=shared, folder=str(tmp_path), **fields), report), curve


def test_a_trial_told_to_stop_has_the_cheap_accuracy_and_leaves_no_weights(sieved, tmp_path):
    metrics, curve = played(sieved, tmp_path, stop_at=1)
    assert curve == [(1, metrics["accuracy"])] and metrics["accuracy"] == metrics["accuracy_sieve"]
    assert "latency_ms" not in metrics and metrics["seconds_sieve"] > 0 and metrics["macs_kept"] < 0.5
    assert not list(tmp_path.iterdir())


def test_a_trial_that_goes_on_has_the_full_accuracy_and_then_the_curve_of_tuning(sieved, tmp_path):
    env, shared = sieved
    metrics, curve = played(sieved, tmp_path)
    network = slim(env._prepared(Job(0, POLICY, shared=shared)), POLICY, env.recovery)
    assert curve == [(1, metrics["accuracy_sieve"]), (2, env._accuracy(network))]
    assert metrics["accuracy"] == curve[1][1] and list(tmp_path.iterdir())
    tuned, longer = played(sieved, tmp_path, budget=2)
    assert longer[:2] == curve and [step for step, _ in longer[2:]] == [3, 4]
    assert longer[-1][1] == tuned["accuracy"] and tuned["accuracy_untuned"] == metrics["accuracy"]


def test_the_small_sieve_is_the_same_reconstruction_from_the_first_images(sieved):
    """and with no more images than it wants, it is the full one bit for bit"""
    env, shared = sieved
    prepared = env._prepared(Job(0, POLICY, shared=shared))
    full = slim(prepared, POLICY, env.recovery).state_dict()
    cheap = cheaply_slim("small", prepared, POLICY, env.recovery).state_dict()
    assert len(prepared.dense.images) <= 200 and all(torch.equal(full[name], cheap[name]) for name in full)


@pytest.mark.parametrize("sieved", ["gram"], indirect=True)
def test_gram_matrices_come_with_batch_norm_statistics_anew(sieved):
    env, shared = sieved
    prepared = env._prepared(Job(0, POLICY, shared=shared))
    cheap = cheaply_slim("gram", prepared, POLICY, env.recovery).state_dict()
    same = slim(prepared, POLICY, Recovery("gram", True, env.recovery.ridge, True)).state_dict()
    assert all(torch.equal(same[name], cheap[name]) for name in same)


def test_cheap_images_are_spread_over_all():
    images = Split(torch.zeros(1000, 1, 1, 1, dtype=torch.uint8), torch.arange(1000))
    assert cheap_images(images).label.tolist() == list(range(0, 1000, 4))
    assert len(cheap_images(images[:100])) == 100


def test_gram_matrices_stand_in_for_the_sequential_reconstruction_only():
    with pytest.raises(PruningError, match="sieve gram stands in for reconstruction sequential, not none; legal: none"):
        PruningEnv(**OPTIONS, sieve="gram", reconstruction="none")
    check_sieve("small", Recovery("none", False, 0.1, False))


@pytest.mark.slow
def test_a_search_with_a_sieve(tmp_path):
    """the median rule stops what looks bad cheaply; nothing that it stopped is the best; repeated, the same"""
    fields = {"searcher": "regularized-evolution", "trials": 16, "parallel": 2, "executor": "serial"}
    fields["stopping"] = {"name": "median", "startup": 3, "warmup": 0}
    runs = []
    for name in "ab":
        env = {"id": "automl_ext/Pruning-v0", **OPTIONS, "sieve": "small"}
        runs.append(search(Run.create(out=tmp_path / name, env=env, **fields)))
    stopped = [trial for trial in runs[0].trials("search") if trial.origin == "stopped"]
    assert 0 < len(stopped) < 13 and all(len(trial.curve) == 1 for trial in stopped)
    assert runs[0].best().origin != "stopped"
    assert digest(runs[0].trials(), runs[0].manifest["measured"]) == digest(
        runs[1].trials(), runs[1].manifest["measured"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["asha", "hyperband", "successive-halving"])
def test_promoted_trials_go_on_from_their_parents_weights(searcher, tmp_path):
    env = {"id": "automl_ext/Pruning-v0", **OPTIONS}
    options = {"name": searcher, "min_budget": 1, "max_budget": 4, "reduction": 2}
    run = search(Run.create(out=tmp_path, env=env, searcher=options, trials=10, executor="serial"))
    trials = {trial.number: trial for trial in run.trials("search")}
    promoted = [trial for trial in trials.values() if trial.parent is not None]
    assert promoted and not [trial.error for trial in trials.values() if trial.error]
    for trial in promoted:
        parent = trials[trial.parent]
        assert [step for step, _ in trial.curve] == list(range(int(parent.budget) + 1, int(trial.budget) + 1))
        assert trial.metrics["accuracy_untuned"] == parent.metrics["accuracy_untuned"]
        assert trial.candidate == parent.candidate


@pytest.mark.slow
def test_another_policy_or_stage_begins_anew(sieved, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    played(sieved, first, budget=1)
    assert load_file(first / "weights.safetensors").keys()
    for fields, begins in (({}, 2), ({"stage": "final"}, 1), ({"parent": None}, 1), ({"budget": 1}, 1)):
        _, curve = played(sieved, second, **{"budget": 2, "parent": str(first), **fields})
        epochs = [step - 2 for step, _ in curve if step > 2]
        assert epochs[0] == begins
    env, shared = sieved
    curve = []
    other = Job(0, {"0": 3, "3": 4}, budget=2, parent=str(first), shared=shared)
    env.evaluate(other, lambda step, value: curve.append(step))
    assert curve == [1, 2, 3, 4]


def test_without_a_sieve_nothing_is_reported_before_tuning(tmp_path):
    env = PruningEnv(**OPTIONS)
    env.prepare(tmp_path)
    assert "accuracy_sieve" not in env.evaluate(Job(0, POLICY, shared=str(tmp_path)), never_stop)
