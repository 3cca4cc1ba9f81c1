"""Candidates that are trained: metrics, promotions, curves, what a training does besides, exports, whole runs."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture.checkpoint import read_checkpoint
from automl_ext.tasks.architecture.layers import DropPath
from automl_ext.tasks.architecture.reference import params_of
from automl_ext.tasks.architecture.regularise import Auxiliary, Regularise, auxiliary_loss, cut_out
from torch.nn import functional

from automl_ext import Run, make, search
from automl_ext.artefact.agreement import ExportError, counted_macs
from automl_ext.env import Job, never_stop
from automl_ext.testing import check_target

CELL = {"blocks": 1, "width": 2, "operations": ["identity", "conv_3x3"]}
QUICK = {"space": "cell", "space_options": CELL, "images": 60, "val_images": 60, "epochs": 1}


def build(**options):
    return make("automl_ext/Architecture-v0", **{**QUICK, **options}).unwrapped


@pytest.fixture(scope="module")
def env():
    return build(objectives={"accuracy": "max", "params_k": "min", "macs_m": "min"})


@pytest.fixture(scope="module")
def candidate(env):
    return env.space.sample(np.random.default_rng(0))


def weights(folder):
    found = read_checkpoint(str(folder))
    return found.epochs, torch.cat([value.float().flatten() for value in found.state.values()])


def trained(env, candidate, folder, **job):
    folder.mkdir()
    metrics = env.evaluate(Job(0, candidate, seed=3, folder=str(folder), **job), never_stop)
    return metrics, *weights(folder)


def test_size_is_that_of_the_network(env, candidate):
    metrics = env.evaluate(Job(0, candidate, seed=3), never_stop)
    network = env.training.fresh(candidate, 0).eval()
    assert metrics["params_k"] * 1000 == pytest.approx(params_of(network))
    assert metrics["macs_m"] * 1e6 == pytest.approx(counted_macs(network, torch.zeros(1, 1, 8, 8)))
    assert 0 <= metrics["accuracy"] <= 1 and [each.name for each in env.objectives] == [*metrics]


def test_a_promotion_goes_on_from_its_parent(env, candidate, tmp_path):
    _, epochs, first = trained(env, candidate, tmp_path / "first", budget=1)
    _, more, second = trained(env, candidate, tmp_path / "second", budget=2, parent=str(tmp_path / "first"))
    _, scratch, other = trained(env, candidate, tmp_path / "other", budget=2)
    assert (epochs, more, scratch) == (1, 2, 2)
    assert not torch.equal(second, other)  # in the second epoch only, at the rate that it has
    assert (second - first).norm() < (other - first).norm()


def test_at_a_constant_rate_without_momentum_going_on_is_what_one_training_is(candidate, tmp_path):
    steady = build(schedule="constant", momentum=0.0)
    trained(steady, candidate, tmp_path / "first", budget=1)
    _, _, second = trained(steady, candidate, tmp_path / "second", budget=2, parent=str(tmp_path / "first"))
    _, _, whole = trained(steady, candidate, tmp_path / "whole", budget=2)
    assert torch.equal(second, whole)


def test_only_the_same_candidate_inherits_and_only_in_the_search(env, candidate, tmp_path):
    other = env.space.sample(np.random.default_rng(5))
    assert other != candidate
    trained(env, other, tmp_path / "parent", budget=1)
    _, _, child = trained(env, candidate, tmp_path / "child", budget=2, parent=str(tmp_path / "parent"))
    _, _, scratch = trained(env, candidate, tmp_path / "scratch", budget=2)
    assert torch.equal(child, scratch)
    trained(env, candidate, tmp_path / "same", budget=1)
    _, _, final = trained(env, candidate, tmp_path / "final", budget=2, parent=str(tmp_path / "same"), stage="final-1")
    assert torch.equal(final, scratch)


def test_curves_are_reported_to_stopping_rules_only(env, candidate):
    points = []

    def report(step, value):
        points.append((step, value))
        return len(points) == 2

    env.evaluate(Job(0, candidate, budget=4), report)
    assert points == []
    env.evaluate(Job(0, candidate, budget=4, stopping={"rule": "any"}), report)
    assert [step for step, _ in points] == [1, 2]


# ---------------------------------------------------------------- predictor


def planted(self, job, report):
    return {"accuracy": sum(value == "conv_3x3" for value in job.candidate.values()) / 8}


@pytest.mark.slow
def test_a_predictor_ranks_what_it_has_not_seen(tmp_path, monkeypatch):
    """Accuracies are planted: the more convolutions, the better."""
    space = {"blocks": 2, "width": 2, "operations": ["identity", "conv_3x3"]}
    env = build(estimator="predictor", predictor_samples=60, space_options=space)
    monkeypatch.setattr("automl_ext.tasks.architecture.trained.Training.evaluate", planted)
    env.prepare(tmp_path)
    facts = json.loads((tmp_path / "predictor.json").read_text())
    keys = {env.space.key(candidate) for candidate in facts["candidates"]}
    assert len(keys) == 60 and facts["rank_correlation"] > 0.6
    rng, found = np.random.default_rng(9), []
    for _ in range(40):
        candidate = env.space.sample(rng)
        if env.space.key(candidate) not in keys:
            job = Job(0, candidate, shared=str(tmp_path))
            predicted = env.evaluate(job, never_stop)
            assert predicted == env.evaluate(job, never_stop) and predicted["params_k"] > 0
            found.append((predicted["accuracy"], planted(None, job, never_stop)["accuracy"]))
    assert np.corrcoef(np.array(found).T)[0, 1] > 0.6
    finalist = Job(0, candidate, shared=str(tmp_path), stage="final-1")
    assert env.evaluate(finalist, never_stop) == planted(None, finalist, never_stop)


def test_a_predictor_without_its_lessons_says_so(candidate):
    env = build(estimator="predictor")
    with pytest.raises(ValueError, match="the predictor needs what prepare left"):
        env.evaluate(Job(0, candidate), never_stop)


# ---------------------------------------------------------------- besides gradient descent


def test_drop_path_keeps_the_mean_and_rests_in_evaluation():
    drop, images = DropPath(), torch.ones(20_000, 1, 1, 1)
    drop.rate = 0.3
    dropped = drop.train()(images)
    assert abs(float(dropped.mean()) - 1) < 0.03 and len(dropped.unique()) == 2
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.02)
    assert drop.eval()(images) is images


def test_the_chance_to_drop_grows_in_a_line(env, candidate):
    network = env.training.fresh(candidate, 0)
    drops = [module for module in network.modules() if isinstance(module, DropPath)]
    transform = Regularise(network, 0.0, 0.4, (0,))
    image, label, rng = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2), np.random.default_rng(0)
    for progress in (0.0, 0.25, 1.0):
        transform(image, label, progress, rng)
        assert drops and {drop.rate for drop in drops} == {0.4 * progress}


def test_cutout_covers_a_square_that_may_stick_out():
    image = torch.full((400, 2, 8, 8), 200, dtype=torch.uint8)
    cut = cut_out(image, 0.5, (7, 9), np.random.default_rng(0))
    covered = cut[:, 0] == 7
    assert (covered == (cut[:, 1] == 9)).all() and (cut[:, 0][~covered] == 200).all()
    sizes = covered.sum((1, 2))
    assert sizes.max() == 16 and sizes.min() == 4 and (image == 200).all()
    for mask in covered[:50]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_the_auxiliary_classifier_learns_along_and_is_gone(env, candidate):
    network = env.training.fresh(candidate, 0)
    names = [name for name, _ in network.named_parameters()]
    second = Auxiliary(network, (1, 8, 8), 10).train()
    images, labels = torch.randn(4, 1, 8, 8), torch.arange(4)
    both = second(images)
    assert [each.shape for each in both] == [(4, 10), (4, 10)]
    first, other = (functional.cross_entropy(each, labels) for each in both)
    assert torch.isclose(auxiliary_loss(both, labels, 0.0), first + 0.4 * other)
    assert second.eval()(images).shape == (4, 10)
    assert second.detach() is network and [name for name, _ in network.named_parameters()] == names


@pytest.mark.parametrize("space", ["hierarchical", "mobile", "branch", "chain"])
def test_other_spaces_train_too(space):
    options = {"drop_path": 0.2} if space in ("hierarchical", "mobile") else {"cutout": 0.4}
    env = build(space=space, space_options={}, auxiliary=True, **options)
    metrics = env.evaluate(Job(0, env.space.sample(np.random.default_rng(1)), seed=1), never_stop)
    assert metrics["params_k"] > 0


def test_a_second_classifier_finds_maps_also_where_the_end_is_flat():
    env = build(space="modular", space_options={"network": "tutorial"}, auxiliary=True)
    metrics = env.evaluate(Job(0, env.space.sample(np.random.default_rng(0)), seed=1), never_stop)
    assert metrics["params_k"] > 0


def test_paths_are_dropped_wherever_one_of_the_references_has_some():
    assert build(space="phases", space_options={}, drop_path=0.2).training.drop_path == 0.2


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": {"acuracy": "max"}}, "objectives: a training measures no 'acuracy'; legal: accuracy, params_k"),
        ({"objectives": {"params_k": "max"}}, "params_k is to be minimised, not maximised"),
        ({"space": "chain", "space_options": {}, "drop_path": 0.2}, "drop_path: networks of this space have no paths"),
        ({"table": "cells.csv"}, "table: estimator 'train' has no use for it"),
        ({"estimator": "table", "space": "nasbench201", "space_options": None}, "has no use for it"),
        ({"latency": "table"}, "latency: a table needs the space mobile"),
        ({"predictor_samples": 20}, "predictor_samples: estimator 'train' has no use for it"),
        ({"images": 10**6}, "images: 'digits' has 1077 train images"),
        ({"space_options": {"width": 0}}, r"env\.space_options\.width"),
        ({"dataset": "digts"}, "did you mean digits"),
        ({"batch": 1}, r"env\.batch"),
    ],
)
def test_what_cannot_work_is_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        build(**options)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- whole runs


@pytest.mark.slow(seconds=3)
def test_a_run_ends_with_a_network_that_loads_without_us(tmp_path, monkeypatch):
    monkeypatch.setattr("automl_ext.artefact.program.lacking", lambda: ["onnx"])  # the contract test writes it
    env = {"id": "automl_ext/Architecture-v0", **QUICK}
    searcher = {"name": "asha", "min_budget": 1, "max_budget": 2, "reduction": 2}
    run = search(
        Run.create(
            out=tmp_path,
            env=env,
            searcher=searcher,
            trials=5,
            executor="serial",
            parallel=1,
            final=[{"top": 1, "budget": 1}],
        )
    )
    best = run.best()
    assert best is not None and {"accuracy", "params_k", "macs_m"} <= set(best.metrics)
    promoted = [trial for trial in run.trials("search") if trial.parent is not None]
    assert promoted and all(trial.budget == 2 for trial in promoted)
    names = {trial.note["name"] for trial in run.trials("final-1")}
    assert {"resnet", "plain", "nasnet-a", "darts"} <= names
    spec = spec_from_file_location("found_network", run.folder / "best" / "model.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.load()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert "found_network" not in sys.modules
    recipe = json.loads((run.folder / "best" / "recipe.json").read_text())
    assert recipe["candidate"] and set(recipe["files"]) == {"model.py", "model.pt2", "model.onnx"}
    assert (run.folder / "best" / "pictures" / "architecture.svg").is_file() or "reference" in recipe["candidate"]


def test_the_recipe_says_how_this_candidate_was_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("automl_ext.artefact.program.lacking", lambda: ["onnx"])
    env = build(space="training", space_options={"tune": ["rate", "batch"]})
    candidate = env.space.build(lambda walk: walk.decision.grid(3)[-1])
    (tmp_path / "trained").mkdir()
    job = Job(0, candidate, 1, folder=str(tmp_path / "trained"))
    env.evaluate(job, never_stop)
    env.export(Job(0, candidate, 1, parent=job.folder), tmp_path)
    training, recipe = json.loads((tmp_path / "recipe.json").read_text())["training"], env.training.recipe_of(job)
    assert (training["rate"], training["batch"], training["epochs"]) == (recipe.rate, recipe.batch, 1)
    assert training["rate"] != env.training.recipe.rate and training["momentum"] == 0.9


def test_an_untrained_network_is_not_exported(env, candidate, tmp_path):
    with pytest.raises(ExportError, match="left no trained network"):
        env.export(Job(0, candidate), tmp_path)


@pytest.mark.slow
def test_latency_from_the_table_keeps_the_contract(monkeypatch):
    monkeypatch.setattr("automl_ext.artefact.program.lacking", lambda: ["onnx"])
    goals = {"accuracy": "max", "latency_ms": "min"}
    blocks = {"blocks": [[2, 1, 2]], "divisor": 1}
    options = {"space": "mobile", "space_options": blocks, "objectives": goals, "latency": "table"}
    check_target(build(**options), samples=1)


@pytest.mark.slow
def test_a_predictor_learns_beside_a_table_of_latencies(tmp_path):
    goals = {"accuracy": "max", "latency_ms": "min"}
    blocks = {"blocks": [[2, 1, 2]], "divisor": 1}
    env = build(space="mobile", space_options=blocks, objectives=goals, latency="table", estimator="predictor",
                predictor_samples=10)  # fmt: skip
    env.prepare(tmp_path)
    job = Job(0, env.space.sample(np.random.default_rng(3)), stage="search", shared=str(tmp_path))
    assert env.evaluate(job, never_stop)["latency_ms"] > 0
