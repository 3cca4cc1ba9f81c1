"""Pruning in rounds: each on the weights of the last, taken over and continued."""

from __future__ import annotations

import json
import sys
import types

import pytest
import torch
from automl_ext.tasks.pruning import iterate as rounds
from automl_ext.tasks.pruning.carry import after
from automl_ext.tasks.pruning.iterate import COLUMNS, iterate, main, shown
from automl_ext.tasks.pruning.network import build
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_ext.config import Config
from automl_ext.mistakes import ConfigError
from automl_ext.run import Run, RunError


def tiny():
    layers = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def normed():
    """With norms, which take biases up, and without."""
    layers = [nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU()]
    layers += [nn.Conv2d(16, 16, 3, 2, 1, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


@pytest.fixture
def config(monkeypatch):
    module = types.ModuleType("tiny_rounds")
    module.tiny, module.normed = tiny, normed
    monkeypatch.setitem(sys.modules, "tiny_rounds", module)
    env = {"id": "automl_ext/WeightPruning-v0", "network": "tiny_rounds:tiny", "epochs": 1, "reward_images": 60}
    fields = {"name": "tiny", "env": env, "searcher": "random", "trials": 2, "final": [{"top": 1, "budget": 1}]}
    return Config.from_dict({**fields, "executor": "serial"})


@pytest.fixture
def channels(config):
    """The same for channels."""
    env = {"id": "automl_ext/Pruning-v0", "network": "tiny_rounds:normed", "epochs": 2, "reward_images": 60, "low": 5}
    return Config.from_dict({**config.model_dump(exclude_unset=True), "env": {**env, "calibration_images": 60}})


def weights(row):
    return {n: t for n, t in load_file(f"{row['run']}/best/model.safetensors").items() if t.dim() > 1}


@pytest.mark.slow
def test_rounds_are_nested_taken_over_and_continued(config, tmp_path, monkeypatch):
    said = []
    (first,) = iterate(config, [0.6], tmp_path, said.append)
    assert said == ["round-1-0.6-tiny: begins"]
    assert {"density", "run", "accuracy_untuned", "accuracy", "test_accuracy"} == set(first)
    journal = (tmp_path / "round-1-0.6-tiny-s0" / "trials.jsonl").read_bytes()

    def killed(run, *rest):
        run.close()
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "play", killed)
        with pytest.raises(RuntimeError, match="killed"):
            iterate(config, [0.6, 0.4], tmp_path, said.append)
    again, second = iterate(config, [0.6, 0.4], tmp_path, said.append)
    assert [line.split(": ")[1].split()[0] for line in said] == ["begins", "taken", "begins", "taken", "goes"]
    assert again == first and (tmp_path / "round-1-0.6-tiny-s0" / "trials.jsonl").read_bytes() == journal
    assert len(list(tmp_path.glob("round-*"))) == 2
    assert json.loads((tmp_path / "rounds-tiny-s0.json").read_text()) == [first, second]
    options = Run.open(second["run"]).config.env.options
    assert options["weights"] == f"{first['run']}/best/model.safetensors" and options["weights_kept"] == 0.4
    before, after = weights(first), weights(second)
    assert all(not bool(((before[name] == 0) & (after[name] != 0)).any()) for name in before)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    kept = [sum(int((t != 0).sum()) for t in each.values()) for each in (before, after)]
    assert kept[0] <= 0.6 * 1384 and kept[1] <= 0.4 * 1384
    changed = config.model_copy(update={"trials": 2, "searcher": config.searcher.model_copy(update={"name": "local"})})
    with pytest.raises(RunError, match="was made with other values of searcher"):
        iterate(changed, [0.6], tmp_path, said.append)
    with pytest.raises(RunError, match="was made with other values of trials"):
        iterate(config.model_copy(update={"trials": 3}), [0.6], tmp_path, said.append)
    stored = load_file(f"{first['run']}/best/model.safetensors")
    save_file({**stored, "0.weight": stored["0.weight"] + 1}, f"{first['run']}/best/model.safetensors")
    with pytest.raises(RunError, match=r"round-2-0\.4-tiny-s0: began with other weights"):
        iterate(config, [0.6, 0.4], tmp_path, said.append)


@pytest.mark.parametrize(
    ("densities", "options", "message"),
    [
        ([], {}, "densities: must be falling shares"),
        ([0.5, 0.5], {}, "densities: must be falling shares, .*, not 0.5, 0.5"),
        ([0.5, 0.0], {}, "densities: must be shares above 0"),
        ([0.5, 0.05], {}, "weights_kept 0.05 cannot be reached"),
        ([0.5, 0.05], {"macs_kept": 0.5}, "macs_kept 0.05 cannot be reached"),
        ([0.5], {"protocol": "accuracy-params"}, "leave weights_kept out"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_round(config, densities, options, message, tmp_path):
    env = config.env.model_copy(update={"options": {**config.env.options, **options}})
    with pytest.raises(ConfigError, match=message):
        iterate(config.model_copy(update={"env": env}), densities, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.yaml"), "--densities", "0.5"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "none.yaml" in said and said.count("\n") == 1


def test_the_table_has_a_row_a_round():
    rows = [{"density": 0.5, "accuracy": 0.9, "run": "a"}, {"density": 0.025, "accuracy": 0.5, "run": "b"}]
    lines = shown(rows).splitlines()
    assert lines[2].split()[0] == "50%" and "90.00" in lines[2] and lines[3].split()[0] == "2.50%"


def test_rounds_of_weights_go_by_the_budget_of_the_config(tmp_path):
    env, carried = "automl_ext/WeightPruning-v0", {"weights": str(tmp_path / "model.safetensors")}
    assert after(env, {"protect": ["0"]}, 0.5) == {"protect": ["0"], "weights_kept": 0.5}
    assert after(env, {"weights_kept": 0.2}, 0.5, tmp_path, tmp_path) == {"weights_kept": 0.5, **carried}
    assert after(env, {"macs_kept": 0.2}, 0.5, tmp_path, tmp_path) == {"macs_kept": 0.5, **carried}


def test_rounds_of_channels_begin_with_the_exported_network(tmp_path):
    """as many MACs may stay as the density of the first network's"""
    first, best = tmp_path / "1", tmp_path / "2"
    for folder, recipe in ((first, {"macs": 500, "macs_dense": 1000}), (best, {"macs": 400, "macs_dense": 500})):
        folder.mkdir()
        (folder / "recipe.json").write_text(json.dumps(recipe))
    options = {"network": "small", "weights": "dense.npz", "round_to": 2, "width": 0.5, "inputs": "users:both"}
    assert after("automl_ext/Pruning-v0", options, 0.5) == {**options, "macs_kept": 0.5}
    carried = after("automl_ext/Pruning-v0", options, 0.3, best, first)
    assert carried == {"network": str(best), "round_to": 2, "macs_kept": 0.3 * 1000 / 400}
    assert after("automl_ext/Pruning-v0", options, 0.45, best, first)["macs_kept"] == 1
    with pytest.raises(ConfigError, match="by their MACs only"):
        after("automl_ext/Pruning-v0", {"params_kept": 0.5}, 0.5)
    with pytest.raises(ConfigError, match=r"cannot be pruned in rounds; legal: .*, automl_ext/Weight"):
        after("automl_ext/Architecture-v0", {}, 0.5)


def counted(network):
    """Multiply-accumulates of an image of 8 x 8, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, 8, 8))
    return counter.get_total_flops() // 2


@pytest.mark.slow
def test_rounds_of_channels_are_played_on_smaller_and_smaller_networks(channels, tmp_path):
    """each begins with the network that the one before exported, within its share of the first one's MACs"""
    said = []
    rows = iterate(channels, [0.8, 0.25], tmp_path, said.append)
    names = ["round-1-0.8-tiny", "round-2-0.25-tiny"]
    assert said == [f"{name}: begins" for name in names]
    assert [row["run"] for row in rows] == [str(tmp_path / f"{name}-s0") for name in names]
    whole, runs = counted(normed()), [Run.open(row["run"]) for row in rows]
    recipes = [json.loads((run.folder / "best" / "recipe.json").read_text()) for run in runs]
    first, second = (counted(build(str(run.folder / "best"), 1, 10)) for run in runs)
    assert 0 < second <= 0.25 * whole < first <= 0.8 * whole
    assert [recipe["macs"] for recipe in recipes] == [first, second]
    assert [recipe["macs_dense"] for recipe in recipes] == [whole, first]
    assert [run.config.env.options["macs_kept"] for run in runs] == [0.8, pytest.approx(0.25 * whole / first)]
    exported = load_file(runs[0].folder / "best" / "model.safetensors")
    began = load_file(runs[1].shared / "network.safetensors")
    assert exported.keys() == began.keys() and all(torch.equal(exported[name], began[name]) for name in exported)
    kept = [recipes[0]["groups"][name]["kept"] for name in ("0", "3", "5")]
    assert [began[f"{name}.weight"].shape[0] for name in ("0", "3", "5")] == kept and sum(kept) < 40
    for run, row in zip(runs, rows, strict=True):
        searched = [trial for trial in run.trials() if trial.note.get("role") == "searched"]
        final, tested = searched
        assert (final.stage, tested.stage) == ("final-1", "test")
        assert tested.parent == final.number and final.budget == 1
        found = {**final.metrics, **tested.metrics}
        assert {name: row[name] for name in COLUMNS} == {name: found[name] for name in COLUMNS}
        assert f"{row['density']:.0%}" in shown([row]) and f"{100 * found['test_accuracy']:.2f}" in shown([row])
    journals = [(run.folder / "trials.jsonl").read_bytes() for run in runs]
    assert iterate(channels, [0.8, 0.25], tmp_path, said.append) == rows
    assert said[2:] == [f"{name}: taken over from {run.folder}" for name, run in zip(names, runs, strict=True)]
    assert journals == [(run.folder / "trials.jsonl").read_bytes() for run in runs]


def test_rounds_of_channels_that_the_first_network_cannot_reach_are_refused(channels, tmp_path):
    with pytest.raises(ConfigError, match=r"macs_kept 0\.1 cannot be reached: .* remain; low 5 holds it there"):
        iterate(channels, [0.8, 0.1], tmp_path / "out")
    assert not (tmp_path / "out").exists()
