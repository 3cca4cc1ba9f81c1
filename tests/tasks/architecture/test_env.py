"""Architectures from a table: metrics, fidelities and their cost, bad input, a whole run."""

from __future__ import annotations

import json

import pytest
from automl_ext.tasks.architecture.nasbench201 import REFERENCES, code
from automl_ext.tasks.architecture.table import TableError, read_table

from automl_ext import Run, make, search
from automl_ext.env import Job, never_stop
from automl_ext.mistakes import ConfigError
from automl_ext.testing import check_target

BEST = REFERENCES["all-conv-3x3"]


def build(table, **options):
    chosen = {"space": "nasbench201", "estimator": "table", "metric": "val200", **options}
    return make("automl_ext/Architecture-v0", table=table, **chosen).unwrapped


@pytest.mark.slow
def test_it_keeps_the_contract(table):
    check_target(build(table, cost="time_s", test="test200"))


def test_a_cell_gets_its_row(table):
    env = build(table, cost="time_s", test="test200")
    assert env.evaluate(Job(0, BEST), never_stop) == {"val200": 100.0, "cost_s": 160.0}
    assert env.test(Job(0, BEST), never_stop) == {"test_accuracy": 99.0}
    row = read_table(table, [("metric", "val200")])[code(REFERENCES["residual"])]
    assert env.evaluate(Job(0, REFERENCES["residual"]), never_stop)["val200"] == row["val200"]


def test_several_objectives_have_directions(table):
    env = build(table, metric=None, objectives={"val200": "max", "latency_s": "min"})
    assert [(objective.name, objective.goal) for objective in env.objectives] == [
        ("val200", "max"),
        ("latency_s", "min"),
    ]
    assert env.evaluate(Job(0, BEST), never_stop) == {"val200": 100.0, "latency_s": 0.6}


def test_a_promotion_pays_only_for_what_its_parent_was_not_trained_for(table, tmp_path):
    env = build(table, cost="time_s", fidelities={"val12": 12, "val200": 200})
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    early = env.evaluate(Job(0, BEST, budget=12, folder=str(first)), never_stop)
    later = env.evaluate(Job(1, BEST, budget=200, folder=str(second), parent=str(first)), never_stop)
    assert early == {"val200": 50.0, "cost_s": pytest.approx(160 * 12 / 200)}
    assert later == {"val200": 100.0, "cost_s": pytest.approx(160 * 188 / 200)}
    assert env.evaluate(Job(2, BEST), never_stop) == {"val200": 100.0, "cost_s": 160.0}
    with pytest.raises(TableError, match="a budget of 50 epochs is not in the table; legal: 12, 200"):
        env.evaluate(Job(3, BEST, budget=50), never_stop)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "val20"}, "metric: .* has no column 'val20'; did you mean 'val200'"),
        ({"test": "tset200"}, "test: .* has no column 'tset200'; did you mean 'test200'"),
        ({"metric": None}, "name one column of the table, or several in `objectives`"),
        ({"objectives": {"val200": "max"}}, "not both"),
        ({"table": "nowhere.csv"}, "'nowhere.csv' is no file; give the path of a CSV"),
    ],
)
def test_what_is_not_there_is_named(table, options, message):
    with pytest.raises(TableError, match=message):
        build(**{"table": table, **options})


def test_options_are_checked(table):
    with pytest.raises(ConfigError, match=r"env\.objectives\.val200"):
        build(table, metric=None, objectives={"val200": "up"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.csv.gz", b"no gzip", "cannot be read"),
        ("binary.csv", b"code,val200\n\xff\xfe\n", "cannot be read"),
        ("words.csv", b"code,val200\n000000,good\n", "could not convert string to float"),
        ("short.csv", b"code,val200\n000000\n", "table"),
        ("keyless.csv", b"name,val200\n", "no column 'code'"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message) as error:
        read_table(str(tmp_path / name), [("metric", "val200")])
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_whole_run_finds_the_planted_cell(table, tmp_path):
    id = "automl_ext/Architecture-v0"
    env = {
        "id": id,
        "space": "nasbench201",
        "estimator": "table",
        "table": table,
        "metric": "val200",
        "test": "test200",
    }
    run = search(Run.create(out=tmp_path, env=env, searcher="local", trials=120, executor="serial", parallel=1))
    assert run.best().metrics["val200"] == 100.0
    recipe = json.loads((run.folder / "best" / "cell.json").read_text())
    assert recipe["edges"] == BEST and recipe["metrics"]["val200"] == 100.0
    assert (run.folder / "best" / "pictures" / "cell.svg").read_text().count("conv 3x3") == 6


def test_surrogates_learn_on_live_paths(table):
    """An edge behind which everything is cut off changes nothing."""
    dead = {**REFERENCES["residual"], "edge_0_2": "avg_pool_3x3"}
    paths, places = build(table), build(table, features="one-hot")
    assert (paths.target.features(dead) == paths.target.features(REFERENCES["residual"])).all()
    assert (places.target.features(dead) == places.space.to_vector(dead)).all()
    assert (places.target.features(dead) != places.target.features(REFERENCES["residual"])).any()
