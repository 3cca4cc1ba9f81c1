"""The configuration of street scenes on a file made here: eleven classes and void, images that are not square."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from automl_ext.tasks.segmentation.fit import Recipe, fit
from automl_ext.tasks.segmentation.scores import VOID

from automl_ext import make
from automl_ext.config import load
from automl_ext.data import normalise
from automl_ext.env import Job, never_stop

FILE = Path(__file__).parents[3] / "configs" / "segmentation" / "camvid.yaml"
CLASSES, SIZE = 11, (24, 32)


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    """The configuration's own, but for the file and the epochs."""
    rng, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 20), ("val", 6)):
        mask = rng.integers(0, CLASSES + 1, (count, *(side // 4 for side in SIZE)), np.uint8)
        arrays[f"{part}_mask"] = mask = mask.repeat(4, 1).repeat(4, 2)
        image = mask[..., None] * np.array([20, 15, 10], np.uint8) + rng.integers(0, 20, (*mask.shape, 3), np.uint8)
        arrays[f"{part}_image"] = image.astype(np.uint8)
    file = tmp_path_factory.mktemp("data") / "camvid.npz"
    np.savez(file, **arrays)
    given = load(FILE).env
    return make(given.id, **{**given.options, "dataset": f"npz:{file}", "epochs": 2, "backbone_epochs": 2}).unwrapped


@pytest.fixture(scope="module")
def trained(env, tmp_path_factory):
    """The job of a cell that was trained on cached features, and its metrics."""
    shared, folder = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("trial")
    env.prepare(shared)
    candidate = env.space.sample(np.random.default_rng(1))
    found = env.evaluate(Job(0, candidate, None, 3, "search", str(folder), shared=str(shared)), never_stop)
    return Job(1, candidate, None, 3, "test", str(folder), str(folder), str(shared)), found


def by_hand(said, truth):
    """IoU and Dice of each class from sets of pixels, those of void left out."""
    pixels = [place for place, label in enumerate(truth) if label != VOID]
    made = {}
    for number in range(CLASSES):
        own = {place for place in pixels if said[place] == number}
        its = {place for place in pixels if truth[place] == number}
        made[number] = (len(own & its) / len(own | its), 2 * len(own & its) / (len(own) + len(its)))
    return made


def predicted(env, job, split):
    data = env.data
    with torch.no_grad():
        return env.trained(job)(normalise(split.image, data.mean, data.std)).argmax(1).flatten().tolist()


def test_the_last_label_is_void_and_all_others_are_classes(env):
    assert env.classes == CLASSES and env.masked.names[0] == "sky" and env.masked.names[-1] == "bicyclist"
    assert env.shape.image == (3, *SIZE) and env.shape.map == (3, 4)
    for split, count in ((env.data.train, 16), (env.data.val, 4), (env.data.test, 6)):
        assert len(split) == count and split.label.unique().tolist() == [*range(CLASSES), VOID]


def test_weights_of_classes_come_from_pixels_with_a_meaning(env):
    label = env.data.train.label.flatten().tolist()
    counts = [label.count(number) for number in range(CLASSES)]
    wanted = [min(10, (sorted(counts)[CLASSES // 2] / count) ** 0.5) for count in counts]
    assert env.weights.tolist() == pytest.approx(wanted)


def test_scores_are_those_of_sets_of_pixels_without_void(env, trained):
    job, found = trained
    said, truth = predicted(env, job, env.data.val), env.data.val.label.flatten().tolist()
    wanted = by_hand(said, truth)
    known = [own == its for own, its in zip(said, truth, strict=True) if its != VOID]
    assert found["miou"] == pytest.approx(np.mean([iou for iou, _ in wanted.values()]), abs=1e-9)
    assert found["dice"] == pytest.approx(np.mean([dice for _, dice in wanted.values()]), abs=1e-9)
    assert found["pixel_accuracy"] == pytest.approx(np.mean(known)) and len(known) < len(truth)
    table = json.loads((Path(job.parent) / "trial.json").read_text())["classes"]
    assert [*table] == [*env.masked.names]
    for number, name in enumerate(env.masked.names):
        assert (table[name]["iou"], table[name]["dice"]) == pytest.approx(wanted[number])


def test_the_test_part_is_the_files_second_one(env, trained):
    job, _ = trained
    tested = env.test(job, never_stop)
    wanted = by_hand(predicted(env, job, env.data.test), env.data.test.label.flatten().tolist())
    assert tested["test_miou"] == pytest.approx(np.mean([iou for iou, _ in wanted.values()]), abs=1e-9)
    assert [*json.loads((Path(job.folder) / "test.json").read_text())] == [*env.masked.names]


def test_the_loss_leaves_void_out(env, trained):
    """Of one pass at a rate of 0, beside a sum over pixels."""
    job, _ = trained
    network, data = env.trained(job), env.data
    before = [value.clone() for value in network.state_dict().values()]

    def batch(places, rng):
        return (normalise(data.train.image[places], data.mean, data.std),), data.train.label[places]

    recipe = Recipe(epochs=1, batch=len(data.train), rate=0.0)
    (loss,) = fit(
        network, batch, len(data.train), recipe, seed=0, weights=env.weights, modes=lambda it: it.eval()
    ).losses
    assert all(torch.equal(one, two) for one, two in zip(before, network.state_dict().values(), strict=True))
    with torch.no_grad():
        chances = network(normalise(data.train.image, data.mean, data.std)).softmax(1).numpy().astype(float)
    total = weight = 0.0
    for place, label in np.ndenumerate(data.train.label.numpy()):
        if label != VOID:
            total -= float(env.weights[label]) * np.log(chances[place[0], label, place[1], place[2]])
            weight += float(env.weights[label])
    assert loss == pytest.approx(total / weight, rel=1e-5)
