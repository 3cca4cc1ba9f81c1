"""Stopping in a search: same digest on any number of workers and after interruptions, what stopped trials are."""

from __future__ import annotations

import shutil

import pytest
import targets

from automl_ext import Integer, Objective, Proposal, Run, SearchEnv, Space, search
from automl_ext.config import Config
from automl_ext.construct import construct
from automl_ext.driver import build_stopping
from automl_ext.executors import ProcessExecutor
from automl_ext.goals import build_goals
from automl_ext.journal import digest
from automl_ext.mistakes import ConfigError
from automl_ext.rules import STOPPING, stopping_class
from automl_ext.stopping.rule import Rule

RULES = {
    "median": {"name": "median", "startup": 3},
    "extrapolation": {"name": "extrapolation", "startup": 3, "steps": 20, "every": 3},
    "curve-network": {"name": "curve-network", "startup": 5, "steps": 200, "refit": 12},
}


@pytest.fixture(scope="module")
def pools():
    made = {workers: ProcessExecutor(workers) for workers in (1, 2)}
    yield made
    for pool in made.values():
        pool.close(now=True)


class Kept:
    """An executor that outlives the run."""

    def __init__(self, executor):
        self.workers, self.submit = executor.workers, executor.submit

    def close(self, now=False): ...


def config(rule, falls=False, **fields):
    return {
        "env": {"id": targets.ID.format("Rising"), "falls": falls},
        "searcher": "targets:Wanderer" if fields.pop("stateful", False) else "local",
        "stopping": RULES[rule],
        "executor": {"name": "serial"},
        "trials": 16,
        "parallel": 4,
        "final": [{"top": 1}],
        **fields,
    }


def play(folder, rule, executor=None, **fields):
    run = Run.create(config(rule, **fields), out=folder)
    with run:
        search(run, executor=executor and Kept(executor))
    return run


def signature(run):
    return digest(run.trials())


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_the_same_on_0_1_and_2_workers(tmp_path, pools, rule):
    serial = play(tmp_path, rule)
    assert any(trial.origin == "stopped" for trial in serial.trials())
    assert {signature(play(tmp_path, rule, pools[workers])) for workers in (1, 2)} == {signature(serial)}


@pytest.mark.slow
@pytest.mark.parametrize("stateful", [False, True], ids=["tells repeated", "state saved"])
@pytest.mark.parametrize("rule", RULES)
def test_the_same_after_an_interruption(tmp_path, rule, stateful):
    whole = play(tmp_path, rule, stateful=stateful)
    lines = (whole.folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    for cut in (7, 17):
        copy = tmp_path / f"cut{cut}"
        shutil.copytree(whole.folder, copy, ignore=shutil.ignore_patterns(".lock", "best", "*.safetensors"))
        (copy / "trials.jsonl").write_bytes(b"".join(lines[:cut]))
        with Run.resume(copy) as run:
            search(run)
        assert signature(run) == signature(whole)


def test_a_saved_state_brings_the_rules_of_pending_trials_back(tmp_path):
    """Interrupted in an evaluation while others are pending: their rules are those fixed when they were asked."""

    class Struck(targets.Rising):
        def evaluate(self, job, report):
            if job.number == 13:
                raise KeyboardInterrupt
            return super().evaluate(job, report)

    whole = play(tmp_path / "whole", "median", stateful=True)
    run = Run.create(config("median", stateful=True), out=tmp_path / "struck")
    with run, pytest.raises(KeyboardInterrupt):
        search(run, env=Struck())
    assert (run.folder / "searcher-search.safetensors").exists()
    with Run.resume(run.folder) as again:
        search(again)
    assert signature(again) == signature(whole)


@pytest.mark.parametrize("falls", [False, True], ids=["max", "min"])
def test_stopped_trials_keep_what_the_evaluation_returned_and_are_never_the_best(tmp_path, falls):
    run = play(tmp_path, "median", falls=falls)
    trials = list(run.trials("search"))
    stopped = [trial for trial in trials if trial.origin == "stopped"]
    name = "loss" if falls else "score"
    assert 3 <= len(stopped) <= 20
    for trial in stopped:
        assert trial.metrics == {name: trial.curve[-1][1], "steps": len(trial.curve)} and len(trial.curve) < 12
    whole = [trial.metrics[name] for trial in trials if trial.origin == "evaluated"]
    (final,) = run.trials("final-1")
    best = (min if falls else max)(
        (trial for trial in trials if trial.origin == "evaluated"), key=lambda t: t.metrics[name]
    )
    assert final.candidate == best.candidate and len(final.curve) == 12
    assert best.metrics[name] == (min if falls else max)(whole)


def test_batches_are_evaluated_one_by_one(tmp_path):
    class Batch(SearchEnv):
        batch = 4

        def __init__(self):
            self.space, self.objectives = Space(Integer("a", 0, 99)), (Objective("score"),)

        def evaluate(self, job, report):
            for step in range(1, 6):
                if report(step, float(job.candidate["a"])):
                    break
            return {"score": float(job.candidate["a"])}

        def evaluate_many(self, jobs, report):
            raise AssertionError("a batch has no curve of its own for each job")

    fields = {"env": targets.ID.format("Rising"), "searcher": "random", "trials": 20, "stopping": RULES["median"]}
    with Run.create(**fields, executor={"name": "serial"}, final=[], out=tmp_path) as run:
        search(run, env=Batch())
    assert any(trial.origin == "stopped" for trial in run.trials()) and not any(trial.error for trial in run.trials())


def test_rules_learn_from_the_curves_of_what_nothing_could_stop_yet(tmp_path):
    """A target that computes its curve only where one is wanted is asked for it from the first trial on."""

    class Thrifty(SearchEnv):
        def __init__(self):
            self.space, self.objectives = Space(Integer("end", 0, 9)), (Objective("score"),)

        def evaluate(self, job, report):
            end = job.candidate["end"]
            for step in range(1, 7) if job.stopping is not None else ():
                if report(step, end * step / 6):
                    break
            return {"score": float(end)}

    fields = {"env": targets.ID.format("Rising"), "searcher": "random", "trials": 20, "stopping": RULES["median"]}
    with Run.create(**fields, executor={"name": "serial"}, final=[], parallel=1, out=tmp_path) as run:
        search(run, env=Thrifty())
    lengths = [len(trial.curve) for trial in run.trials()]
    assert lengths[:3] == [6, 6, 6] and 0 < min(lengths) < 6


def test_a_rule_of_the_user_is_named_by_module_and_class(tmp_path):
    run = play(tmp_path, "median", stopping={"name": "targets:Impatient", "patience": 4}, trials=6)
    assert [(trial.origin, len(trial.curve)) for trial in run.trials("search")] == [("stopped", 4)] * 6


@pytest.mark.parametrize("name", STOPPING)
def test_rules_keep_the_contract(name):
    target = targets.Rising().target
    config = Config.from_dict({"env": targets.ID.format("Rising"), "searcher": "random", "trials": 1, "stopping": name})
    rule = build_stopping(config, build_goals(config, target.objectives), target)
    assert isinstance(rule, Rule) and stopping_class(name) is type(rule)
    assert rule.stopping(Proposal({"end": 0.5, "rate": 0.5}), 0) is None
    two = type("Two", (), {"objectives": (Objective("a"), Objective("b")), "space": target.space})()
    with pytest.raises(ValueError, match="judges curves of a alone, and b is another"):
        stopping_class(name)(two, None)


def test_a_refusal_is_one_line_before_anything_is_written(tmp_path):
    fields = {"env": targets.ID.format("Mixed"), "searcher": "random", "trials": 3, "stopping": "targets:Refusing"}
    with pytest.raises(ConfigError, match=r"^config:stopping: not today$"):
        construct(Config.from_dict(fields))


def test_a_rule_beside_a_reward_is_refused():
    reward = {"name": "weighted-sum", "weights": {"score": 1.0}}
    fields = {"env": targets.ID.format("Rising"), "searcher": "random", "trials": 3, "stopping": "median"}
    with pytest.raises(ConfigError, match=r"^config:stopping: judges curves of score, and a reward is followed"):
        construct(Config.from_dict({**fields, "reward": reward}))
