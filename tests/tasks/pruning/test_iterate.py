"""Pruning in rounds: each on the weights of the last, taken over and continued."""

from __future__ import annotations

import json
import sys
import types

import pytest
import torch
from automl_ext.tasks.pruning import iterate as rounds
from automl_ext.tasks.pruning.carry import after
from automl_ext.tasks.pruning.iterate import iterate, main, shown
from safetensors.torch import load_file, save_file
from torch import nn

from automl_ext.config import Config
from automl_ext.mistakes import ConfigError
from automl_ext.run import Run, RunError


def tiny():
    layers = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


@pytest.fixture
def config(monkeypatch):
    module = types.ModuleType("tiny_rounds")
    module.tiny = tiny
    monkeypatch.setitem(sys.modules, "tiny_rounds", module)
    env = {"id": "automl_ext/WeightPruning-v0", "network": "tiny_rounds:tiny", "epochs": 1, "reward_images": 60}
    fields = {"name": "tiny", "env": env, "searcher": "random", "trials": 2, "final": [{"top": 1, "budget": 1}]}
    return Config.from_dict({**fields, "executor": "serial"})


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
