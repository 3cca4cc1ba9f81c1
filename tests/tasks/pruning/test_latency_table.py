"""The latency table: lookup, what is measured for it, and a budget that goes by it."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
import types
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning import env as environment
from automl_ext.tasks.pruning import latency_measure
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.latency_measure import measure
from automl_ext.tasks.pruning.latency_table import Grid, LatencyCost, LatencyTable, activations, load, rising, save
from automl_ext.tasks.pruning.macs import uniform
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prune import remove
from automl_ext.tasks.pruning.space import check_reachable, keep_space, options
from torch import nn

from automl_ext import Run, search
from automl_ext.driver import RunError, start
from automl_ext.journal import digest
from automl_ext.latency import latency


class Mixed(nn.Module):
    """A convolution that reads what it writes, a depthwise one, a concatenation, a flatten, a linear layer cut."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.depth = nn.Conv2d(4, 4, 3, 2, padding=1, groups=4)
        self.side = nn.Conv2d(4, 3, 1)
        self.norm = nn.BatchNorm2d(7)
        self.linear = nn.Linear(7 * 4, 5)
        self.last = nn.Linear(5, 10)

    def forward(self, x):
        x = self.one(x)
        x = self.depth(x + self.two(x))
        x = self.norm(torch.cat([x, self.side(x)], dim=1)).relu()
        return self.last(self.linear(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)).relu())


@pytest.fixture(scope="module")
def mixed():
    network, example = Mixed().eval(), torch.zeros(1, 1, 8, 8)
    return network, example, inspect(network, example)


def by_counting(module, example, batch, *_):
    """In place of a clock: a nanosecond a weight that each place reads, 10 a number that a norm or activation makes."""
    spent = []

    def note(layer, inputs, output):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            spent.append(layer.weight.numel() * output.numel() // layer.weight.shape[0])
        elif not list(layer.children()):
            spent.append(10 * output.numel())

    hooks = [layer.register_forward_hook(note) for layer in module.modules()]
    with torch.inference_mode():
        module(example)
    for hook in hooks:
        hook.remove()
    return {"latency_ms": batch * sum(spent) / 1e6}


@pytest.fixture
def counted(monkeypatch):
    """Tables are the same on every machine."""
    monkeypatch.setattr(latency_measure, "latency", by_counting)


def policies(plan):
    names = [group.name for group in plan.groups]
    for counts in product(*(range(1, group.channels + 1) for group in plan.groups)):
        yield dict(zip(names, counts, strict=True))


def test_lookup_is_exact_at_the_points_and_linear_between():
    grid = Grid((1, 5), (2, 4, 12), ((10, 30, 70), (110, 130, 1070)))
    assert [[grid.at(i, o) for o in grid.outputs] for i in grid.inputs] == [list(row) for row in grid.ns]
    assert grid.at(1, 3) == 20 and grid.at(3, 2) == 60
    assert grid.at(2, 8) == 187  # a quarter of the way from (30 + 70) / 2 to (130 + 1070) / 2, rounded down
    assert grid.at(0, 0) == 10 and grid.at(9, 99) == 1070
    assert Grid((1,), (3,), ((7,),)).at(1, 5) == 7


def test_lookup_never_falls_however_noisy_the_measurement():
    noisy = np.random.default_rng(0).uniform(0, 1e4, (4, 5)) - 100
    assert (np.diff(noisy) < 0).any()
    grid = Grid((1, 4, 5, 17), (1, 2, 9, 30, 31), rising(noisy))
    values = np.array([[grid.at(i, o) for o in range(1, 32)] for i in range(1, 18)])
    assert (np.diff(values, axis=0) >= 0).all() and (np.diff(values, axis=1) >= 0).all() and values.min() >= 0
    assert values.max() == round(noisy.max())


@pytest.mark.slow
def test_a_table_rises_with_every_count_and_survives_json(mixed, counted, tmp_path):
    network, example, plan = mixed
    table = measure(network, plan, example, 1)
    costs = {tuple(counts.values()): table.ns(plan, counts) for counts in policies(plan)}
    for counts, cost in costs.items():
        for place, count in enumerate(counts):
            fewer = (*counts[:place], count - 1, *counts[place + 1 :])
            assert count == 1 or costs[fewer] <= cost
    assert len(set(costs.values())) > 0.5 * len(costs)
    save(table, tmp_path)
    assert load(tmp_path) == table
    facts = json.loads((tmp_path / "latency.json").read_text())["facts"]
    assert (facts["batch"], facts["threads"], facts["torch"]) == (1, 1, torch.__version__)
    with pytest.raises(PruningError, match="prepared without a latency table"):
        load(tmp_path / "nowhere")


@pytest.mark.slow
def test_layers_and_the_rest_are_what_was_measured(mixed, counted):
    """each layer at its grid points; what is left is norms and activations, so that evenly pruned networks come out"""
    network, example, plan = mixed
    table = measure(network, plan, example, 3)
    assert table.layers["two"].inputs == table.layers["two"].outputs == (1, 3, 4)
    assert measure(network, plan, example, 3, step=2).layers["two"].inputs == (1, 2, 4)
    assert table.layers["depth"].inputs == (1,) and table.layers["linear"].inputs[0] == 2 * 4
    assert table.layers["one"].inputs == (1,) and table.layers["last"].outputs == (10,)
    for counts in policies(plan):
        smaller = dict(remove(network, example, {n: range(c) for n, c in counts.items()}).named_modules())
        weights = {layer.name: smaller[layer.name].weight.numel() * layer.places for layer in plan.layers}
        for layer in plan.layers:
            grid = table.layers[layer.name]
            inputs, outputs = latency_measure.kept(layer, counts)
            if inputs in grid.inputs and outputs in grid.outputs:
                assert grid.at(inputs, outputs) == 3 * weights[layer.name]
        if sum(counts.values()) > 6:
            break
    whole = 1e6 * by_counting(network, example, 3)["latency_ms"]
    assert table.ns(plan, {}) == pytest.approx(whole, abs=2) == 1e6 * table.facts["dense_ms"]
    least = {group.name: 1 for group in plan.groups}
    smallest = remove(network, example, {name: range(1) for name in least})
    assert table.ns(plan, least) == pytest.approx(1e6 * by_counting(smallest, example, 3)["latency_ms"], abs=2)
    assert activations(plan, least) == table.rest.outputs[0] and activations(plan, {}) == table.rest.outputs[-1]


def test_before_the_table_nothing_binds_and_after_it_the_space_is_just_what_is_fast_enough(mixed, counted, tmp_path):
    network, example, plan = mixed
    legal, cost, rng = options(plan, 1, 1), LatencyCost(), np.random.default_rng(0)
    space = keep_space(plan, legal, 0.5, cost, "latency_kept")
    assert all(counts in space for counts in policies(plan))
    assert set(uniform(plan, legal, 0.5, cost).items()) == {(group.name, group.channels) for group in plan.groups}
    with pytest.raises(PruningError, match="no latency table"):
        cost.metrics(plan, {})
    table = measure(network, plan, example, 1)
    save(table, tmp_path)
    cost.load(tmp_path, plan)
    inside = [counts for counts in policies(plan) if table.ns(plan, counts) <= 0.5 * table.ns(plan, {})]
    assert 0 < len(inside) < len(list(policies(plan)))
    assert [counts for counts in policies(plan) if counts in space] == inside
    assert all(space.sample(rng) in inside for _ in range(50)) and uniform(plan, legal, 0.5, cost) in inside
    assert cost.metrics(plan, inside[0])["latency_table_ms"] == table.ns(plan, inside[0]) / 1e6
    minimum = cost(plan, dict.fromkeys(legal, 1))
    with pytest.raises(PruningError, match=f"^latency_kept 0.01 cannot be reached: .* {minimum:.4g} remain$"):
        check_reachable(plan, legal, 0.01, cost, "latency_kept")


def tiny():
    """Two convolutions with norms: little to train."""
    layers = [nn.Conv2d(1, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    layers += [nn.Conv2d(6, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(12, 10))


@pytest.fixture
def config(monkeypatch):
    module = types.ModuleType("tiny_networks")
    module.tiny = tiny
    monkeypatch.setitem(sys.modules, "tiny_networks", module)
    env = {"id": "automl_ext/Pruning-v0", "network": "tiny_networks:tiny", "epochs": 1, "calibration_images": 20}
    env |= {"reconstruction": "none", "reward_images": 50}

    def made(searcher="regularized-evolution", **options):
        return {"env": env | options, "searcher": searcher, "trials": 5, "executor": "serial", "parallel": 2}

    return made


@pytest.mark.slow
def test_a_search_stays_within_the_latency_and_goes_on_by_the_same_table(config, counted, tmp_path, monkeypatch):
    run = start({**config(latency_kept=0.5), "final": [{"top": 1}]}, tmp_path / "whole")
    run.close()
    trials = list(run.trials("search"))
    shares = [trial.metrics["latency_kept"] for trial in trials]
    assert max(shares) <= 0.5 < 1.5 * max(shares)
    assert {"latency_kept", "latency_table_ms"} <= set(run.manifest["measured"])
    beside = {trial.note["name"]: trial.metrics["latency_kept"] for trial in run.trials("final-1")}
    assert beside["dense"] == 1 and 0.3 < beside["uniform"] <= 0.5

    def again(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(environment, "tabulate", again)
    shutil.copytree(run.folder, tmp_path / "cut", ignore=shutil.ignore_patterns(".lock", "best"))
    lines = (run.folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut" / "trials.jsonl").write_bytes(b"".join(lines[:3]))
    with Run.resume(tmp_path / "cut") as resumed:
        search(resumed)
        measured = resumed.manifest["measured"]
        assert digest(resumed.trials(), measured) == digest(run.trials(), measured)
        assert [trial.candidate for trial in resumed.trials()] == [trial.candidate for trial in run.trials()]


@pytest.mark.slow
def test_what_is_out_of_reach_is_said_before_anything_is_trained(config, counted, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(RunError, match=r"latency_kept 0\.001 cannot be reached: .* 0\.\d+ remain") as caught:
        start(config(latency_kept=0.001), tmp_path)
    assert str(caught.value).startswith("prepare failed: PruningError: latency_kept")


@pytest.mark.slow
def test_latency_by_the_table_can_be_traded(config, counted, tmp_path):
    """free, so that nothing waits; equal policies get equal values, as measured latencies never do"""
    wanted = {"accuracy": "max", "latency_table_ms": "min"}
    run = start({**config("nsga2", objectives=wanted), "trials": 4, "cache": False}, tmp_path)
    known = {}
    for trial in run.trials("search"):
        known.setdefault(trial.metrics["latency_table_ms"], []).append(tuple(trial.candidate.values()))
        assert trial.metrics["latency_ms"] > 0
    assert run.objectives[1].measured and len(known) > 1
    assert not PruningEnv(**{k: v for k, v in config(objectives=wanted)["env"].items() if k != "id"}).waits


def chain():
    layers = []
    for inputs, outputs in pairwise((3, 32, 48, 48, 48)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10)).eval()


@pytest.mark.slow
def test_the_table_agrees_with_the_clock(tmp_path):
    """layers and the rest are near to whole networks, and half of the latency by the table is measurably faster"""
    network, example = chain(), torch.zeros(1, 3, 32, 32)
    plan = inspect(network, example)
    save(measure(network, plan, example, 1), tmp_path)
    cost = LatencyCost()
    cost.load(tmp_path, plan)
    table = cost.table
    assert isinstance(table, LatencyTable)
    own = sum(table.layers[layer.name].ns[-1][-1] for layer in plan.layers) / 1e6
    assert 0.3 * table.facts["dense_ms"] < own < 2 * table.facts["dense_ms"]
    space = keep_space(plan, options(plan, 1, 1), 0.5, cost, "latency_kept")
    counts = [space.sample(np.random.default_rng(seed)) for seed in range(3)]
    nets = [network, *(remove(network, example, {n: range(c) for n, c in each.items()}) for each in counts)]
    rounds = [[latency(net, example, 1, 3, 1, time.thread_time)["latency_ms"] for net in nets] for _ in range(5)]
    shares = [statistics.median(row[index] / row[0] for row in rounds) for index in (1, 2, 3)]
    predicted = [cost(plan, each) for each in counts]
    assert max(predicted) <= 0.5 and max(shares) < 0.85
    assert all(0.4 < share / known < 2.0 for share, known in zip(shares, predicted, strict=True))
