"""The search target: its contract, the cache, what it refuses, and the same search anywhere."""

from __future__ import annotations

import html
import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
from automl_ext.tasks.optimizer.env import OptimizerEnv
from automl_ext.tasks.optimizer.graph import statements
from automl_ext.tasks.optimizer.heldout import HeldOut
from automl_ext.tasks.optimizer.reference import REFERENCES
from automl_ext.tasks.optimizer.rules import BINARIES, OPERANDS, PARTS, UNARIES

from automl_ext import Run, make, search
from automl_ext.env import Job, never_stop
from automl_ext.journal import digest
from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.report import write_report
from automl_ext.searcher import Failure, stream
from automl_ext.testing import check_target, simulate

ID = "automl_ext/Optimizer-v0"
SMALL = {
    "children": ["logistic"], "sweep": 4, "steps": 6, "rates": [1e-4, 0.01, 1.0], "held_out": ["diabetes"],
    "held_out_steps": 3, "decays": [0.0, 0.1],
}  # fmt: skip
MILD = {"g", "m", "sign(g)", "adam", "1e-3 w", "cd", "x", "sign", "drop 0.1", "mul", "add", "left"}
WITHOUT = [name for name in (*OPERANDS, *UNARIES, *BINARIES) if name not in MILD]
README = Path(__file__).parents[3] / "tasks" / "optimizer" / "README.md"


def small(**options):
    return make(ID, **{**SMALL, **options}).unwrapped


def rule(*groups):
    return {f"{n}.{part}": value for n, group in enumerate(groups, 1) for part, value in zip(PARTS, group, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"without": WITHOUT}, {"space": "programs", "start": "adamw", "lines": 9, "memory": 2}]
)
def test_it_keeps_the_contract_of_a_target(options):
    env = small(**options)

    def sound(seed):
        """Whether its first two random candidates are rules that do not diverge: the suite takes no failed ones."""
        rng = np.random.default_rng(seed)
        jobs = [Job(number, env.space.sample(rng), seed=number) for number in range(2)]
        found = env.evaluate_many(jobs, never_stop)
        return not any(isinstance(each, Failure) or np.isnan(each["loss"]) for each in found)

    check_target(env, samples=2, seed=next(seed for seed in range(200) if sound(seed)))


def test_bad_rules_fail_with_their_kind_and_leave_their_neighbours_alone():
    env = small(memory=2)
    good = [rule(("m", "v", "x", "sqrt", "div"), ("result 1", "1", "x", "x", "mul")), {"reference": "lion"}]
    blind = rule(("1e-1 w", "1", "x", "x", "mul"), ("result 1", "2", "x", "x", "mul"))
    hungry = rule(("m", "v", "x", "x", "mul"), ("result 1", "y", "x", "x", "mul"))
    wild = rule(("g", "1e-1 w", "log", "sign", "div"), ("result 1", "rmsprop", "exp", "exp", "power"))
    candidates = [good[0], blind, wild, hungry, good[1]]
    jobs = [Job(number, candidate, seed=5) for number, candidate in enumerate(candidates)]
    found = env.evaluate_many(jobs, never_stop)
    assert isinstance(found[1], Failure) and isinstance(found[3], Failure)
    assert found[1].kind == found[3].kind == "invalid" and "never uses the gradient" in found[1].message
    assert "needs 3 memory slots, and 2 are allowed" in found[3].message
    assert repr(found[2]) == "{'loss': nan}"
    assert found[0] == env.evaluate(jobs[0], never_stop) and found[4] == env.evaluate(jobs[4], never_stop)
    with pytest.raises(ValueError, match=r"^the update never uses the gradient"):
        env.evaluate(jobs[1], never_stop)


def test_a_rule_that_is_finite_nowhere_is_trained_and_fails_as_one_that_diverges():
    env = small(space="programs", lines=4, memory=1)
    rows = [["x1", "sub", ["g", "g"]], ["x1", "div", ["x1", "x1"]], ["update", "add", ["x1", "g"]]]
    candidate = env.encoding.genes(statements(rows))
    assert repr(env.evaluate_many([Job(0, candidate, seed=0)], never_stop)) == "[{'loss': nan}]"


def test_rules_that_differ_at_some_steps_or_at_zero_are_not_one_candidate():
    env = small(groups=1)
    plain, restarts = (rule(("g", factor, "x", "x", "mul")) for factor in ("1", "rd"))
    assert env.space.key(plain) != env.space.key(restarts)


def test_stages_train_longer_wider_and_tune_decays():
    env = small()
    (search_child,), plan = env._stage("search", None)
    (longer,), first = env._stage("final-1", 50)
    (wide,), second = env._stage("final-2", 70)
    assert longer is search_child and wide is not longer
    assert (plan.steps, plan.sweep, len(plan.settings)) == (6, 4, 3)
    assert (first.steps, first.sweep, len(first.settings)) == (50, 50, 6) and second.steps == 70


def test_final_stages_may_train_other_children():
    """A rule that suits the searched ones has to do well on these, too; the numbers say of which they are."""
    env = small(children=["mlp"], final_children=["logistic", "convolution"])
    assert [[child.name for child in env._stage(stage, 9)[0]] for stage in ("search", "final-1", "final-2")] == [
        ["mlp"], ["logistic", "convolution"], ["logistic", "convolution"]
    ]  # fmt: skip
    candidate = {"reference": "adam"}
    search = env.evaluate(Job(0, candidate, seed=1), never_stop)
    final = env.evaluate(Job(1, candidate, budget=8, seed=1, stage="final-1"), never_stop)
    assert set(search) == {"loss", "accuracy", "mlp_rate"}
    assert {"logistic_loss", "convolution_loss"} < set(final) and "mlp_loss" not in final
    assert final["loss"] == pytest.approx(math.sqrt(final["logistic_loss"] * final["convolution_loss"]))


def test_equal_rules_are_one_candidate():
    env = small()
    forth = rule(("g", "m", "x", "x", "mul"), ("result 1", "1", "x", "x", "mul"))
    back = rule(("m", "g", "x", "x", "mul"), ("1", "result 1", "x", "x", "mul"))
    other = rule(("m", "g", "x", "x", "sub"), ("1", "result 1", "x", "x", "mul"))
    assert env.space.key(forth) == env.space.key(back) != env.space.key(other)


@pytest.mark.slow
def test_a_whole_search_is_the_same_with_workers_of_any_number_and_counts_what_it_knew(tmp_path):
    def played(executor, population, **more):
        env = {"id": ID, **SMALL, "groups": 1, "without": WITHOUT, "population": population}
        run = Run.create(
            env=env, searcher="random", trials=40, seeds="common", max_failures=100, executor=executor,
            out=tmp_path / str(population), **more,
        )  # fmt: skip
        search(run)
        return run

    one = played("serial", 16, final=[{"top": 1, "budget": 4}])
    two = played({"name": "process", "workers": 2}, 3, final=[])
    found = list(one.trials("search"))
    assert digest(found) == digest(list(two.trials("search")))
    assert sum(trial.origin == "cached" for trial in found) > 3
    assert {*REFERENCES, "muon"} <= {trial.note["name"] for trial in one.trials("final-1")}
    for trial in one.trials("test"):
        assert next(iter(trial.metrics)) == "heldout_loss"
        assert trial.metrics["heldout_loss"] == pytest.approx(trial.metrics["heldout_diabetes_loss"])
    words = json.loads((one.folder / "finalists.json").read_text())
    assert words["reference"]["sgd"] == "update = g" and words["searched"].keys() and words["reference"]["muon"] == ""
    page = write_report(one).read_text()
    assert "The finalists in words" in page and html.escape(words["reference"]["lion"]).splitlines()[0] in page
    pictures = {file.name for file in (one.folder / "best" / "pictures").iterdir()}
    assert pictures == {"formula.svg", "curves.svg", "held-out.svg", "update.svg"}
    assert {"optimizer.py", "formula.tex"} <= {file.name for file in (one.folder / "best").iterdir()}
    one.close()
    two.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_finds_its_way_in_the_spaces(name):
    if "choice" not in SEARCHERS[name].treats:
        pytest.skip("for spaces of numbers")
    small_ones = {
        "nao": {"first": 5, "new": 3, "best": 2, "hidden": 4, "updates": 1},
        "progressive": {"beam": 2, "first": 3, "expansions": 4, "bins": 3, "members": 1, "hidden": 4, "steps": 1},
        "predictor": {"start": 4}, "hyperband": {"max_budget": 4.0},
    }  # fmt: skip
    conditional = "conditional" in SEARCHERS[name].treats and name not in ("nao", "progressive", "grid", "q-learning")
    env = small(space="programs", lines=3, memory=1) if conditional else small(groups=1)
    searcher = searcher_class(name)(env.target, stream(0, "build"), **small_ones.get(name, {}))
    told = simulate(searcher, lambda c: {"loss": float(len(env.program(c)))}, 6, parallel=2)
    assert len(told) == 6 and all(trial.candidate in env.space for trial in told)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"children": ["mlpp"]}, "children"),
        ({"children": []}, "children: at least one"),
        ({"final_children": []}, "final_children: at least one"),
        ({"rates": [0.1, 0.1]}, "rates: at least one, each once"),
        ({"batch": 20}, "batch"),
        ({"batch": 4096}, "batch: digits has 10"),
        ({"groups": 4}, "groups"),
        ({"without": ["g4"]}, "no operand or function 'g4'"),
        ({"start": "adamw"}, "only programs start at adamw"),
        ({"space": "programs", "start": "adamw", "memory": 1}, "2 slots of memory, not 12 and 1"),
        ({"space": "programs", "without": ["exp"]}, "only rules have"),
        ({"space": "programs", "groups": 1}, "groups: only rules have groups"),
        ({"lines": 9}, "lines: only programs have lines"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"held_out": ["iris"]}, "held_out"),
        ({"memory": 0}, "memory"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(options, said):
    with pytest.raises(ValueError, match=said) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


def test_the_readme_names_every_option_and_name():
    text = README.read_text(encoding="utf-8")
    firsts = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    assert [name for name in inspect.signature(OptimizerEnv).parameters if f"`{name}`" not in firsts] == []
    named = [*REFERENCES, *HeldOut.__args__, *BINARIES, "logistic", "mlp", "convolution", "attention", "muon"]
    assert [name for name in named if f"`{name}`" not in text] == []


def test_random_rules_can_be_sampled_in_any_number_of_groups():
    for groups in (1, 2, 3):
        env = small(groups=groups)
        assert len(env.space.sample(np.random.default_rng(0))) == 5 * groups
