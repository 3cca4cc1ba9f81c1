"""The search target: its contract under every estimator, the same results anywhere, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from automl_ext.tasks.augmentation.density import Folds
from automl_ext.tasks.augmentation.env import AugmentationEnv

from automl_ext import Run, make, search
from automl_ext.env import Job, never_stop
from automl_ext.journal import digest
from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.searcher import stream
from automl_ext.testing import check_target, simulate

SMALL = {"images": 60, "val_images": 60, "width": 0.25, "epochs": 2, "folds": 2, "draws": 1, "shift": 1, "segments": 2}
ID = "automl_ext/Augmentation-v0"


def small(**options):
    return make(ID, **{**SMALL, **options}).unwrapped


def job(env, candidate, folder, **fields):
    folder.mkdir(exist_ok=True)
    return Job(0, candidate, folder=str(folder), **{"seed": 3, **fields})


@pytest.mark.slow
@pytest.mark.parametrize(("space", "estimator"), [("autoaugment", "density"), ("schedule", "schedule")])
def test_it_keeps_the_contract_of_a_target(space, estimator):
    check_target(small(space=space, estimator=estimator, combine=2), samples=2)


def test_what_stands_beside_it():
    env = small()
    published = ["cutout", "autoaugment-cifar", "randaugment", "trivialaugment"]
    assert list(env.references) == ["none", "crop", "small-geometry", *published]
    assert "Color is left out: it changes colours only, and these images are grey" in env.notes
    assert not env.pipeline({"reference": "none"}).base and env.pipeline({"reference": "crop"}).base
    (published,) = env.pipeline({"reference": "autoaugment-cifar"}).schedule
    assert len(published.subpolicies) == 25 and "Color" not in published.operations


def test_references_never_draw_what_does_nothing_whatever_the_space_may_choose_from():
    env = small(operations=["Rotate"])
    (policy,) = env.pipeline({"reference": "trivialaugment"}).schedule
    assert {"Color", "Equalize"}.isdisjoint(policy.operations) and "Solarize" in policy.operations
    assert env.left_out == {}


def stored(file, channels=3, masks=None, same=False):
    """An npz data set of 40 images of 8x8; masks: the highest class."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 8, 8, 1 if same else channels), dtype=np.uint8)
    image = np.repeat(image, channels, 3) if same else image
    label = np.arange(40) % 2 if masks is None else rng.integers(0, masks + 1, (40, 8, 8))
    kind = "label" if masks is None else "mask"
    np.savez(file, **{f"{part}_{key}": value for part in ("train", "test") for key, value in
                      (("image", image), (kind, label))})  # fmt: skip
    return f"npz:{file}"


@pytest.mark.slow
def test_a_policy_is_searched_for_masks_that_move_along(tmp_path):
    options = {"dataset": "digits-scenes", "network": "resnet8-pixels", "images": 40, "val_images": 20, "epochs": 3}
    env = small(**options)
    found = env.evaluate(job(env, {"reference": "small-geometry"}, tmp_path / "a"), never_stop)
    assert 0.5 < found["accuracy"] <= 1
    with pytest.raises(ValueError, match=r"'resnet8' gives \(2, 11\) for 2 images, and \(2, 11, 64, 64\) is needed"):
        small(**options | {"network": "resnet8"})


def test_channels_that_are_alike_are_grey(tmp_path):
    options = {"images": 20, "val_images": 8, "space": "trivialaugment"}
    assert "Color" in small(dataset=stored(tmp_path / "same.npz", same=True), **options).left_out
    assert "Color" not in small(dataset=stored(tmp_path / "colour.npz"), **options).left_out


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ({"channels": 2}, {}, "dataset: policies are for images of 1 or 3 channels, these have 2"),
        ({"channels": 4}, {}, "dataset: policies are for images of 1 or 3 channels, these have 4"),
        ({"masks": 300}, {}, "dataset: policies move masks of at most 256 classes, these have 301"),
        ({"masks": 1}, {"fill_mask": 2}, "fill_mask: a class from 0 to 1 is needed, not 2"),
        ({}, {"cutout": 0.1}, "cutout: 0.1 of 8 pixels is less than one"),
        ({}, {"dataset": "digits", "images": 3}, "images: 3 of 1077 train images are too few"),
    ],
)
def test_images_that_policies_cannot_change_are_refused(tmp_path, monkeypatch, data, options, said):
    monkeypatch.setattr("automl_ext.tasks.augmentation.child.check_fit", lambda *_: None)
    with pytest.raises(ValueError, match=said):
        AugmentationEnv(**{"dataset": stored(tmp_path / "data.npz", **data), **options})


def test_a_policy_in_words_says_what_an_image_may_get_and_how_often():
    env = small()
    assert env.describe({"reference": "none"}) == ""
    assert env.describe({"reference": "small-geometry"}).splitlines()[0] == "33 %: Rotate 15"
    (policy,) = env.pipeline({"reference": "autoaugment-cifar"}).schedule
    first = policy.subpolicies[0][0]
    assert first.operation in env.describe({"reference": "autoaugment-cifar"}).splitlines()[0]


def test_cutout_comes_behind_every_policy():
    env = small(cutout=0.5)
    (policy,) = env.pipeline(env.space.sample(np.random.default_rng(0))).schedule
    assert policy.stages[-1].choices[0][0].operation == "Cutout" and len(policy.stages) == 2


@pytest.mark.slow
def test_density_is_deterministic_and_sees_what_harms(tmp_path):
    env = small(space="autoaugment", estimator="density", epochs=12, images=200, width=0.5, draws=2)
    shared = tmp_path / "shared"
    shared.mkdir()
    env.prepare(shared)
    harm = {slot.path: slot.decisions[0].first for slot in env.space.slots}
    harm |= {
        path: {"operation": "Invert", "probability": 10 * (path[2] == "1"), "magnitude": 0}[path[4:]] for path in harm
    }
    mild = harm | {path: "Rotate" for path in harm if path.endswith("operation")}
    scores = {
        name: [env.evaluate(job(env, c, tmp_path / name, shared=str(shared)), never_stop) for _ in range(2)]
        for name, c in {"none": {"reference": "none"}, "mild": mild, "harm": harm}.items()
    }
    assert all(first == second for first, second in scores.values())
    assert scores["none"][0] == scores["mild"][0]  # rotated by nothing
    assert scores["harm"][0]["loss"] > scores["none"][0]["loss"] + 0.1
    assert scores["harm"][0]["accuracy"] < scores["none"][0]["accuracy"]


def test_held_out_images_are_none_of_those_seen():
    env = small(images=200, estimator="density")
    for seen, held in Folds(3, 0.4, 1).parts(env.data.train, 0):
        assert len(seen) + len(held) == len(env.data.train) and abs(len(held) - 80) <= 5
        marked = torch.cat([seen.image, held.image]).flatten(1).unique(dim=0)
        assert len(marked) == len(env.data.train.image.flatten(1).unique(dim=0))


@pytest.mark.slow
def test_a_schedule_goes_on_from_its_parent_and_others_begin_anew(tmp_path):
    env = small(space="schedule", estimator="schedule", epochs=4)
    genes = env.variation.sample(np.random.default_rng(1))
    candidate = env.space.from_genes(genes)
    env.evaluate(job(env, candidate, tmp_path / "a", budget=2), never_stop)
    parent = str(tmp_path / "a")
    other = env.space.from_genes(env.variation.explore(genes, 2, np.random.default_rng(2)))
    seen = {}
    for name, each in {"same": candidate, "explored": other, "anew": candidate}.items():
        curve = []
        given = {"parent": None if name == "anew" else parent, "budget": 4, "stopping": {"name": "median"}}
        env.evaluate(job(env, each, tmp_path / name, **given), lambda step, value, c=curve: c.append(step) and False)
        seen[name] = curve
    assert seen == {"same": [3, 4], "explored": [3, 4], "anew": [1, 2, 3, 4]}


@pytest.mark.slow
def test_a_whole_search_is_the_same_with_two_workers_and_shows_the_combined_policy(tmp_path):
    def played(workers):
        executor = {"name": "process", "workers": workers} if workers else "serial"
        run = Run.create(
            env={"id": ID, **SMALL, "estimator": "density", "combine": 3}, searcher="random", trials=6, seeds="common",
            final=[{"top": 1, "budget": 2}], executor=executor, out=tmp_path / str(workers),
        )  # fmt: skip
        search(run)
        trials, notes = list(run.trials()), (run.folder / "run.log").read_text()
        names = {trial.note["name"] for trial in run.trials("final-1")}
        policy = json.loads((run.folder / "best" / "policy.json").read_text())
        run.close()
        return digest(trials), notes, names, policy

    (one, notes, names, policy), (two, *_) = played(0), played(2)
    assert one == two and "Color is left out" in notes and policy
    assert names >= {"best-3-combined", "none", "crop", "trivialaugment"} and len(names) == 9


PUBLISHED = {
    "autoaugment": ("retrain", "ppo"),
    "fast": ("density", {"name": "optuna", "sampler": "tpe"}),
    "schedule": ("schedule", {"name": "population-based", "population": 2, "interval": 1, "max_budget": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("space", PUBLISHED)
def test_published_systems_play_to_their_end(space, tmp_path):
    estimator, searcher = PUBLISHED[space]
    if "optuna" in str(searcher):
        pytest.importorskip("optuna")
    with Run.create(
        env={"id": ID, **SMALL, "space": space, "estimator": estimator}, searcher=searcher, trials=5, parallel=3,
        executor="serial", final=[{"top": 1, "budget": 1}], out=tmp_path,
    ) as run:  # fmt: skip
        search(run)
        assert all(trial.error is None for trial in run.trials())
        assert len(list(run.trials("search"))) == 5 and (run.folder / "best" / "policy.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_finds_its_way_in_the_space(name):
    space = "schedule" if "choice" not in SEARCHERS[name].treats else "autoaugment"
    small_ones = {
        "nao": {"first": 5, "new": 3, "best": 2, "hidden": 4, "updates": 1},
        "progressive": {"beam": 2, "first": 3, "expansions": 4, "bins": 3, "members": 1, "hidden": 4, "steps": 1},
        "predictor": {"start": 4}, "ddpg": {"warmup": 3}, "hyperband": {"max_budget": 4.0},
    }  # fmt: skip
    operations = ["Rotate", "Invert"]
    env = small(space=space, segments=1, operations=operations)
    searcher = searcher_class(name)(env.target, stream(0, "build"), **small_ones.get(name, {}))
    told = simulate(searcher, lambda c: {"accuracy": float(env.features(c)[4])}, 6, parallel=2)
    assert len(told) == 6
    for trial in told:
        assert set(env.pipeline(trial.candidate).schedule[0].operations) <= set(operations)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "resnet9"}, "network: one of resnet8"),
        ({"network": "math:gcd"}, "no torch.nn.Module"),
        ({"images": 10**6}, "train images, not 1000000"),
        ({"operations": ["Rotate", "Blur"]}, "not 'Blur'"),
        ({"operations": ["Color"]}, "nothing is left of Color"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"estimator": "density", "images": 10, "held_out": 0.01}, "too few to split off"),
        ({"epochs": 0}, "epochs"),
        ({"space": "fast-aa"}, "space"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(options, said):
    with pytest.raises(ValueError, match=said) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_no_searched_operation_needs_albumentations():
    code = "import sys, automl_ext.tasks.augmentation.env; print('albumentations' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "False"


def test_an_env_of_its_own_network_and_masks(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    arrays = {f"{part}_{what}": value for part in ("train", "val", "test")
              for what, value in {"image": image, "mask": (image[..., 0] > 128).astype(np.uint8)}.items()}  # fmt: skip
    np.savez(tmp_path / "masks.npz", **arrays)
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\ndef dense(channels, classes): return nn.Conv2d(channels, classes, 3, padding=1)\n"
        "def flat(channels, classes): return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = {"dataset": f"npz:{tmp_path / 'masks.npz'}", "images": None, "operations": ["ShearX"]}
    env = small(network="own_network:dense", **given)
    found = env.evaluate(job(env, env.space.sample(rng), tmp_path / "job", budget=1), never_stop)
    assert 0 <= found["accuracy"] <= 1
    with pytest.raises(ValueError, match=r"gives \(2, 10\)|is needed"):
        AugmentationEnv(**{**SMALL, **given}, network="resnet8")


def test_a_search_trains_on_fewer_images_and_final_stages_on_all(monkeypatch):
    env, seen = small(search_images=30), []
    monkeypatch.setattr(
        "automl_ext.tasks.augmentation.env.train", lambda network, split, *rest, **more: seen.append(split)
    )
    for stage in ("search", "final-1", "test"):
        with pytest.raises(AttributeError):  # nothing was trained
            env._trained(env.pipeline({"reference": "none"}), Job(0, {}, stage=stage), never_stop)
    assert [len(split) for split in seen] == [30, 60, 60]
    counts = np.bincount(seen[0].label.numpy(), minlength=10)
    assert counts.sum() == 30 and counts.min() == counts.max() == 3
    assert len(small().searched) == len(small(search_images=60).searched) == 60


def test_search_images_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"search_images: a child sees 60 images, not 61"):
        small(search_images=61)
    with pytest.raises(ValueError, match=r"search_images: density trains no child in the search"):
        small(search_images=30, estimator="density")
