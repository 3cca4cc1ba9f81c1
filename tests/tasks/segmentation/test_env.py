"""The search target: the cache beside a frozen backbone, final stages, exports, and what it refuses.

Its contract: tests/test_testing.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from automl_ext.tasks.segmentation import prepared, stored
from automl_ext.tasks.segmentation.fit import Recipe, fit
from safetensors.torch import load_file, save_file
from torch import nn

from automl_ext import Run, search
from automl_ext.data import normalise
from automl_ext.env import Job, never_stop
from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.searcher import stream
from automl_ext.testing import simulate

ID = "automl_ext/Segmentation-v0"


IMAGES = torch.randn((5, 1, 64, 64), generator=torch.Generator().manual_seed(2))
_PROGRAM = """
import sys
sys.modules["automl_ext"] = None
import onnxruntime, torch
from safetensors.torch import load_file, save_file
from model import load
images = load_file("images.safetensors")["images"]
program = torch.export.load("model.pt2").module()
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
with torch.no_grad():
    found = {"source": load()(images), "program": program(images)}
found["onnx"] = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
save_file({name: value.contiguous() for name, value in found.items()}, "found.safetensors")
"""


def elsewhere(folder, images):
    """What the exported files make of images where this package is not, by kind."""
    save_file({"images": images}, folder / "images.safetensors")
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "found.safetensors")


def job(candidate, folder, shared, **fields):
    folder.mkdir(exist_ok=True)
    return Job(0, dict(candidate), **{"seed": 3, "folder": str(folder), "shared": str(shared), **fields})


def test_a_head_on_cached_maps_learns_what_it_learns_behind_a_frozen_backbone(env, shared):
    data = env.data
    cached = prepared.load(shared, env.shape, torch.device("cpu"))
    candidate = env.space.sample(np.random.default_rng(0))
    recipe = Recipe(epochs=2, batch=8)

    def network():
        made = env._fresh(env.cell(candidate), 5)
        made.backbone.load_state_dict(cached.backbone.state_dict())
        return made

    one, other = network().head, network()
    other.backbone.requires_grad_(False)
    curve = fit(one, cached.train.batches(data.train.label), 16, recipe, seed=1)

    def images(places, rng):
        return (normalise(data.train.image[places], data.mean, data.std),), data.train.label[places]

    frozen = fit(other, images, 16, recipe, seed=1, modes=lambda network: network.backbone.eval())
    assert curve.losses == pytest.approx(frozen.losses, rel=1e-5) and curve.losses[1] < curve.losses[0]
    for name, value in one.state_dict().items():
        assert torch.allclose(value, other.head.state_dict()[name], atol=1e-5), name


def test_final_stages_train_the_backbone_too_and_test_takes_their_weights(env, shared, tmp_path):
    candidate = env.references["aspp"]
    assert candidate in env.space and env.references["plain"] == {"reference": "plain"}
    cached = prepared.load(shared, env.shape, torch.device("cpu"))
    backbones = {}
    for stage in ("search", "final-1"):
        own = job(candidate, tmp_path / stage, shared, stage=stage)
        found = env.evaluate(own, never_stop)
        network = env.trained(job(candidate, tmp_path / "none", shared, parent=str(tmp_path / stage)))
        again = prepared.score_network(network, env.data.val, env.data, env.classes, env.device)
        assert {name: found[name] for name in again.metrics()} == pytest.approx(again.metrics())
        backbones[stage] = network.backbone.state_dict()
    same = {s: torch.equal(b["parts.0.0.weight"], cached.backbone.state_dict()["parts.0.0.weight"])
            for s, b in backbones.items()}  # fmt: skip
    assert same == {"search": True, "final-1": False}
    tested = env.test(job(candidate, tmp_path / "test", shared, parent=str(tmp_path / "final-1")), never_stop)
    assert set(tested) == {"test_miou", "test_dice", "test_pixel_accuracy"}
    assert set(json.loads((tmp_path / "test" / "test.json").read_text())) <= set(env.masked.names)


def test_costs_and_a_budget_and_a_curve(env, shared, tmp_path):
    seen = []
    given = job(env.references["dpc"], tmp_path / "a", shared, budget=3, stopping={"rule": "median"})
    found = env.evaluate(given, lambda step, value: seen.append((step, value)) or step == 2)
    assert [step for step, _ in seen] == [1, 2] and found["miou"] == seen[-1][1]
    plain = env.evaluate(job(env.references["plain"], tmp_path / "b", shared), never_stop)
    assert found["cell_macs_m"] > plain["cell_macs_m"] and found["macs_m"] > plain["macs_m"] > found["cell_macs_m"]


@pytest.mark.parametrize(("stage", "budget"), [("search", None), ("final-1", 1)])
def test_a_network_whose_weights_are_gone_is_trained_again_as_it_was(env, shared, tmp_path, stage, budget):
    given = {"stage": stage, "budget": budget}
    found = env.evaluate(job(env.references["dpc"], tmp_path / "gone", shared, **given), never_stop)
    (tmp_path / "gone" / "network.safetensors").unlink()
    again = env.trained(job(env.references["dpc"], tmp_path / "a", shared, parent=str(tmp_path / "gone"), **given))
    scores = prepared.score_network(again, env.data.val, env.data, env.classes, env.device)
    assert {name: found[name] for name in scores.metrics()} == pytest.approx(scores.metrics())


def test_latency_is_measured_where_it_is_an_objective(small, shared, tmp_path):
    traded = small(objectives={"miou": "max", "latency_ms": "min"}, latency_repeats=2)
    assert [objective.measured for objective in traded.objectives] == [False, True]
    found = traded.evaluate(job(traded.references["dpc"], tmp_path / "a", shared), never_stop)
    assert found["latency_ms"] > 0 <= found["latency_iqr_ms"] and {*traded.measured} == {"latency_iqr_ms"}
    plain = small().evaluate(job(traded.references["dpc"], tmp_path / "b", shared), never_stop)
    assert {name: value for name, value in found.items() if "latency" not in name} == plain


def test_a_budget_below_one_epoch_is_one(env, shared, tmp_path):
    candidate = env.references["plain"]
    less, one = (env.evaluate(job(candidate, tmp_path / str(budget), shared, budget=budget), never_stop)
                 for budget in (0.4, 1.0))  # fmt: skip
    assert less == one


def test_pictures_stand_beside_aspp_of_the_same_stage(env, shared, tmp_path):
    for name in ("dpc", "aspp"):
        env.evaluate(job(env.references[name], tmp_path / name, shared), never_stop)
    parent = str(tmp_path / "dpc")
    assert stored.alike(parent, dict(env.references["aspp"])) == str(tmp_path / "aspp")
    assert stored.alike(parent, {"reference": "plain"}) is None
    (tmp_path / "pictures").mkdir()
    env.depict(job(env.references["dpc"], tmp_path / "none", shared, parent=parent), tmp_path / "pictures")
    texts = {}
    for file in (tmp_path / "pictures").iterdir():
        root = ElementTree.fromstring(file.read_text())  # noqa: S314
        assert not [each for each in root.iter() if each.get("href", "data:").partition(":")[0] != "data"]
        texts[file.stem] = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(texts) == {"cell", "fields", "predictions", "classes"}
    assert {"image", "truth", "found", "aspp", "background"} <= {*texts["predictions"]}
    assert "aspp IoU" in texts["classes"] and "1x1 to 8 ch" in texts["cell"]


@pytest.mark.slow
def test_a_whole_search_by_two_workers_and_the_same_trials_here(env, options, tmp_path):
    run = Run.create(
        env={"id": ID, **options}, searcher="perturbed", trials=3, final=[{"top": 1, "budget": 1}],
        executor={"name": "process", "workers": 2}, out=tmp_path,
    )  # fmt: skip
    with run:
        search(run)
        trials = [*run.trials()]
        assert not [trial.error for trial in trials if trial.error]
        names = {trial.note["name"] for trial in run.trials("final-1")}
        assert names >= {"plain", "aspp", "aspp-dense", "pyramid-pooling", "dpc"} and len([*run.trials("test")]) == 6
        for trial in [trials[0], next(iter(run.trials("final-1")))]:
            given = {"seed": trial.seed, "stage": trial.stage, "budget": trial.budget}
            here = env.evaluate(job(trial.candidate, tmp_path / str(trial.number), run.shared, **given), never_stop)
            assert here == trial.metrics
        best, final = run.best(), run.folder / "best"
        parent = str(run.trial_folder(best.number))
        network = env.trained(job(best.candidate, tmp_path / "none", run.shared, parent=parent))
    files = {path.name for path in final.rglob("*.*")}
    assert files >= {"recipe.json", "cell.svg", "fields.svg", "predictions.svg", "classes.svg"}
    for name, logits in elsewhere(final, IMAGES).items():
        with torch.no_grad():
            assert torch.allclose(logits, network(IMAGES), atol=1e-5), name


@pytest.mark.parametrize("name", [name for name in SEARCHERS if name != "ddpg"])
def test_every_searcher_finds_its_way_in_the_space(env, name):
    small_ones = {
        "nao": {"first": 5, "new": 3, "best": 2, "hidden": 4, "updates": 1},
        "progressive": {"beam": 2, "first": 3, "expansions": 4, "bins": 3, "members": 1, "hidden": 4, "steps": 1},
        "predictor": {"start": 4}, "hyperband": {"max_budget": 4.0}, "population-based": {"max_budget": 4.0},
    }  # fmt: skip
    searcher = searcher_class(name)(env.target, stream(0, "build"), **small_ones.get(name, {}))
    told = simulate(searcher, lambda c: {"miou": float(env.features(c)[0])}, 6, parallel=2)
    assert len(told) == 6 and all(trial.candidate in env.space for trial in told)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset": "digits"}, "'digits' has labels, no masks"),
        ({"dataset": "digits-scene"}, "did you mean digits-scenes"),
        ({"dataset": "folder:/no/such"}, "needs the folders train"),
        ({"images": 10**6}, "images: train has 600, not 1000000"),
        ({"rates": [1, 9]}, "rates: growing whole numbers from 1 to 7 for features of 8 x 8"),
        ({"grids": [2, 1]}, "grids: growing whole numbers"),
        ({"class_weights": [1.0]}, "class_weights: 11 finite numbers"),
        ({"objectives": {"miou": "min"}}, "objectives: miou: min is not possible"),
        ({"objectives": {}}, "objectives is empty"),
        ({"epochs": 0}, "epochs"),
        ({"latency_repeats": 1}, "latency_repeats"),
        ({"output_stride": 5}, "output_stride"),
        ({"output_stride": 4}, "decoder: 0 or 2 with output_stride 4, not 4"),
        ({"void": 0, "classes": 11}, "no train pixel of label 11"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(small, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


def test_the_loss_that_is_not_finite_is_an_error():
    network = nn.Conv2d(1, 2, 1)
    nn.init.constant_(network.weight, torch.inf)
    batches = partial(_batch, torch.ones(4, 1, 2, 2))
    with pytest.raises(FloatingPointError, match="epoch 1"):
        fit(network, batches, 4, Recipe(epochs=2), seed=0)


def _batch(images, places, rng):
    return (images[places],), torch.zeros(len(places), 2, 2, dtype=torch.int64)
