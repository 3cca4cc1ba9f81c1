"""The Optuna adapter: the properties that the specification of baselines lists for it, each quoted.

Left out: "pruned trials have partial budgets" (the adapter sets no budgets); "TPE density integrates to 1; gamma
quantile split sizes" and the properties of EI, which are Optuna's own.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from automl_ext.baselines.optuna import CLASSES, Optuna
from automl_ext.baselines.random import Random
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.objective import Objective
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.fingerprint import fingerprint
from automl_ext.testing.planted import planted_score, spaces, target_of
from automl_ext.worker import one_thread

NUMBERS = spaces()["number"]
QUICK = {
    "tpe": {"n_startup_trials": 5},
    "gp": {"n_startup_trials": 5},
    "cmaes": {"popsize": 4},
    "nsga2": {"population_size": 6},
    "nsga3": {"population_size": 6},
    "random": {},
}


@pytest.fixture(autouse=True)
def alone():
    one_thread()


def adapter(space=NUMBERS, *others, seed=0, **options):
    return Optuna(target_of(space, *others), stream(seed, "build"), **options)


def play(space, trials, seed=0, score=None, parallel=1, **options):
    searcher = adapter(space, seed=seed, **options)
    return searcher, simulate(searcher, score or planted_score(space, seed), trials, seed=seed, parallel=parallel)


def in_study(searcher):
    return searcher.storage.get_all_trials(searcher.study)


def suggest(trial):
    return {
        "n": trial.suggest_int("n", 1, 40),
        "m": trial.suggest_int("m", 2, 64, step=2),
        "x": trial.suggest_float("x", 0.0, 1.0),
        "rate": trial.suggest_float("rate", 1e-4, 1.0, log=True),
    }


@pytest.mark.parametrize(
    "sampler", [pytest.param(s, marks=[pytest.mark.slow] * (s == "gp")) for s in QUICK if s != "cmaes"]
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sequential_search_is_what_optuna_does_by_itself(sampler):
    """The same suggestions as a plain study whose sampler is seeded anew for each ask, generations included."""
    count = 9 if sampler == "gp" else 30
    _, trials = play(NUMBERS, count, sampler=sampler, options=QUICK[sampler])
    score = planted_score(NUMBERS, 0)
    study = optuna.create_study(direction="maximize")
    for number in range(count):
        seed = int(stream(0, "ask", number).integers(2**31))
        if sampler in ("nsga2", "nsga3") and number and number % 6 == 0:
            # The adapter has the parents chosen when the last of a generation is told, with that tell's seed.
            seed_of_tell = int(stream(0, "tell", number - 1).integers(2**31))
            chooser = getattr(optuna.samplers, CLASSES[sampler])(seed=seed_of_tell, **QUICK[sampler])
            chooser.get_parent_population(study, number // 6)
        study.sampler = getattr(optuna.samplers, CLASSES[sampler])(seed=seed, **QUICK[sampler])
        trial = study.ask()
        candidate = suggest(trial)
        assert candidate == trials[number].candidate, number
        study.tell(trial, score(candidate))


def test_cmaes_goes_on_from_generation_to_generation():
    """Its distribution lives in the study of this process, from one generation's last tell on."""
    searcher, trials = play(NUMBERS, 21, sampler="cmaes", options={"popsize": 4})
    assert [trial.note.get("cma:generation") for trial in trials] == [None, *np.repeat(range(5), 4)]
    with_state = [trial.number for trial in in_study(searcher) if any("optimizer" in key for key in trial.system_attrs)]
    assert with_state == [4, 8, 12, 16, 20]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_the_value_told_is_the_value_in_the_study(sampler):
    """Adapter: value told = value in study; failed trials marked FAIL and not best."""
    score = planted_score(NUMBERS, 0)
    searcher, trials = play(NUMBERS, 30, sampler=sampler, score=lambda c: None if c["n"] % 3 == 0 else score(c))
    studied = in_study(searcher)
    assert [trial.number for trial in studied] == [trial.number for trial in trials]
    assert {trial.state for trial in studied} == {TrialState.COMPLETE, TrialState.FAIL}
    for ours, theirs in zip(trials, studied, strict=True):
        assert theirs.params == ours.candidate
        assert theirs.state == (TrialState.FAIL if ours.metrics is None else TrialState.COMPLETE)
        assert theirs.values == (None if ours.metrics is None else [ours.metrics["score"]])
    assert searcher.storage.get_best_trial(searcher.study).value == max(t.metrics["score"] for t in trials if t.metrics)


def test_a_parameter_has_the_declared_range_and_the_realised_value():
    """Where the space narrows a decision the suggestion goes to the nearest legal value, which is told."""
    space = spaces()["narrowed"]
    searcher, trials = play(space, 30)
    for ours, theirs in zip(trials, in_study(searcher), strict=True):
        assert sum(ours.candidate.values()) <= 32
        assert {name: ours.candidate[name] for name in theirs.params} == theirs.params
        assert all((d.low, d.high) == (1, 16) for d in theirs.distributions.values())
        assert theirs.params.keys() <= ours.candidate.keys()


def test_decisions_that_differ_by_branch_have_names_of_their_own():
    branches = {"a": Space(Integer("x", 1, 4)), "b": Space(Choice("x", ["p", "q"])), "c": Space(Real("x", 0.0, 1.0))}
    space = Space(Choice("op", ["a", "b", "c"], branches=branches), Integer("y", 1, 100, step=3, log=True))
    searcher, trials = play(space, 40)
    names = {"a": "op/x#0", "b": "op/x#1", "c": "op/x#2"}
    for ours, theirs in zip(trials, in_study(searcher), strict=True):
        assert theirs.params == {
            "op": ours.candidate["op"],
            names[ours.candidate["op"]]: ours.candidate["op/x"],
            "y": ours.candidate["y"],
        }
    assert {trial.candidate["op"] for trial in trials} == {"a", "b", "c"}


def test_pending_trials_are_running_ones(monkeypatch):
    """Parallel ask with pending trials: constant liar."""
    searcher, seen = adapter(options={"n_startup_trials": 5}), []
    inside = Optuna._drawn

    def watched(self, storage, rng):
        seen.append([trial.state for trial in storage.get_all_trials(self.study)])
        return inside(self, storage, rng)

    monkeypatch.setattr(Optuna, "_drawn", watched)
    simulate(searcher, planted_score(NUMBERS, 0), 20, parallel=4)
    assert seen[:4] == [[TrialState.RUNNING] * count for count in range(4)]
    assert seen[12] == [TrialState.COMPLETE] * 9 + [TrialState.RUNNING] * 3


def test_a_pending_trial_changes_what_tpe_suggests():
    space = Space(Choice("a", list(range(8))), Choice("b", list(range(8))))
    searcher, _ = play(space, 30, score=lambda c: -float(c["a"] + c["b"]))
    pending, alone = [], set()
    for number in range(30, 38):
        alone.add(str(searcher.ask(number, [], stream(0, "ask", number)).candidate))
        pending.append(searcher.ask(number, pending, stream(0, "ask", number)))
    assert len({str(proposal.candidate) for proposal in pending}) > len(alone)


def tell(searcher, number, metrics):
    proposal = searcher.ask(number, [], stream(0, "ask", number))
    trial = Trial(number, "search", proposal.candidate, proposal.note, None, 0, None, metrics(proposal.candidate))
    searcher.tell(trial, stream(0, "tell", number))
    return trial


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["max", "min"])
def test_limits_are_constraints_where_the_sampler_knows_them(goal):
    """Feasible iff <= 0."""
    sign = 1 if goal == "max" else -1
    searcher = adapter(NUMBERS, Objective("size", goal, limit=sign * 20.0))
    trials = [tell(searcher, number, lambda c: {"score": c["x"], "size": sign * c["n"]}) for number in range(60)]
    for ours, theirs in zip(trials, in_study(searcher), strict=True):
        assert theirs.values == [ours.metrics["score"]]
        assert theirs.constraints == {"size": 20.0 - ours.candidate["n"]}
    kept = [trial.candidate["n"] >= 20 for trial in trials]
    assert np.mean(kept[30:]) > max(0.75, np.mean(kept[:10]))


@pytest.mark.parametrize("sampler", ["cmaes", "random"])
def test_what_misses_a_limit_fails_where_the_sampler_knows_none(sampler):
    searcher = adapter(NUMBERS, Objective("size", "min", limit=20.0), sampler=sampler)
    trials = [tell(searcher, number, lambda c: {"score": c["x"], "size": float(c["n"])}) for number in range(20)]
    states = [TrialState.COMPLETE if trial.candidate["n"] <= 20 else TrialState.FAIL for trial in trials]
    assert [trial.state for trial in in_study(searcher)] == states and len(set(states)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3"])
def test_two_objectives_are_told_in_their_directions(sampler):
    searcher = adapter(NUMBERS, Objective("ms", "min"), sampler=sampler, options=QUICK[sampler])
    trials = [tell(searcher, number, lambda c: {"score": c["x"], "ms": c["n"] + 10 * c["x"]}) for number in range(40)]
    assert [t.values for t in in_study(searcher)] == [[t.metrics["score"], t.metrics["ms"]] for t in trials]
    directions = searcher.storage.get_study_directions(searcher.study)
    assert [direction.name for direction in directions] == ["MAXIMIZE", "MINIMIZE"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_fails(bad):
    searcher = adapter()
    tell(searcher, 0, lambda c: {"score": bad})
    assert in_study(searcher)[0].state == TrialState.FAIL


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "dims"), [("tpe", 1), ("gp", 1), ("cmaes", 2)])
def test_samplers_that_learn_beat_random_on_a_parabola(sampler, dims):
    """on a 1-D quadratic TPE and GP beat random in the median of 10 seeds at 40 trials. (GP at 12, for its time.)"""
    space = Space(*(Real(f"x{index}", -1.0, 1.0) for index in range(dims)))
    trials, options = (12, QUICK["gp"]) if sampler == "gp" else (40, {})

    def best(searcher, seed):
        found = simulate(searcher, lambda c: -sum((x - 0.37) ** 2 for x in c.values()), trials, seed=seed)
        return max(trial.metrics["score"] for trial in found)

    ours = [best(adapter(space, seed=seed, sampler=sampler, options=options), seed) for seed in range(10)]
    assert np.median(ours) > np.median([best(Random(target_of(space), None), seed) for seed in range(10)])


@pytest.mark.parametrize("sampler", [pytest.param(s, marks=[pytest.mark.slow] * (s == "gp")) for s in QUICK])
def test_asking_changes_nothing_and_a_resumed_search_goes_the_same_way(sampler):
    """Seedable and bit-reproducible; resume; parallel ask with pending trials. (All of check_searcher: tpe only.)"""
    space, count = spaces()["conditional"], 9 if sampler == "gp" else 20
    score = planted_score(space, 1)

    def watch(event, searcher, number, pending):
        if event == "ask" and number % 5 == 4:
            before = fingerprint(searcher)
            asked = [searcher.ask(number, list(pending.values()), stream(0, "ask", number)) for _ in range(2)]
            assert asked[0] == asked[1] and fingerprint(searcher) == before

    whole = simulate(adapter(space, sampler=sampler, options=QUICK[sampler]), score, count, parallel=3, watch=watch)
    recorded = {t.number: Trial.from_json(json.loads(json.dumps(t.to_json()))) for t in whole[: count // 2]}
    again = adapter(space, sampler=sampler, options=QUICK[sampler])
    assert simulate(again, score, count, parallel=3, recorded=recorded) == whole


def test_notes_hold_generations_only():
    """No sampler's inner state is in a note: the journal stays plain data."""
    for sampler, options in QUICK.items():
        if sampler != "gp":
            _, trials = play(NUMBERS, 20, sampler=sampler, options=options)
            assert all(set(map(type, trial.note.values())) <= {int} for trial in trials)
            assert any(trial.note for trial in trials) == (sampler in ("cmaes", "nsga2", "nsga3"))


def test_optuna_is_as_it_was_afterwards(capsys):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    play(NUMBERS, 5)
    assert optuna.logging.get_verbosity() == logging.INFO
    assert capsys.readouterr() == ("", "")


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        ImportError, match=r'^searcher\.name: optuna needs an extra: pip install "automl-ext\[optuna\]"'
    ):
        adapter()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "grid"}, "searcher.sampler: one of tpe, gp, cmaes, nsga2, nsga3, random, not 'grid'"),
        ({"options": {"startup": 3}}, r"searcher.options: tpe takes no 'startup' \(legal: .*n_startup_trials"),
        ({"options": {"seed": 3}}, "searcher.options: tpe takes no 'seed'"),
        ({"sampler": "nsga2", "options": {"population_size": 1}}, "searcher.options: nsga2 refuses"),
    ],
)
def test_options_that_a_sampler_does_not_take_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        adapter(**options)


def test_cmaes_takes_one_objective():
    with pytest.raises(ValueError, match="optuna's cmaes takes one objective, and ms is another"):
        adapter(NUMBERS, Objective("ms", "min"), sampler="cmaes")


def test_every_named_sampler_is_optunas_and_takes_a_seed():
    for name in CLASSES.values():
        assert "seed" in inspect.signature(getattr(optuna.samplers, name)).parameters
