"""Rewards and limits of a config: derived before a trial is recorded, followed by everyone, refused in one line."""

from __future__ import annotations

import json

import gymnasium
import pytest
from targets import Listed

from automl_ext import Objective, Real, Run, SearchEnv, Space, search
from automl_ext.config import Config, ConfigError, changed, checked, load
from automl_ext.construct import construct
from automl_ext.driver import RunError
from automl_ext.goals import build_goals
from automl_ext.journal import digest

SOFT = {"name": "mnasnet-soft", "cost": "latency_ms", "target": 2.0}
BOTH = (Objective("accuracy"), Objective("latency_ms", "min", measured=True))


class Net(SearchEnv):
    """A wider network is better and slower: accuracy w / (1 + w), latency w; below 0.05 it does not run."""

    def __init__(self, own: bool = False):
        self.space = Space(Real("width", 0.0, 10.0))
        self.objectives = BOTH
        self.references = {"wide": {"width": 10.0}}
        self.own = own

    def evaluate(self, job, report):
        width = job.candidate["width"]
        metrics = {"accuracy": width / (1 + width), "latency_ms": width, "params_k": width**2}
        return {**metrics, "reward": 1.0} if self.own else metrics

    def test(self, job, report):
        return {"test_accuracy": job.candidate["width"] / (2 + job.candidate["width"])}


class Worst:
    """A user's own reward."""

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def over(self, objectives):
        from automl_ext.rewards.rule import Rule

        return Rule(lambda metrics: -self.scale * metrics["accuracy"], ("accuracy",))


gymnasium.register("goals/Net-v0", entry_point=Net)

PLAIN = {"env": "goals/Net-v0", "searcher": "local", "trials": 8, "executor": "serial", "seed": 3}


def play(folder, searcher=None, **fields):
    with Run.create({**PLAIN, **fields}, out=folder) as run:
        search(run, searcher=searcher)
    return run


def mistake(**fields) -> str:
    with pytest.raises(ConfigError) as caught:
        construct(Config.from_dict({**PLAIN, **fields}))
    return str(caught.value)


# ---------------------------------------------------------------- what is followed


def test_without_reward_and_limits_nothing_changes():
    goals = build_goals(Config.from_dict({**PLAIN, "searcher": "random"}), BOTH)
    assert goals.objectives == goals.target == BOTH
    assert goals.settled({"metrics": {"accuracy": 1.0}}) == {"metrics": {"accuracy": 1.0}}


def test_a_reward_is_followed_beside_what_has_a_limit():
    config = Config.from_dict({**PLAIN, "reward": SOFT, "limits": {"latency_ms": 5.0}})
    goals = build_goals(config, BOTH)
    limited = Objective("latency_ms", "min", 5.0, True)
    assert goals.objectives == (Objective("reward", measured=True), limited)
    assert goals.target == (BOTH[0], limited)
    assert goals.seen(Net().target).objectives == goals.objectives
    alone = build_goals(
        Config.from_dict({**PLAIN, "reward": {"name": "weighted-sum", "weights": {"accuracy": 1}}}), BOTH
    )
    assert alone.objectives == (Objective("reward"),)


def test_a_reward_lets_a_searcher_of_one_objective_work_on_several(tmp_path):
    assert "searcher: local takes one objective, and latency_ms is another" in mistake()
    run = play(tmp_path, reward=SOFT, baselines=["random"], final=[{"top": 2, "seeds": 2}])
    trials = list(run.trials())
    for trial in trials:
        if trial.stage == "test":
            assert set(trial.metrics) == {"test_accuracy"}
            continue
        assert set(trial.metrics) == {"accuracy", "latency_ms", "params_k", "reward"}
        expected = trial.metrics["accuracy"] * (trial.metrics["latency_ms"] / 2.0) ** -0.07
        assert trial.metrics["reward"] == pytest.approx(expected)
    final = [trial for trial in trials if trial.stage == "final-1"]
    assert {trial.note["role"] for trial in final} == {"searched", "reference", "baseline"}
    best = run.best()
    assert best.metrics["reward"] == max(t.metrics["reward"] for t in final if t.note["role"] == "searched")
    assert [objective.name for objective in run.objectives] == ["reward"]
    assert all("reward" in trial.metrics for trial in run.baselines["random"].trials())
    assert {"reward", "latency_ms"} <= set(run.manifest["measured"])


def test_limits_make_a_second_objective_a_constraint(tmp_path):
    run = play(tmp_path, Listed([9.0, 4.0, 3.0, 5.0]), limits={"latency_ms": 4.0}, trials=4, final=[])
    assert run.best().candidate == {"width": 4.0}
    construct(Config.from_dict({**PLAIN, "limits": {"latency_ms": 4.0}}))


def test_the_stopping_target_is_that_of_the_reward(tmp_path):
    widths, hard = [1.0, 9.0, 3.0, 2.0, 5.0], {"name": "mnasnet-hard", "cost": "latency_ms", "target": 2.0}
    run = play(tmp_path, Listed(widths), reward=hard, target=0.66, parallel=1, final=[])
    assert len(list(run.trials("search"))) == 4


def test_where_there_is_no_reward_the_trial_fails(tmp_path):
    run = play(tmp_path, Listed([0.0, 3.0]), reward=SOFT, trials=2, final=[])
    failed, good = sorted(run.trials(), key=lambda trial: trial.number)
    assert (
        failed.metrics is None and failed.error.kind == "metrics" and "no reward: ZeroDivision" in failed.error.message
    )
    assert good.metrics["reward"] > 0
    with pytest.raises(RunError, match="3 trials in a row failed with metrics: no reward: the target gives a metric"):
        play(tmp_path, env={"id": "goals/Net-v0", "own": True}, reward=SOFT, max_failures=3)


def test_a_cached_trial_keeps_its_reward(tmp_path):
    run = play(tmp_path, Listed([3.0, 3.0, 3.0]), reward=SOFT, trials=3, parallel=1, final=[])
    rewards = [(trial.origin, trial.metrics["reward"]) for trial in run.trials()]
    assert [origin for origin, _ in rewards] == ["evaluated", "cached", "cached"] and len(set(rewards)) == 2


def test_a_resumed_run_repeats_the_search(tmp_path):
    fields = {"reward": {"name": "rena", "bounds": {"latency_ms": 2.0}}, "final": [], "parallel": 3}
    whole = play(tmp_path, **fields)
    for cut in (1, 4, 7):
        part = play(tmp_path, **fields)
        lines = (part.folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
        (part.folder / "trials.jsonl").write_bytes(b"".join(lines[:cut]))
        with Run.resume(part.folder) as run:
            search(run)
        assert digest(run.trials()) == digest(whole.trials())


def test_a_reward_of_ones_own(tmp_path):
    run = play(tmp_path, reward={"name": f"{__name__}:Worst", "scale": 2.0}, final=[])
    assert run.best().metrics["reward"] == max(-2 * trial.metrics["accuracy"] for trial in run.trials())


# ---------------------------------------------------------------- the config


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reward": {**SOFT, "cost": "latency"}}, "config:reward.cost: unknown objective 'latency'; did you mean 'lat"),
        ({"reward": {**SOFT, "cost": "accuracy"}}, "config:reward.cost: accuracy is maximised by the target"),
        ({"reward": {**SOFT, "targt": 1}}, "config:reward.targt: unknown key 'targt'; did you mean 'target'?"),
        ({"reward": {**SOFT, "target": -1}}, "config:reward.target: must be a number above 0 and at most 1e+30, not"),
        ({"reward": {"name": "mnasnet-soft", "target": 1}}, "config:reward.cost: is needed: the name of an objective"),
        ({"reward": "mnasnet"}, "config:reward.name: unknown reward 'mnasnet'; did you mean 'mnasnet-"),
        ({"reward": 3}, "config:reward: must be a mapping with name and options"),
        ({"reward": {"name": "rena", "bounds": {"latency_ms": "2"}}}, "config:reward.bounds.latency_ms: must be a num"),
        ({"reward": {"name": "rena", "bounds": {}}}, "config:reward.bounds: is empty"),
        ({"reward": {"name": "weighted-sum", "weights": {"x": 1}}}, "config:reward.weights.x: unknown objective 'x'"),
        ({"reward": "collections:OrderedDict"}, "config:reward.name: 'collections:OrderedDict' is no reward: it has"),
        ({"limits": {"latency": 1.0}}, "config:limits.latency: unknown objective 'latency'; did you mean 'latency_ms'"),
        ({"limits": {"latency_ms": "1"}}, "config:limits.latency_ms: must be a number, not '1'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_each(fields, words):
    said = mistake(**fields)
    assert said.startswith(words) and "\n" not in said


def test_the_reward_stands_in_the_resolved_config_and_cannot_change(tmp_path):
    plain = Config.from_dict({**PLAIN, "reward": SOFT, "limits": {"latency_ms": 5.0}})
    whole = checked(plain)
    assert whole.to_dict()["reward"] == {**SOFT, "quality": None, "exponent": -0.07}
    path = tmp_path / "a.yaml"
    path.write_text(whole.to_yaml())
    assert load(path).to_dict() == whole.to_dict() and changed(plain, whole) == []
    other = Config.from_dict({**PLAIN, "reward": {**SOFT, "target": 3.0}, "limits": {"latency_ms": 6.0}})
    assert changed(whole, other) == ["reward.target", "limits"]
    assert changed(whole, Config.from_dict(PLAIN)) == ["reward", "limits"]
    assert json.loads(json.dumps(whole.to_dict())) == whole.to_dict()


def test_a_reward_on_the_command_line(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(Config.from_dict({**PLAIN, "reward": SOFT}).to_yaml())
    assert load(path, ["reward.target=7", "limits.latency_ms=9"]).reward.options["target"] == 7
    assert load(path, ["reward.target=7", "limits.latency_ms=9"]).limits == {"latency_ms": 9.0}
    with pytest.raises(ConfigError, match=r"--set:reward\.target: must be a number above 0"):
        checked(load(path, ["reward.target=0"]))
