"""Runs with several traded objectives: the front's weights stay, finals take candidates from it, stage after stage."""

from __future__ import annotations

import gymnasium
from targets import Listed

from automl_ext import Objective, Real, Run, SearchEnv, Space, search

WIDTHS = [0.5, 9.0, 3.0, 8.0, 1.0, 2.0, 7.0, 6.0, 5.0, 4.0]


class Line(SearchEnv):
    """Every width from 1 on is on the front of good against cost; thinner ones are good for nothing."""

    def __init__(self, limit: float | None = None):
        self.space = Space(Real("width", 0.0, 10.0))
        self.objectives = (Objective("good"), Objective("cost", "min", limit))

    def evaluate(self, job, report):
        from pathlib import Path

        (Path(job.folder) / "weights.bin").write_bytes(b"w")
        width = job.candidate["width"]
        return {"good": width if width >= 1 else -1.0, "cost": max(width, 1.0)}


gymnasium.register("traded/Line-v0", entry_point=Line)


def play(folder, env, widths=WIDTHS, **fields):
    values = {"env": "traded/Line-v0", "searcher": "random", "trials": len(widths), "executor": "serial", "parallel": 1}
    with Run.create({**values, "final": [], **fields}, out=folder) as run:
        search(run, env=env, searcher=Listed(widths))
    return run


def entrants(run, stage):
    return [trial.candidate["width"] for trial in run.trials(stage) if trial.note["role"] == "searched"]


def test_the_weights_of_the_whole_front_stay(tmp_path):
    run = play(tmp_path, Line())
    assert {int(path.name) for path in (run.folder / "trials").iterdir()} == set(range(1, 10))
    alone = play(tmp_path, Line(limit=100.0))
    assert {int(path.name) for path in (alone.folder / "trials").iterdir()} == {1, 9}  # the best and the last one


def test_finals_take_the_primarys_best_and_spread_over_the_front(tmp_path):
    run = play(tmp_path, Line(), final=[{"top": 3}, {"top": 2, "seeds": 2}])
    first, second = entrants(run, "final-1"), entrants(run, "final-2")
    assert first[0] == 9.0 and min(first) <= 3.0 and len(set(first)) == 3 and 0.5 not in first
    assert len(second) == 4 and second[0] == 9.0 and set(second) <= set(first)
    assert run.best().candidate == {"width": 9.0}


def test_with_a_limit_finals_take_the_best_that_keep_it(tmp_path):
    run = play(tmp_path, Line(limit=7.5), final=[{"top": 3}])
    assert entrants(run, "final-1") == [7.0, 6.0, 5.0]
