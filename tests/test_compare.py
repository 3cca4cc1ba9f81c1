"""Comparing runs: what belongs together, paired by seed, against numbers worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from automl_ext.compare import compare, draw, pair_table, point, table
from automl_ext.config import Config
from automl_ext.journal import encode
from automl_ext.objective import Objective
from automl_ext.report.attainment import outline
from automl_ext.run import Run
from automl_ext.searcher import Failure, Trial

ACCURACY = (Objective("accuracy"),)


def trial(number, metrics, stage="search", note=None):
    error = None if metrics else Failure("exception", "no")
    return Trial(number, stage, {"x": number}, note or {}, None, 0, None, metrics, error=error, seconds=2.0)


def search_trials(values, name="accuracy"):
    return [trial(i, None if value is None else {name: value}) for i, value in enumerate(values)]


def with_finals(values, searched, beside):
    """A search, then one final and one test trial of the searched candidate and of those {(role, name): value}."""
    trials = search_trials(values)
    for stage, prefix in (("final-1", ""), ("test", "test_")):
        for (role, name), value in {("searched", "trial-1"): searched, **beside}.items():
            note = {"role": role, "name": name, "repeat": 0}
            trials.append(trial(len(trials), {prefix + "accuracy": value - 0.1 * bool(prefix)}, stage, note))
    return trials


def make_run(folder, trials, /, seed=0, objectives=ACCURACY, outcome="finished", baselines=None, **config):
    fields = {"env": "a/B-v0", "searcher": "ddpg", "name": "amc", "seed": seed, "trials": len(trials), **config}
    run = Run.create(Config.from_dict(fields), out=folder)
    run.describe(outcome=outcome, objectives=[vars(objective) for objective in objectives])
    (run.folder / "trials.jsonl").write_bytes(b"".join(encode(trial) for trial in trials))
    for name, theirs in (baselines or {}).items():
        part = run.part(name, run.config)
        (part.folder / "trials.jsonl").write_bytes(b"".join(encode(trial) for trial in theirs))
        part.close()
    run.close()
    return Run.open(run.folder)


def test_runs_of_one_configuration_are_a_group_and_its_baselines_another(tmp_path):
    bests = [0.5, 0.7, 0.6]
    runs = [
        make_run(tmp_path, search_trials([0.1, None, best]), seed, baselines={"random": search_trials([0.2, 0.3, 0.4])},
                 executor={"name": "process", "workers": seed + 1})
        for seed, best in enumerate(bests)
    ]  # fmt: skip
    found = compare(runs)
    assert (found.metric, found.goal, found.stage) == ("accuracy", "max", "search")
    own, random = found.rows
    assert (own["group"], own["role"], own["seeds"]) == ("amc", "searched", 3)
    assert (own["median"], own["low"], own["high"]) == (0.6, 0.5, 0.7) and own["mean"] == pytest.approx(0.6)
    assert (own["evaluations"], own["seconds"], own["failures"]) == (3, 6.0, 3)
    assert 0.5 <= own["interval"][0] <= 0.6 <= own["interval"][1] <= 0.7
    assert (random["group"], random["role"], random["median"]) == ("random (baseline)", "baseline", 0.4)
    (pair,) = found.pairs
    assert (pair["pairs"], pair["wins"], pair["losses"], pair["sign"]) == (3, 3, 0, None)
    assert pair["difference"] == pytest.approx(0.2) and "too few pairs (3; it takes 5)" in pair["said"]
    assert any("Fewer than 5 pairs" in note for note in found.notes)


@pytest.mark.slow
def test_a_clear_winner_over_eight_seeds_is_significant_and_pairs_go_by_seed(tmp_path):
    good = [make_run(tmp_path, search_trials([0.5 + seed / 20]), seed) for seed in range(8)]
    poor = [
        make_run(tmp_path, search_trials([0.45 + seed / 20]), seed, searcher="random") for seed in reversed(range(9))
    ]
    found = compare([*good, *poor])
    assert [row["group"] for row in found.rows] == ["amc [ddpg]", "amc [random]"]
    (pair,) = found.pairs
    assert (pair["pairs"], pair["wins"], pair["ties"]) == (8, 8, 0)
    assert pair["sign"] == pair["sign_holm"] == pytest.approx(2 / 2**8) == pair["signed_rank_holm"]
    assert pair["said"] == "left is better (p < 0.05)"
    assert compare([*poor, *good]).pairs[0]["said"] == "right is better (p < 0.05)"


def test_holm_covers_all_pairs_that_are_tested(tmp_path):
    runs = [
        make_run(tmp_path, search_trials([0.5 + place / 10 + seed / 100]), seed, searcher=name)
        for place, name in enumerate(["random", "local", "ddpg"])
        for seed in range(6)
    ]
    found = compare(runs)
    assert len(found.pairs) == 3
    for pair in found.pairs:
        assert pair["sign"] == pytest.approx(2 / 64) and pair["sign_holm"] == pytest.approx(6 / 64)
        assert pair["said"] == "no difference shown" and pair["losses"] == 6


def test_the_test_metric_of_the_finalists_is_compared_where_all_have_it(tmp_path):
    beside = {("reference", "uniform"): 0.7, ("baseline", "random"): 0.8}
    runs = [
        make_run(
            tmp_path,
            with_finals([0.3, 0.4], 0.9, beside),
            seed,
            baselines={"random": search_trials([0.2, 0.3])},
            trials=2,
        )
        for seed in range(2)
    ]
    found = compare(runs)
    assert (found.metric, found.stage) == ("test_accuracy", "test")
    assert {row["group"]: row["median"] for row in found.rows} == {
        "amc": pytest.approx(0.8), "random (baseline)": pytest.approx(0.7), "uniform (reference)": pytest.approx(0.6),
    }  # fmt: skip
    assert [pair["right"] for pair in found.pairs] == ["random (baseline)", "uniform (reference)"]
    assert compare(runs, "accuracy").stage == "final" and compare(runs, "accuracy").rows[0]["median"] == 0.9
    short = make_run(tmp_path, search_trials([0.1, 0.45]), 2)
    mixed = compare([*runs, short])
    assert (mixed.metric, mixed.stage) == ("accuracy", "search")
    assert mixed.rows[0]["median"] == pytest.approx(0.4) and mixed.rows[0]["seeds"] == 3


def test_a_loss_is_better_where_it_is_smaller(tmp_path):
    loss = (Objective("loss", "min"),)
    own, other = search_trials([0.5, 0.2], "loss"), search_trials([0.4, 0.3], "loss")
    found = compare([make_run(tmp_path, own, objectives=loss, baselines={"random": other})])
    assert found.goal == "min" and found.rows[0]["median"] == 0.2
    assert found.pairs[0]["wins"] == 1 and found.pairs[0]["difference"] == pytest.approx(-0.1)


def test_notes_say_what_a_reader_must_know(tmp_path):
    runs = [
        make_run(tmp_path, search_trials([0.1] * 4), 0, env="a/B-v0"),
        make_run(tmp_path, search_trials([0.1] * 2), 0, env="a/C-v0", outcome="interrupted"),
        make_run(tmp_path, search_trials([0.9] * 4), 0, env="a/B-v0"),
        make_run(tmp_path, search_trials([None] * 4), 1, env="a/B-v0"),
    ]
    found = compare(runs)
    said = " ".join(found.notes)
    assert "Different environments (a/B-v0, a/C-v0)" in said
    assert "Different numbers of trials (2 to 4)" in said
    assert "Not finished: amc-s0-2" in said
    assert "has another run of seed 0; the first one counts" in said
    assert "1 run without a result" in said
    assert len({row["group"] for row in found.rows}) == 2 and found.rows[0]["median"] == 0.1


def test_errors_name_what_is_there(tmp_path):
    with pytest.raises(ValueError, match="no runs given"):
        compare([])
    with pytest.raises(ValueError, match="no run has a result"):
        compare([make_run(tmp_path, search_trials([None]))])
    run = make_run(tmp_path, search_trials([0.5]), 1)
    with pytest.raises(ValueError, match="'speed'; metrics they share: accuracy"):
        compare([run], "speed")
    with pytest.raises(ValueError, match="hypervolume needs"):
        compare([run], "hypervolume")
    other = make_run(tmp_path, search_trials([0.5], "loss"), 2, (Objective("loss", "min"),))
    with pytest.raises(ValueError, match="different objectives \\(accuracy, loss\\)"):
        compare([run, other])


def test_several_objectives_have_a_hypervolume(tmp_path):
    two = (Objective("accuracy"), Objective("macs_m", "min"), Objective("size", "min", limit=9.0))

    def cloud(*points):
        return [trial(i, {"accuracy": x, "macs_m": y, "size": y}) for i, (x, y) in enumerate(points)]

    runs = [
        make_run(
            tmp_path, cloud((1.0, 4.0), (0.0, 0.0)), seed, two, baselines={"random": cloud((1.0, 4.0), (2.0, 50.0))}
        )
        for seed in range(2)
    ]
    found = compare(runs, "hypervolume")
    both, point = (1.1 * 0.1 + 0.1 * 1.1 - 0.1 * 0.1) / 1.21, 1.1 * 0.1 / 1.21
    assert [row["median"] for row in found.rows] == pytest.approx([both, point])
    assert found.pairs[0]["wins"] == 2
    by_default = compare(runs)
    assert by_default.metric == "accuracy" and by_default.rows[0]["hypervolume"] == pytest.approx(both)
    assert table(by_default)[0][-2:] == ["hypervolume", "95 % interval of its mean"]


TRADED = (Objective("accuracy"), Objective("latency_ms", "min"))


def cloud_runs(folder, name, shift, seeds=6, objectives=TRADED, **config):
    """Runs with five points on a front each, all `shift` better in accuracy from group to group."""
    return [
        make_run(
            folder,
            [trial(i, {"accuracy": 0.5 + i / 10 + shift + seed / 1000, "latency_ms": 1.0 + i}) for i in range(5)],
            seed,
            objectives,
            name=name,
            **config,
        )
        for seed in range(seeds)
    ]


def test_groups_with_several_traded_objectives_are_also_tested_by_hypervolume(tmp_path):
    found = compare([*cloud_runs(tmp_path, "good", 0.05), *cloud_runs(tmp_path, "poor", 0.0)])
    assert found.metric == "accuracy"
    (pair,) = found.volume_pairs
    assert (pair["left"], pair["right"], pair["wins"], pair["pairs"]) == ("good", "poor", 6, 6)
    assert pair["signed_rank_holm"] == pytest.approx(2 / 64)
    good, poor = found.rows
    assert good["hypervolume"] > poor["hypervolume"] and good["hypervolume_interval"][0] < good["hypervolume"]
    headings, lines = pair_table(found, volumes=True)
    assert "median difference of hypervolume" in headings and len(lines) == 1
    assert found.reference["latency_ms"] == pytest.approx(5.4) and "latency 5.40 ms" in found.notes[-1]
    assert json.loads(json.dumps(found.to_json()))["reference"] == found.reference
    assert compare(cloud_runs(tmp_path, "alone", 0.0, 2), "hypervolume").volume_pairs == []


def test_a_reference_point_of_ones_own_is_the_same_in_every_comparison(tmp_path):
    own = {"accuracy": 0.4, "latency_ms": 10.0}
    poor = cloud_runs(tmp_path, "poor", 0.0, 2)
    assert compare(poor, "hypervolume", own).reference == own
    assert point(["accuracy=0.4", "latency_ms=1e1"]) == own
    with pytest.raises(ValueError, match="latency_ms is missing"):
        compare(poor, None, {"accuracy": 0.4})
    with pytest.raises(ValueError, match="needs runs with the same traded objectives"):
        compare([make_run(tmp_path, search_trials([0.5]))], None, own)
    for wrong in ("accuracy", "accuracy=high", "=", "accuracy=nan"):
        with pytest.raises(ValueError, match="NAME=NUMBER, not"):
            point([wrong])


def test_a_rewarded_search_is_compared_with_one_that_trades_by_their_fronts(tmp_path):
    """Their primary objectives differ, their target's objectives do not."""
    traded, weighed = cloud_runs(tmp_path, "traded", 0.0, 2), []
    for seed, target in enumerate((2.0, 3.0)):
        reward = {"name": "mnasnet-soft", "cost": "latency_ms", "target": target}
        trials = [trial(i, {"accuracy": 0.6, "latency_ms": 3.0 - i, "reward": float(i)}) for i in range(2)]
        run = make_run(tmp_path, trials, seed, (Objective("reward"),), name="weighed", reward=reward)
        run.describe(target_objectives=[vars(objective) for objective in TRADED])
        weighed.append(run)
    found = compare([*traded, *weighed])
    assert (found.metric, found.stage, found.goal) == ("hypervolume", "search", "max")
    assert [row["seeds"] for row in found.rows] == [2, 1, 1]
    assert any("Different rewards" in note for note in compare(weighed, "reward").notes)
    assert not any("Different rewards" in note for note in found.notes)


@pytest.mark.slow
def test_fronts_are_drawn_beside_the_curves(tmp_path):
    runs = [*cloud_runs(tmp_path, "good", 0.05), *cloud_runs(tmp_path, "poor", 0.0, 1)]
    svg = draw(compare(runs), tmp_path / "a.svg").read_text()
    assert "Fronts: attained by half of the runs" in svg and "latency (ms), lower is better" in svg
    assert "best accuracy (%) so far" in svg
    assert "hypervolume so far" in draw(compare(runs, "hypervolume"), tmp_path / "b.svg").read_text()
    three = (*TRADED, Objective("size", "min"))
    bare = draw(compare(cloud_runs(tmp_path, "three", 0.0, 2, three[:1])), tmp_path / "c.svg").read_text()
    assert "Fronts:" not in bare


def test_an_outline_goes_around_what_is_attained():
    corners, edge = np.array([[1.0, 3.0], [2.0, 1.0]]), np.array([5.0, 6.0])
    assert outline(corners, edge).tolist() == [[1, 6], [1, 3], [2, 3], [2, 1], [5, 1]]
    assert outline(corners[:0], edge).tolist() == [[5.0, 6.0]]


@pytest.mark.slow
def test_tables_json_and_curves(tmp_path):
    names = "<script>&"
    runs = [
        make_run(tmp_path, search_trials([0.1, None, 0.2 + seed / 10]), seed, name=names,
                 baselines={"random": search_trials([None, 0.1, 0.15])})
        for seed in range(6)
    ]  # fmt: skip
    found = compare(runs)
    assert json.loads(json.dumps(found.to_json()))["rows"][0]["seeds"] == 6
    for headings, lines in (table(found), pair_table(found)):
        assert lines and all(len(line) == len(headings) and all(isinstance(c, str) for c in line) for line in lines)
    assert table(found)[1][0][:3] == [names, "6", "45.0"] and pair_table(found)[1][0][4] == "6 / 0 / 0"
    svg = draw(found, tmp_path / "compare.svg").read_text()
    assert svg == draw(compare(runs), tmp_path / "again.svg").read_text()
    assert "&lt;script&gt;&amp;, 6 runs" in svg and "<script" not in svg and "#0072b2" in svg
