"""The loop and the driver, in this process: order, cache, failures, resume at every point, stages, state, folders."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from automl_ext import Choice, Integer, Objective, Proposal, Real, Run, SearchEnv, Space
from automl_ext.driver import Interrupted, RunError, search
from automl_ext.executors import WorkerDied
from automl_ext.halt import Halt
from automl_ext.journal import decode, digest, write_json
from automl_ext.progress import Silent
from automl_ext.report.tables import final_table
from automl_ext.worker import work


class Plane(SearchEnv):
    """score = a + b / 10 with a Choice that opens nothing; `fails` lists values of a that raise."""

    fails: tuple[int, ...] = ()

    def __init__(self, prepared: bool = False):
        self.space = Space(Integer("a", 0, 9), Choice("b", [0, 1, 2]), Real("c", 0.0, 1.0))
        self.objectives = (Objective("score"),)
        self.references = {"corner": {"a": 9, "b": 2, "c": 1.0}}
        self.calls: list[int] = []

    def evaluate(self, job, report):
        self.calls.append(job.number)
        report(0, 0.5)
        if job.candidate["a"] in self.fails:
            raise ValueError(f"no {job.candidate['a']}")
        noise = np.random.default_rng(job.seed).normal() * 1e-3
        return {"score": self.plain(job.candidate) + noise}

    @staticmethod
    def plain(candidate):
        return candidate["a"] + candidate["b"] / 10 + candidate["c"] / 100

    def test(self, job, report):
        return {"test_score": float(job.candidate["a"])}

    def export(self, job, folder):
        (folder / "result.txt").write_text(str(job.candidate))


class Climber:
    """Moves with what it is told: changes one place of the best so far; sees pending proposals."""

    def __init__(self, target=None, rng=None):
        self.best = None

    def ask(self, number, pending, rng):
        if self.best is None:
            a, b = int(rng.integers(10)), int(rng.integers(3))
        else:
            a = min(9, max(0, self.best.candidate["a"] + int(rng.integers(-2, 3))))
            b = (self.best.candidate["b"] + len(pending)) % 3
        return Proposal(
            {"a": a, "b": b, "c": float(np.round(rng.random(), 1))}, {"pending": [p.note for p in pending][:1]}
        )

    def tell(self, trial, rng):
        score = -1.0 if trial.metrics is None else trial.metrics["score"]
        if self.best is None or score >= self.score:
            self.best, self.score = trial, score + float(rng.random()) * 1e-6


gymnasium.register("loop/Plane-v0", entry_point=Plane)


class Threads:
    """Finishes evaluations out of order, a little later."""

    workers = 4

    def __init__(self, env, seed=0):
        self.env, self.pool, self.random = env, ThreadPoolExecutor(4), random.Random(seed)

    def submit(self, payload, timeout):
        pause = self.random.random() * 0.004

        def later():
            time.sleep(pause)
            return work(payload, self.env)

        return self.pool.submit(later)

    def close(self, now=False):
        self.pool.shutdown(cancel_futures=True)


class Dying:
    """An executor whose workers die `deaths` times on each chosen trial."""

    workers = 1

    def __init__(self, env, deaths):
        self.env, self.left = env, dict(deaths)

    def submit(self, payload, timeout):
        import json

        future: Future[str] = Future()
        future.set_running_or_notify_cancel()
        numbers = [job["number"] for job in json.loads(payload)["jobs"]]
        number = next((number for number in numbers if self.left.get(number, 0) > 0), None)
        if number is not None:
            self.left[number] -= 1
            future.set_exception(WorkerDied("died", "exit code -9"))
        else:
            future.set_result(work(payload, self.env))
        return future

    def close(self, now=False): ...


def play(folder, env=None, searcher=None, executor=None, resume=None, **fields):
    """A run with defaults; returns it closed."""
    env = env or Plane()
    values = {"env": "loop/Plane-v0", "searcher": "random", "trials": 12, "parallel": 3, "final": []}
    run = Run.resume(resume) if resume else Run.create({**values, "executor": {"name": "serial"}, **fields}, out=folder)
    try:
        search(run, env=env, searcher=searcher or Climber(), executor=executor)
    finally:
        run.close()
    return run


def signature(run, stage=None):
    return digest(run.trials(stage))


def test_out_of_order_completion_changes_nothing(tmp_path):
    expected = signature(play(tmp_path))
    for seed in range(5):
        env = Plane()
        assert signature(play(tmp_path, env, executor=Threads(env, seed))) == expected
    assert signature(play(tmp_path, seed=1)) != expected


@pytest.mark.parametrize("parallel", [1, 8])
def test_resume_at_every_line_continues_identically(tmp_path, parallel):
    fields = {"parallel": parallel, "final": [{"top": 2, "seeds": 2}]}
    env = Plane()
    whole = play(tmp_path / "whole", env, executor=Threads(env), **fields)
    lines = (whole.folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(len(lines)):
        copy = tmp_path / f"cut{cut}"
        shutil.copytree(whole.folder, copy, ignore=shutil.ignore_patterns(".lock", "best"))
        (copy / "trials.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])
        env = Plane()
        again = play(tmp_path, env, resume=copy)
        assert signature(again) == signature(whole)
        assert len(env.calls) <= len(lines) - cut


def test_a_larger_budget_continues_the_search_and_plays_the_finals_again(tmp_path):
    small = play(tmp_path / "a", trials=8, final=[{"top": 1}])
    large = play(tmp_path / "b", trials=14, final=[{"top": 1}])
    run = Run.resume(small.folder, small.config.model_copy(update={"trials": 14}))
    search(run, env=Plane(), searcher=Climber())
    run.close()
    assert signature(run) == signature(large)
    assert (run.folder / "superseded.jsonl").exists()


def test_a_budget_below_what_is_recorded_is_refused(tmp_path):
    run = play(tmp_path)
    with pytest.raises(RunError, match="trials can grow only: 12 are recorded, not 5"):
        Run.resume(run.folder, run.config.model_copy(update={"trials": 5}))
    assert len(list(run.trials())) == 12


def test_equal_candidates_are_evaluated_once(tmp_path):
    class Same(Climber):
        def ask(self, number, pending, rng):
            return Proposal({"a": number % 2, "b": 0, "c": 0.5})

    for index, executor in enumerate((None, Threads)):
        env = Plane()
        run = play(tmp_path / str(index), env, Same(), executor and executor(env))
        trials = sorted(run.trials(), key=lambda trial: trial.number)
        assert sorted(env.calls) == [0, 1]
        assert [trial.origin for trial in trials] == ["evaluated"] * 2 + ["cached"] * 10
        assert {trial.metrics["score"] for trial in trials[::2]} == {trials[0].metrics["score"]}
    env = Plane()
    play(tmp_path / "off", env, Same(), cache=False)
    assert sorted(env.calls) == list(range(12))


def test_a_proposal_equal_to_one_that_fails_is_evaluated_itself(tmp_path):
    class Flaky(Plane):
        def evaluate(self, job, report):
            if not self.calls:
                self.calls.append(job.number)
                raise ValueError("the first one fails")
            return super().evaluate(job, report)

    class Same(Climber):
        def ask(self, number, pending, rng):
            return Proposal({"a": 1, "b": 0, "c": 0.5})

    env = Flaky()
    run = play(tmp_path, env, Same(), trials=5, parallel=3)
    trials = sorted(run.trials(), key=lambda trial: trial.number)
    assert trials[0].error is not None and all(trial.metrics for trial in trials[1:])


def test_failures_are_data_and_too_many_in_a_row_stop_the_run(tmp_path):
    env = Plane()
    env.fails = (3, 4, 5)
    run = play(tmp_path / "some", env, trials=30)
    failed = [trial for trial in run.trials() if trial.error]
    assert failed and all(trial.error.kind == "exception" and trial.metrics is None for trial in failed)
    assert "no " in failed[0].error.message
    log = run.folder / "trials" / f"{failed[0].number:05d}" / "log.txt"
    assert "ValueError" in log.read_text()
    env.fails = tuple(range(10))

    class Stubborn(Climber):
        def ask(self, number, pending, rng):
            return Proposal({"a": 1, "b": 0, "c": float(number) / 100})

    with pytest.raises(RunError, match=r"4 trials in a row failed with exception: .*no 1"):
        play(tmp_path / "all", env, Stubborn(), max_failures=4)


def test_a_cause_of_failure_is_shown_once_and_five_at_most(tmp_path):
    class Sweep(Climber):
        def ask(self, number, pending, rng):
            return Proposal({"a": number % 8, "b": 0, "c": float(number) / 100})

    class Said(Silent):
        notes = ()

        def note(self, text):
            self.notes = (*self.notes, text)

    env, said = Plane(), Said()
    env.fails = (0, 1)
    values = {"env": "loop/Plane-v0", "searcher": "random", "parallel": 3, "final": [], "executor": {"name": "serial"}}
    with Run.create({**values, "trials": 32}, out=tmp_path) as run:
        search(run, env=env, searcher=Sweep(), progress=said)
        failed = [note for note in said.notes if "failed" in note]
        assert [note.split(" (")[0] for note in failed] == [
            "trial 0 failed: exception: ValueError: no 0", "trial 1 failed: exception: ValueError: no 1"
        ]  # fmt: skip
        assert (run.folder / "run.log").read_text().count(" failed: ") == 8
    env.fails, said = tuple(range(8)), Said()
    with Run.create({**values, "trials": 32}, out=tmp_path) as run:
        search(run, env=env, searcher=Sweep(), progress=said)
    failed = [note for note in said.notes if "failed" in note]
    assert len(failed) == 5 and [note.endswith("run.log only") for note in failed] == [False] * 4 + [True]


def test_a_dead_worker_is_tried_again_with_the_same_seed(tmp_path):
    expected = play(tmp_path / "calm")
    env = Plane()
    run = play(tmp_path / "wild", env, executor=Dying(env, {2: 2, 5: 1}))
    assert signature(run) == signature(expected)
    assert {trial.number: trial.attempts for trial in run.trials() if trial.attempts > 1} == {2: 3, 5: 2}
    env = Plane()
    run = play(tmp_path / "dead", env, executor=Dying(env, {2: 9}))
    (trial,) = [trial for trial in run.trials() if trial.error]
    assert (trial.number, trial.error.kind, trial.attempts) == (2, "died", 3)


class Batched(Plane):
    batch = 4

    def evaluate_many(self, jobs, report):
        self.sizes = [*getattr(self, "sizes", []), len(jobs)]
        return [self.evaluate(job, report) for job in jobs]


def test_batches_change_nothing_and_a_batch_that_dies_runs_one_by_one(tmp_path):
    expected = play(tmp_path / "single", parallel=6)
    env = Batched()
    assert signature(play(tmp_path / "batched", env, parallel=6)) == signature(expected)
    assert max(env.sizes) == 4
    env = Batched()
    run = play(tmp_path / "dying", env, executor=Dying(env, {1: 1}), parallel=6)
    assert signature(run) == signature(expected)
    assert all(trial.attempts == 1 for trial in run.trials())


def test_the_target_stops_the_search_at_a_tell(tmp_path):
    run = play(tmp_path, trials=500, target=9.0)
    scores = {trial.number: trial.metrics["score"] for trial in run.trials("search")}
    first = min(number for number, score in scores.items() if score >= 9.0)
    assert len(scores) <= first + 3 < 500


def test_wall_time_stops_the_search_and_the_finals_are_played(tmp_path, monkeypatch):
    fields = {"trials": 10**6, "wall_time": 0.2, "final": [{"top": 1}], "cache": False, "baselines": ["random"]}
    run = play(tmp_path, **fields)
    searched = len(list(run.trials("search")))
    assert 1 < searched < 10**5
    assert [trial.note["role"] for trial in run.trials("final-1")] == ["searched", "reference", "baseline"]
    assert len(list(run.baselines["random"].trials("search"))) == searched
    before = signature(run)
    monkeypatch.setattr(Halt, "over", True)
    assert signature(play(tmp_path, resume=run.folder)) == before
    journal = run.folder / "trials.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: searched + 1]))
    assert signature(play(tmp_path, resume=run.folder)) == before


def test_what_is_recorded_is_repeated_also_where_the_wall_time_is_over_before(tmp_path, monkeypatch):
    env = Plane()
    run = play(tmp_path, env, executor=Threads(env), wall_time=1000, trials=12)
    journal = run.folder / "trials.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    torn = [line for line in lines[:8] if decode(line).number != 2]
    expected = max(decode(line).number for line in torn) + 1
    journal.write_bytes(b"".join(torn))
    write_json(run.folder / "manifest.json", {k: v for k, v in run.manifest.items() if k != "searched"})
    monkeypatch.setattr(Halt, "over", True)
    again = play(tmp_path, resume=run.folder)
    assert sorted(trial.number for trial in again.trials("search")) == list(range(expected))


def test_a_signal_ends_the_run_which_can_be_resumed(tmp_path):
    class Struck(Plane):
        def evaluate(self, job, report):
            if job.number == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluate(job, report)

    expected = play(tmp_path / "calm")
    with pytest.raises(Interrupted) as caught:
        play(tmp_path / "struck", Struck())
    assert caught.value.signum == signal.SIGINT
    (folder,) = (tmp_path / "struck").iterdir()
    assert Run.open(folder).manifest["outcome"] == "interrupted"
    assert 5 <= len(list(Run.open(folder).trials())) < 12
    assert signature(play(tmp_path, resume=folder)) == signature(expected)


def test_none_waits_for_a_tell_and_ends_a_search(tmp_path):
    class Generations(Climber):
        """Four at a time; the next four only when all are told; three generations."""

        told = 0

        def ask(self, number, pending, rng):
            if number >= 12 or (number // 4) * 4 > self.told:
                return None
            return super().ask(number, pending, rng)

        def tell(self, trial, rng):
            super().tell(trial, rng)
            self.told += 1

    for index, parallel in enumerate((1, 3, 8)):
        run = play(tmp_path / str(index), None, Generations(), trials=100, parallel=parallel)
        assert sorted(trial.number for trial in run.trials()) == list(range(12))


def test_a_searcher_that_breaks_its_contract_is_named(tmp_path):
    class Outside(Climber):
        def ask(self, number, pending, rng):
            return Proposal({"a": 10, "b": 0, "c": 0.5})

    with pytest.raises(RunError, match="ask 0: a: 10 is not legal; legal: 0 to 9"):
        play(tmp_path, None, Outside())


def test_a_journal_of_another_search_is_refused(tmp_path):
    run = play(tmp_path)

    class Other(Climber):
        def ask(self, number, pending, rng):
            return Proposal({"a": 0, "b": 0, "c": 0.25})

    with pytest.raises(RunError, match="start a new run"):
        play(tmp_path, None, Other(), resume=run.folder)


class Saving(Climber):
    """Keeps its state in a file instead of repeating tells."""

    def __init__(self):
        self.weights, self.tells = np.zeros(3), 0

    def ask(self, number, pending, rng):
        a = int(abs(self.weights.sum() * 1e3)) % 10
        return Proposal({"a": a, "b": int(rng.integers(3)), "c": 0.5}, {"pending": len(pending)})

    def tell(self, trial, rng):
        self.weights = self.weights * 0.9 + rng.random(3) * trial.metrics["score"]
        self.tells += 1

    def state(self):
        return {"weights": self.weights}, {"seen": True}

    def load(self, state):
        self.weights = state[0]["weights"]


def test_a_searcher_with_state_continues_from_it(tmp_path):
    class Struck(Plane):
        def evaluate(self, job, report):
            if job.number == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().evaluate(job, report)

    expected = play(tmp_path / "calm", None, Saving())
    with pytest.raises(Interrupted):
        play(tmp_path / "struck", Struck(), Saving())
    (folder,) = (tmp_path / "struck").iterdir()
    searcher = Saving()
    assert signature(play(tmp_path, None, searcher, resume=folder)) == signature(expected)
    assert searcher.tells < 12


class Growing(Plane):
    """Leaves weights; a child must find its parent's."""

    def evaluate(self, job, report):
        inherited = 0
        if job.parent is not None:
            inherited = int((Path(job.parent) / "weights.txt").read_text())
        (Path(job.folder) / "weights.txt").write_text(str(inherited + 1))
        return {"score": float(inherited)}


def test_children_find_their_parents_weights_and_the_rest_is_removed(tmp_path):
    class Chain(Climber):
        last = None

        def ask(self, number, pending, rng):
            return Proposal({"a": number % 10, "b": 0, "c": 0.5}, parent=self.last)

        def tell(self, trial, rng):
            self.last = trial.number

        def keep(self):
            return set() if self.last is None else {self.last}

    run = play(tmp_path, Growing(), Chain(), trials=10, parallel=1)
    trials = sorted(run.trials(), key=lambda trial: trial.number)
    assert [trial.metrics["score"] for trial in trials] == [float(number) for number in range(10)]
    left = sorted(path.name for path in (run.folder / "trials").iterdir())
    assert left == ["00008", "00009"] or left == ["00009"]


def test_finals_choose_by_validation_and_read_test_data_once(tmp_path):
    env = Plane()
    final = [{"top": 3, "seeds": 2}, {"top": 1, "seeds": 3, "budget": 5}]
    run = play(tmp_path, env, trials=20, final=final, baselines=["random"])
    first, second, test = (list(run.trials(stage)) for stage in ("final-1", "final-2", "test"))
    assert len(first) == (3 + 1 + 3) * 2 and len(second) == (1 + 1 + 1) * 3 and len(test) == len(second)
    assert {trial.budget for trial in second} == {5.0}
    roles = {(trial.note["role"], trial.note["name"]) for trial in second}
    assert ("reference", "corner") in roles and ("baseline", "random") in roles
    assert {trial.parent for trial in test} == {trial.number for trial in second}
    assert all(set(trial.metrics) == {"test_score"} for trial in test)
    best = run.best()
    assert best.stage == "final-2" and best.note["role"] == "searched"
    assert (run.folder / "best" / "result.txt").read_text() == str(best.candidate)
    baseline = Run.open(run.folder).baselines["random"]
    assert len(list(baseline.trials("search"))) == 20
    numbers = [trial.number for trial in run.trials()]
    assert sorted(numbers) == list(range(len(numbers)))


def test_a_baseline_goes_through_the_finals_as_the_search_does(tmp_path):
    """As many candidates, narrowed by the same rule; of what is left the table shows what validation chooses."""

    class Longer(Plane):
        def evaluate(self, job, report):
            metrics = super().evaluate(job, report)
            return {"score": -metrics["score"]} if job.stage == "final-1" else metrics  # the last become the first

        def describe(self, candidate):
            return str(candidate)

    final = [{"top": 4, "seeds": 2}, {"top": 2, "seeds": 2}]
    run = play(tmp_path, Longer(), trials=20, final=final, baselines=["random"])
    first, second = (list(run.trials(stage)) for stage in ("final-1", "final-2"))

    def candidates(trials, role):
        own = {json.dumps(trial.candidate): trial.metrics["score"] for trial in trials if trial.note["role"] == role}
        return sorted(own, key=own.get, reverse=True)

    for role in ("searched", "baseline"):
        begun = candidates(first, role)
        assert len(begun) == 4 and set(candidates(second, role)) == set(begun[:2])
    assert {trial.note.get("entry", "") for trial in first if trial.note["role"] != "baseline"} == {""}
    (row,) = [row for row in final_table(run) if row["role"] == "baseline"]
    assert (row["name"], row["repeats"]) == ("random", 2)
    best = json.loads(candidates(second, "baseline")[0])
    assert row["test_score"] == best["a"] and row["score"] == pytest.approx(Longer().plain(best), abs=0.01)
    assert json.loads((run.folder / "finalists.json").read_text())["baseline"] == {"random": str(best)}
    before = signature(run)
    assert signature(play(tmp_path, Longer(), resume=run.folder)) == before


def test_common_seeds_and_seeds_of_their_own(tmp_path):
    own = {trial.seed for trial in play(tmp_path / "own", cache=False).trials()}
    common = {trial.seed for trial in play(tmp_path / "common", cache=False, seeds="common").trials()}
    assert len(own) == 12 and len(common) == 1


def test_prepare_runs_once_and_its_failure_is_one_error(tmp_path):
    class Prepared(Plane):
        def prepare(self, folder):
            (folder / "base.txt").write_text("base")

        def evaluate(self, job, report):
            assert (Path(job.shared) / "base.txt").read_text() == "base"
            return super().evaluate(job, report)

    run = play(tmp_path / "good", Prepared(), baselines=["random"])
    assert (run.folder / "shared" / "base.txt").exists() and all(trial.metrics for trial in run.trials())

    class Broken(Plane):
        def prepare(self, folder):
            (folder / "half.txt").write_text("half")
            raise OSError("no disk")

    with pytest.raises(RunError, match=r"prepare failed: .*no disk"):
        play(tmp_path / "bad", Broken())
    (folder,) = (tmp_path / "bad").iterdir()
    assert not (folder / "shared").exists()


def test_a_second_driver_is_kept_out(tmp_path):
    run = Run.create(env="loop/Plane-v0", searcher="random", trials=3, out=tmp_path)
    errors = []

    def second():
        try:
            Run.resume(run.folder)
        except RunError as error:
            errors.append(str(error))

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    run.close()
    assert errors and "another process" in errors[0]
    again = Run.create(env="loop/Plane-v0", searcher="random", trials=3, out=tmp_path)
    assert again.folder.name == run.folder.name + "-2"
    again.close()


class Shrinking:
    """The whole budget first, then small ones, at which this target looks better than it is."""

    def ask(self, number, pending, rng):
        return Proposal(Plane().space.sample(rng), budget=9.0 if number == 2 else 1.0)

    def tell(self, trial, rng): ...


class Flattering(Plane):
    def evaluate(self, job, report):
        return {name: value + 100 * (job.budget == 1) for name, value in super().evaluate(job, report).items()}


def test_the_best_is_the_best_of_the_largest_budget(tmp_path):
    run = play(tmp_path, Flattering(), Shrinking(), final=[{"top": 2}])
    assert {trial.budget for trial in run.trials("search")} == {1.0, 9.0}
    whole = next(trial for trial in run.trials("search") if trial.budget == 9.0)
    finalists = [trial for trial in run.trials("final-1") if trial.note["role"] == "searched"]
    assert finalists[0].note["name"] == f"trial-{whole.number}" and len(finalists) == 2
