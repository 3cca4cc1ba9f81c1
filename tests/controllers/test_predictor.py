"""Predictor: what the specifications of GP-EI and NASBOT ask of a surrogate search, each quoted, and its own rules.

Left out: the optimal-transport distance of NASBOT and the tests of its masses and mutations (the distance is one of
features, and variation is the target's own); properties of TPE, grids and halving, which belong to those searchers.
The Gaussian process and EI themselves are tested in test_surrogate.py and test_acquisition.py.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from automl_ext.baselines.random import Random
from automl_ext.controllers.predictor import Predictor, dominated
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.objective import Objective
from automl_ext.searcher import Proposal, Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import hash_of, planted_score, spaces, target_of

DIGITS = Space(*(Choice(f"c{index}", list("abcde")) for index in range(6)))


def searcher(space=DIGITS, seed=0, objectives=None, **options):
    target = target_of(space)
    target = replace(target, objectives=objectives or target.objectives)
    return Predictor(target, stream(seed, "build"), **options)


def play(watched, evaluate, trials, seed=0):
    """One trial at a time, with metrics instead of a score."""
    told = []
    for number in range(trials):
        proposal = watched.ask(number, [], stream(seed, "ask", number))
        trial = Trial(number, "search", proposal.candidate, {}, None, 0, None, evaluate(proposal.candidate))
        watched.tell(trial, stream(seed, "tell", number))
        told.append(trial)
    return told


def distinct(space, trials):
    return len({space.key(trial.candidate) for trial in trials})


@pytest.mark.slow
def test_gp_beats_random_on_a_quadratic():
    """On a 1-D quadratic TPE and GP beat random in the median of 10 seeds at 40 trials."""
    space = Space(Real("x", -1.0, 1.0))

    def loss(candidate):
        return -((candidate["x"] - 0.3721) ** 2)

    def best(watched, seed):
        return max(trial.metrics["score"] for trial in simulate(watched, loss, 40, seed=seed))

    ours = [best(searcher(space, seed, candidates=24), seed) for seed in range(10)]
    random = [best(Random(target_of(space), stream(seed, "build")), seed) for seed in range(10)]
    assert np.median(ours) > 0.01 * np.median(random)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_sequence():
    """Same seed -> same sequence; different seeds differ."""
    score = planted_score(DIGITS, 0)
    first = simulate(searcher(), score, 12)
    assert simulate(searcher(), score, 12) == first
    assert simulate(searcher(seed=1), score, 12, seed=1) != first


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("name", ["choice", "conditional"])
def test_nothing_is_proposed_twice_while_anything_is_left(name, parallel):
    space = {
        "choice": Space(Choice("a", [1, 2, 3, 4]), Choice("b", ["x", "y", "z"])),
        "conditional": Space(
            Choice("a", [0, 1, 2], branches={1: Space(Integer("n", 1, 8)), 2: Space(Choice("c", [0, 1]))})
        ),
    }[name]
    size = {"choice": 12, "conditional": 11}[name]
    trials = simulate(searcher(space, start=3), planted_score(space, 0), size, parallel=parallel)
    assert distinct(space, trials) == size
    simulate(searcher(space, start=3), planted_score(space, 0), size + 5, parallel=parallel)


def test_equal_candidates_by_the_canonical_form_are_not_tried_again():
    space = Space(
        Choice("a", list(range(6))),
        Choice("b", list(range(6))),
        canonical=lambda candidate: dict(zip("ab", sorted(candidate.values()), strict=True)),
    )
    trials = simulate(searcher(space, start=3), lambda c: -abs(c["a"] + c["b"] - 5.0), 21)
    assert distinct(space, trials) == 21


@pytest.mark.slow
def test_failed_candidates_are_never_asked_again_and_are_avoided():
    def fails(candidate):
        return candidate["c0"] in "abc"

    score = planted_score(DIGITS, 3)
    trials = simulate(searcher(), lambda c: None if fails(c) else score(c), 40)
    assert distinct(DIGITS, trials) == 40
    failed = [fails(trial.candidate) for trial in trials]
    assert np.mean(failed[10:]) < 0.25  # random: 0.6


@pytest.mark.slow
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_success(bad):
    score = planted_score(DIGITS, 3)
    trials = simulate(searcher(), lambda c: bad if c["c0"] in "abc" else score(c), 40)
    assert sum(trial.candidate["c0"] in "abc" for trial in trials[20:]) <= 8


@pytest.mark.slow
def test_limits_come_before_the_objective():
    """The best lies where the limit is missed: it is left, and the best that keeps it is found."""
    space = Space(*(Integer(f"n{index}", 0, 9) for index in range(3)))
    objectives = (Objective("score"), Objective("cost", "min", limit=12.0))
    watched = searcher(space, objectives=objectives)
    told = play(watched, lambda c: {"score": float(sum(c.values())), "cost": float(sum(c.values()))}, 60)
    kept = [trial.metrics["score"] for trial in told if trial.metrics["cost"] <= 12]
    assert max(kept) == 12.0
    assert len(kept) > 20


@pytest.mark.slow
def test_several_objectives_find_more_of_the_front_than_random():
    import moocore

    space = Space(*(Integer(f"n{index}", 0, 20) for index in range(5)))
    objectives = (Objective("high"), Objective("low", "min"))

    def measure(candidate):
        place = np.array(list(candidate.values())) / 20
        off = ((place[1:] - 0.5) ** 2).sum()
        return {"high": float(place[0] - off), "low": float(place[0] ** 2 + off)}

    def volume(told):
        points = [[-trial.metrics["high"], trial.metrics["low"]] for trial in told]
        return moocore.hypervolume(points, ref=[1.0, 2.0])

    ours, random = [], []
    for seed in range(2):
        ours.append(volume(play(searcher(space, seed, objectives, candidates=24), measure, 40, seed)))
        random.append(volume(play(Random(target_of(space, objectives[1]), stream(seed, "build")), measure, 40, seed)))
    assert min(ours) > max(random)


def test_pending_proposals_are_counted_as_measured():
    """Hallucinated EI: eight asks without a tell give eight different candidates, spread wider than the best eight."""
    watched = searcher(Space(Real("x", 0.0, 1.0), Real("y", 0.0, 1.0)))
    play(watched, lambda c: {"score": -((c["x"] - 0.5) ** 2) - (c["y"] - 0.5) ** 2}, 20)
    pending: list[Proposal] = []
    for number in range(20, 28):
        pending.append(watched.ask(number, pending, stream(0, "ask", number)))
    alone = [watched.ask(number, [], stream(0, "ask", number)).candidate for number in range(20, 28)]
    asked = [proposal.candidate for proposal in pending]
    assert all(candidate == alone[0] for candidate in alone)
    assert len({tuple(candidate.values()) for candidate in asked}) == 8


@pytest.mark.slow
def test_what_is_remembered_is_bounded_and_keeps_the_best():
    score = planted_score(DIGITS, 0)
    watched = searcher(memory=20, pool=30)
    trials = simulate(watched, score, 80)
    assert len(watched.known) == 20 and len(watched.pool.rows) <= 30
    best = max(trials, key=lambda trial: trial.metrics["score"])
    assert best.candidate in [known.candidate for known in watched.known]
    assert trials[-1].candidate in [known.candidate for known in watched.known]


@pytest.mark.slow
def test_features_of_the_target_are_learned_on():
    """A score that depends on one hidden feature is learned where the target offers it; else nothing can be."""
    space = Space(*(Choice(f"c{index}", [0, 1, 2, 3]) for index in range(8)))

    def hidden(candidate):
        return float(hash_of(candidate) % 1000)

    def late(target):
        """The mean score of trials 20 to 39 of three searches."""
        searches = [simulate(Predictor(target, stream(seed, "build")), hidden, 40, seed=seed) for seed in range(3)]
        return np.mean([trial.metrics["score"] for trials in searches for trial in trials[20:]])

    plain = target_of(space)
    offering = replace(plain, features=lambda candidate: np.array([hidden(candidate) / 1000]))
    assert late(offering) > late(plain) + 200


@pytest.mark.slow
@pytest.mark.parametrize("acquisition", ["thompson", "bound"])
@pytest.mark.parametrize("name", ["choice", "mixed"])
def test_other_acquisitions_learn_too(name, acquisition):
    space = spaces()[name]
    score = planted_score(space, 5)
    told = simulate(searcher(space, acquisition=acquisition, candidates=24), score, 40)
    values = [trial.metrics["score"] for trial in told]
    assert np.mean(values[-15:]) > np.mean(values[:10])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["choice", "conditional"])
def test_trees_learn_too(name):
    space = spaces()[name]
    score = planted_score(space, 5)
    told = simulate(searcher(space, surrogate="trees"), score, 40, parallel=4)
    values = [trial.metrics["score"] for trial in told]
    assert np.mean(values[-15:]) > np.mean(values[:10])


def test_dominated_counts():
    assert dominated(np.array([[3.0], [1.0], [2.0], [3.0]])).tolist() == [0, 3, 2, 0]
    assert dominated(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 0.0], [1.0, 1.0]])).tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize("options", [{"start": 0}, {"candidates": 0}, {"memory": 0}, {"pool": 0}])
def test_sizes_below_one_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        searcher(**options)
