"""Targets whose bounds and references only `prepare` can know: `waits` and `ready`."""

from __future__ import annotations

import shutil

import gymnasium
import numpy as np
import pytest

from automl_ext import Integer, Objective, Run, SearchEnv, Space
from automl_ext.driver import RunError, export_trial, search, start
from automl_ext.journal import digest
from automl_ext.testing import check_target

ID = "late/Late-v0"
BOUND = 5


class Late(SearchEnv):
    """Three numbers as large as can be whose sum is bounded; the bound is found in `prepare`."""

    waits = True
    learned = ()

    def __init__(self, bound: int = BOUND):
        self.bound, self.known = bound, None
        self.space = Space(*(Integer(name, 0, 9) for name in "abc"), narrow=self.narrow)
        self.objectives = (Objective("score"),)
        self.references = {"even": {"a": 9, "b": 9, "c": 9}, "lost": {"a": 9, "b": 9, "c": 9}}

    def narrow(self, path, decision, made):
        return decision if self.known is None else decision.within(0, self.known - sum(made.values()))

    def prepare(self, folder):
        (folder / "bound.txt").write_text(str(self.bound))

    def ready(self, folder):
        Late.learned = (*Late.learned, folder.name)
        self.known = int((folder / "bound.txt").read_text())
        self.references["even"] = dict.fromkeys("abc", self.known // 3)
        self.references.pop("lost", None)

    def evaluate(self, job, report):
        return {"score": float(sum(job.candidate.values())) + job.candidate["a"] / 100}

    def export(self, job, folder):
        (folder / "sum.txt").write_text(str(sum(job.candidate.values())))


gymnasium.register(ID, entry_point=Late)


def config(searcher="random", **fields):
    return {"env": ID, "searcher": searcher, "trials": 10, "parallel": 3, "executor": "serial", "final": [], **fields}


@pytest.mark.parametrize(
    "searcher",
    [
        "local",
        {"name": "hill-climbing", "start": "even"},
        {"name": "tournament", "start": "first", "population": 4},
        {"name": "predictor", "start": 4, "candidates": 4},
        {"name": "ddpg", "warmup": 4, "hidden": 4},
        {"name": "progressive", "first": 4, "beam": 2, "expansions": 4, "members": 1, "steps": 1},
    ],
    ids=lambda searcher: searcher if isinstance(searcher, str) else searcher["name"],
)  # fmt: skip
@pytest.mark.slow
def test_searchers_see_the_bound_that_prepare_found(searcher, tmp_path):
    run = start(config(searcher), tmp_path)
    sums = [sum(trial.candidate.values()) for trial in run.trials("search")]
    assert len(sums) >= 4 and max(sums) <= BOUND
    if isinstance(searcher, dict) and searcher.get("start") == "even":
        assert next(run.trials("search")).candidate == dict.fromkeys("abc", 1)


def test_references_are_those_that_prepare_made_possible(tmp_path):
    run = start(config(final=[{"top": 1}], baselines=["local"]), tmp_path)
    beside = {trial.note["name"]: trial.candidate for trial in run.trials("final-1")}
    assert beside["even"] == dict.fromkeys("abc", 1) and "lost" not in beside
    assert all(sum(candidate.values()) <= BOUND for candidate in beside.values())


def test_a_resumed_run_asks_for_the_same(tmp_path):
    whole = start(config("regularized-evolution"), tmp_path / "whole")
    whole.close()
    shutil.copytree(whole.folder, tmp_path / "cut", ignore=shutil.ignore_patterns(".lock", "best"))
    lines = (whole.folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut" / "trials.jsonl").write_bytes(b"".join(lines[:4]))
    with Run.resume(tmp_path / "cut") as run:
        search(run)
        assert digest(run.trials()) == digest(whole.trials())


def test_an_export_is_ready_first(tmp_path, monkeypatch):
    with start(config(trials=2), tmp_path) as run:
        monkeypatch.setattr(Late, "learned", ())
        export_trial(run, 1, tmp_path / "out")
        assert Late.learned == ("shared",)
        assert (tmp_path / "out" / "sum.txt").read_text() == str(sum(run.journal.get(1).candidate.values()))


def test_the_first_episode_is_bounded_too():
    env = Late()
    for _ in range(2):
        env.reset(seed=0)
        for _ in "abc":
            *_, done, _, info = env.step(np.ones(1, np.float32))
            if done:
                break
        assert sum(info["candidate"].values()) == BOUND
    env.close()
    check_target(Late())


def test_what_cannot_get_ready_fails_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"searcher hill-climbing: .*no reference 'lost'; known: random, first, even"):
        start(config({"name": "hill-climbing", "start": "lost"}), tmp_path)

    def broken(self, folder):
        raise ValueError("no bound")

    monkeypatch.setattr(Late, "ready", broken)
    with pytest.raises(RunError, match=r"^ready failed: ValueError: no bound$"):
        start(config(), tmp_path)


def test_whoever_does_not_wait_is_asked_before_prepare(tmp_path):
    """a searcher that cannot be is refused before anything is prepared"""

    class Early(Late):
        waits = False

        def prepare(self, folder):
            raise AssertionError("prepared")

    env = Early()
    assert env.reset()[1]["candidate"] == {}
    run = Run.create(out=tmp_path, **config({"name": "hill-climbing", "start": "nowhere"}))
    with pytest.raises(ValueError, match="no reference 'nowhere'"):
        search(run, env=env)
    assert not run.shared.exists()
