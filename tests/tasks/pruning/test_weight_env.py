"""Fine-grained pruning as the core sees it: evaluation, tuning, test, export, searchers, bad input."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import sys
import types
from typing import get_type_hints

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.groups import counted_layers
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.sparsity import nonzero
from automl_ext.tasks.pruning.weight_env import WeightPruningEnv
from automl_ext.tasks.pruning.weight_export import sparse_recipe
from automl_ext.tasks.pruning.weight_space import parts_of
from safetensors.torch import load_file, save_file
from torch import nn

from automl_ext import Run, search
from automl_ext.data import normalise
from automl_ext.env import Job, never_stop
from automl_ext.training import accuracy

QUICK = {"epochs": 2, "calibration_images": 60, "reward_images": 200}


def tiny():
    """A plain, a depthwise and a linear layer: 72 + 72 + 128 + 160 weights."""
    layers = [nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16)]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def tied():
    first, second = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
    second.weight = first.weight
    return nn.Sequential(first, second, nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture(scope="module")
def network():
    """tiny, by a name that the environment can import"""
    module = types.ModuleType("tiny_weights")
    module.tiny, module.tied = tiny, tied
    sys.modules["tiny_weights"] = module
    yield "tiny_weights:tiny"
    del sys.modules["tiny_weights"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def env(network, folder):
    made = WeightPruningEnv(network, **QUICK)
    made.prepare(folder)
    return made


@pytest.fixture(scope="module")
def evaluate(env, folder):
    def run(candidate, **fields):
        return env.evaluate(Job(0, dict(candidate), shared=str(folder), **fields), never_stop)

    return run


def layers_of(state):
    return {name: state[f"{name}.weight"] for name in ("0", "3", "4", "9")}


@pytest.mark.slow
def test_an_evaluation_gives_the_metrics(env, evaluate):
    metrics = evaluate(env.references["uniform"])
    assert set(metrics) - set(env.measured) == {"accuracy", "weights_k", "weights_kept", "macs_nonzero_m"}
    assert metrics["weights_kept"] == 0.5 and metrics["weights_k"] == 0.216
    places = {"0": 16, "3": 16, "4": 16, "9": 1}
    sizes = {part.name: part.kept(env.references["uniform"][part.name]) for part in env.parts}
    assert metrics["macs_nonzero_m"] == pytest.approx(sum(sizes[name] * places[name] for name in places) / 1e6)
    again = evaluate(env.references["uniform"])
    assert all(again[name] == metrics[name] for name in metrics if name not in env.measured)


@pytest.mark.slow
def test_a_budget_on_multiply_accumulates(network, tmp_path):
    """the weights that are left, times the places where each is used, counted in what the evaluation leaves"""
    env = WeightPruningEnv(network, macs_kept=0.4, **QUICK)
    assert set(env.references) == {"dense", "uniform"} and env.references["uniform"] in env.space
    (shared := tmp_path / "shared").mkdir()
    env.prepare(shared)
    whole = 16 * (72 + 72 + 128) + 160
    rng, parent, cheapest = np.random.default_rng(0), dict(env.references["uniform"]), []
    for number in range(4):
        own = tmp_path / str(number)
        own.mkdir()
        metrics = env.evaluate(Job(number, parent, shared=str(shared), folder=str(own)), never_stop)
        left = {name: int((w != 0).sum()) for name, w in layers_of(load_file(own / "weights.safetensors")).items()}
        counted = 16 * (left["0"] + left["3"] + left["4"]) + left["9"]
        assert metrics["macs_kept"] == counted / whole <= 0.4
        assert metrics["macs_nonzero_m"] == counted / 1e6
        assert metrics["weights_kept"] == sum(left.values()) / 432
        cheapest.append(0.4 * whole - counted)
        parent = env.variation.mutate(parent, rng)
    assert min(cheapest) < 16  # less than what one weight more would take


@pytest.mark.slow
def test_all_weights_have_the_original_accuracy(env, evaluate, folder):
    """all-ones preserve = original accuracy bit for bit; reset restores all weights"""
    evaluate(env.references["uniform"])
    metrics = evaluate(env.references["dense"])
    assert metrics["accuracy"] == json.loads((folder / "prepared.json").read_text())["accuracy"] > 0.2
    assert metrics["weights_kept"] == 1 and env.references["dense"] not in env.space


@pytest.mark.slow
def test_fewer_weights_and_no_statistics_are_worse(network, folder, env, evaluate):
    least = evaluate({part.name: part.least / part.weights for part in env.parts})["accuracy"]
    assert least < evaluate(env.references["dense"])["accuracy"]
    bare = WeightPruningEnv(network, recalibrate=False, **QUICK)
    job = Job(0, env.references["uniform"], shared=str(folder))
    assert bare.evaluate(job, never_stop)["accuracy"] != evaluate(env.references["uniform"])["accuracy"]


@pytest.mark.slow
def test_tuning_keeps_zeros_and_leaves_its_weights_for_the_test(env, evaluate, folder, tmp_path):
    candidate, curve = dict(env.references["uniform"]), []
    job = Job(0, candidate, budget=2, seed=3, shared=str(folder), folder=str(tmp_path))
    metrics = env.evaluate(job, lambda step, value: curve.append((step, value)))
    assert [step for step, _ in curve] == [1, 2] and metrics["accuracy"] == curve[-1][1]
    assert metrics["accuracy_untuned"] == evaluate(candidate)["accuracy"] and metrics["weights_kept"] == 0.5
    (tmp_path / "plain").mkdir()
    evaluate(candidate, folder=str(tmp_path / "plain"))
    tuned, plain = (load_file(path / "weights.safetensors") for path in (tmp_path, tmp_path / "plain"))
    for name, weight in layers_of(plain).items():
        assert torch.equal(weight == 0, layers_of(tuned)[name] == 0)
        assert not torch.equal(weight, layers_of(tuned)[name])
    tested = env.test(Job(1, candidate, budget=2, seed=9, shared=str(folder), parent=str(tmp_path)), never_stop)
    anew = env.test(Job(1, candidate, budget=2, seed=3, shared=str(folder)), never_stop)
    assert tested == anew and tested["weights_kept"] == 0.5


@pytest.mark.slow
def test_promoted_trials_go_on_from_their_parents_weights(env, folder, tmp_path):
    candidate, first, second = dict(env.references["uniform"]), tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    parent = env.evaluate(Job(0, candidate, budget=1, shared=str(folder), folder=str(first)), never_stop)
    whole = {"shared": str(folder), "folder": str(second), "budget": 3, "parent": str(first)}
    for given, fields, begins in (
        (candidate, {}, 2),
        (candidate, {"stage": "final"}, 1),
        (candidate, {"budget": 1}, 1),
        (env.references["dense"], {}, 1),
    ):
        steps = []
        metrics = env.evaluate(Job(1, given, **{**whole, **fields}), lambda step, value, seen=steps: seen.append(step))
        assert steps[0] == begins and steps[-1] == (fields.get("budget") or 3)
        if not fields and given == candidate:
            assert metrics["accuracy_untuned"] == parent["accuracy_untuned"] and metrics["weights_kept"] == 0.5
            before, after = (layers_of(load_file(path / "weights.safetensors")) for path in (first, second))
            assert all(torch.equal(before[name] == 0, after[name] == 0) for name in before)
    save_file(load_file(first / "weights.safetensors"), first / "weights.safetensors")  # of which nothing is known
    steps = []
    env.evaluate(Job(1, candidate, **whole), lambda step, value: steps.append(step))
    assert steps == [1, 2, 3]


@pytest.mark.slow
def test_a_later_round_keeps_zeros_and_counts_them(network, env, folder, tmp_path):
    """masks are nested from round to round, whatever the second one asks for"""
    env.evaluate(Job(0, env.references["uniform"], budget=1, shared=str(folder), folder=str(tmp_path)), never_stop)
    stored = tmp_path / "weights.safetensors"
    later = WeightPruningEnv(network, str(stored), weights_kept=0.35, **QUICK)
    (tmp_path / "shared").mkdir()
    later.prepare(tmp_path / "shared")
    first = layers_of(load_file(stored))
    assert [part.most for part in later.parts] == [int((weight != 0).sum()) for weight in first.values()]
    for number, candidate in enumerate(
        [later.references["global-magnitude"], {part.name: 1.0 for part in later.parts}]
    ):
        own = tmp_path / str(number)
        own.mkdir()
        metrics = later.evaluate(
            Job(number, candidate, budget=1, shared=str(tmp_path / "shared"), folder=str(own)), never_stop
        )
        second = layers_of(load_file(own / "weights.safetensors"))
        assert all(not ((first[name] == 0) & (second[name] != 0)).any() for name in first)
        assert metrics["weights_kept"] == (0.5 if number else pytest.approx(0.35, abs=0.005))


@pytest.mark.slow
def test_the_export_loads_without_this_package(env, folder, tmp_path, with_programs):
    candidate = dict(env.references["uniform"])
    env.export(Job(0, candidate, shared=str(folder)), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.py", "model.safetensors", "model.pt2", "recipe.json"}
    assert "automl_ext" not in (tmp_path / "model.py").read_text()
    spec = importlib.util.spec_from_file_location("exported_sparse", tmp_path / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    exported = module.load(tmp_path / "model.safetensors")
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert {name: layer["share"] for name, layer in recipe["layers"].items()} == candidate
    assert recipe["kept"] == 216 and recipe["weights"] == 432 and recipe["not_pruned"] == []
    assert recipe["metrics"]["accuracy"] == accuracy(exported, env.data.val, env.data, torch.device("cpu"))
    images = normalise(env.data.val.image[:3], env.data.mean, env.data.std)
    program = torch.export.load(tmp_path / "model.pt2").module()
    assert exported(images).shape == (3, 10) and torch.allclose(program(images), exported(images), atol=1e-5)
    zeros = sum(int((value == 0).sum()) for name, value in program.state_dict().items() if value.ndim > 1)
    assert zeros == recipe["weights"] - recipe["kept"]
    later = WeightPruningEnv(str(tmp_path), weights_kept=0.4, **QUICK)
    assert {part.name: part.most / part.weights for part in later.parts} == candidate
    assert "global-magnitude" in later.references


def test_the_recipe_lists_what_is_not_pruned():
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ConvTranspose2d(8, 4, 2), nn.Flatten(), nn.Linear(196, 10)).eval()
    layers = tuple(counted_layers(network, torch.zeros(1, 1, 8, 8)).values())
    parts = parts_of(layers, nonzero(network, [layer.name for layer in layers]), None, ("3",))
    recipe = sparse_recipe(network, layers, parts, {})
    assert list(recipe["layers"]) == ["0"] and recipe["not_pruned"] == ["3", "1"]


@pytest.mark.slow
def test_the_picture_is_a_self_contained_svg(env, tmp_path):
    env.illustrate(env.references["uniform"], tmp_path)
    assert "<svg" in (tmp_path / "weights.svg").read_text() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_the_papers_reward(network, env, folder):
    free = WeightPruningEnv(network, protocol="accuracy-params", **QUICK)
    assert dict(free.references["dense"]) in free.space and [one.name for one in free.objectives] == ["reward"]
    metrics = free.evaluate(Job(0, free.references["uniform-0.25"], shared=str(folder)), never_stop)
    assert metrics["reward"] == pytest.approx(-(1 - metrics["accuracy"]) * math.log(1000 * metrics["weights_k"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("searcher", "budget"), [("ddpg", {}), ("ddpg", {"macs_kept": 0.5}), ("regularized-evolution", {}), ("nsga2", {})]
)
def test_searchers_work_on_it(network, searcher, budget, tmp_path):
    several = {"objectives": {"accuracy": "max", "weights_k": "min"}} if searcher == "nsga2" else {}
    env = {"id": "automl_ext/WeightPruning-v0", "network": network, **QUICK, "epochs": 1, **several, **budget}
    options = {"name": searcher, **({"warmup": 3} if searcher == "ddpg" else {"population": 4})}
    run = search(Run.create(out=tmp_path, env=env, searcher=options, trials=8, executor="serial"))
    trials = [trial for trial in run.trials() if trial.stage == "search"]
    assert len(trials) == 8 and not any(trial.error for trial in trials)
    bounded = "macs_kept" if budget else "weights_kept"
    assert all(trial.metrics[bounded] <= (1 if several else 0.5) for trial in trials)
    assert (run.folder / "best" / "model.safetensors").is_file()


@pytest.mark.slow
def test_bad_options_are_refused_in_one_line(network, tmp_path):
    save_file(nn.Sequential(nn.Conv2d(3, 8, 3)).state_dict(), tmp_path / "other.safetensors")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.py").write_text("raise RuntimeError('no such layers')\n")
    save_file({}, broken / "model.safetensors")
    for options, message in [
        (
            {"weights_kept": 0.05},
            "weights_kept 0.05 cannot be reached: with .* least, 0.1.* larger high .*conv: 0.8",
        ),
        ({"weights_kept": 1.5}, "weights_kept must lie above 0"),
        ({"macs_kept": 0.05}, "^macs_kept 0.05 cannot be reached: with .* least, 0.1995 remain; a larger high"),
        ({"macs_kept": 0.0}, "macs_kept must lie above 0"),
        ({"macs_kept": 0.5, "weights_kept": 0.5}, "weights_kept and macs_kept: give one of them only"),
        ({"macs_kept": 0.5, "protocol": "accuracy-params"}, "leave macs_kept out"),
        ({"weights_kept": 0.5, "protocol": "accuracy-params"}, "leave weights_kept out"),
        ({"protocol": "accuracy-macs"}, "protocol 'accuracy-macs' is unknown; legal: resource, accuracy-params"),
        ({"objectives": {"latency_ms": "min"}}, "objectives: latency_ms: min is not possible; legal: accuracy: max"),
        ({"high": {"conv": 2.0}}, "high: conv must be a share"),
        ({"protect": ["conv"]}, "protect: the network has no layer 'conv'; legal: 0, 3, 4, 9"),
        ({"weights": str(tmp_path / "other.safetensors")}, "other.safetensors: "),
        ({"tune_rate": 0.0}, "tune_rate must be above 0"),
        ({"network": "tiny_weights:tied"}, "layers 0 and 1 share their weights"),
        ({"network": "small?"}, "network 'small[?]' is unknown"),
        ({"network": "x" * 5000}, "is unknown"),
        ({"network": str(broken)}, "broken' could not be loaded: no such layers"),
    ]:
        with pytest.raises(PruningError, match=message) as caught:
            WeightPruningEnv(**{"network": network, **options})
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_candidates_that_are_no_shares_are_refused(env, evaluate):
    whole = env.references["dense"]
    for candidate, message in [
        ({**whole, "0": 1.5}, "0: 1.5 of its weights cannot be kept; legal: 0 to 1"),
        ({**whole, "1": 0.5}, "1: no such layer; legal: 0, 3, 4, 9"),
        ({"0": 0.5, "3": 0.5, "4": 0.5}, "9: no share"),
    ]:
        with pytest.raises(PruningError, match=message):
            evaluate(candidate)


def test_options_are_annotated_so_that_configs_can_be_checked():
    hints = get_type_hints(WeightPruningEnv.__init__)
    assert set(inspect.signature(WeightPruningEnv).parameters) == hints.keys() - {"return"}


@pytest.mark.parametrize("kind", [PruningEnv, WeightPruningEnv])
def test_the_schedule_of_tuning_is_an_option_of_both(network, kind):
    made = kind(network, tune_rate=0.05, tune_batch=256, tune_decay=4e-5, tune_schedule="cosine")
    assert (made.tuning.rate, made.tuning.batch, made.tuning.weight_decay) == (0.05, 256, 4e-5)
    assert made.tuning.rate_at(0) == 0.05 and np.isclose(made.tuning.rate_at(0.5), 0.025)
