"""Random, grid and local search: the properties that the specification of baselines lists.

Those of GP, TPE, successive halving, Hyperband and ASHA are in test_optuna.py, test_halving.py and test_asha.py.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from automl_ext.baselines.grid import Grid
from automl_ext.baselines.local import Local, changes
from automl_ext.baselines.random import Random
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.objective import Objective
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, spaces, target_of

CELL = Space(*(Choice(f"edge{index}", list("abcde")) for index in range(6)))
TREE = Space(Choice("a", ["x", "y"], branches={"y": Space(Integer("n", 1, 3))}), Choice("b", [0, 1]))


def play(kind, space, trials, seed=0, parallel=1, score=None, **options):
    searcher = kind(target_of(space), stream(seed, "build"), **options)
    return simulate(searcher, score or planted_score(space, seed), trials, seed=seed, parallel=parallel)


def test_same_seed_same_sequence_and_different_seeds_differ():
    """Same seed -> same sequence for random, grid, TPE (n_jobs=1); different seeds differ."""
    for kind in (Random, Grid):
        assert play(kind, CELL, 20) == play(kind, CELL, 20)
    assert play(Random, CELL, 20, seed=1) != play(Random, CELL, 20, seed=2)


@pytest.mark.parametrize("parallel", [1, 3, 50])
def test_grid_visits_each_combination_exactly_once(parallel):
    """Grid visits each combination exactly once; brute force over a conditional tree visits every leaf once."""
    trials = play(Grid, TREE, 1000, parallel=parallel)
    assert len(trials) == 8
    assert len({TREE.key(trial.candidate) for trial in trials}) == 8


def test_grid_bins_reals():
    trials = play(Grid, Space(Real("x", 0.0, 1.0), Integer("n", 0, 100)), 1000, bins=3)
    assert [tuple(trial.candidate.values()) for trial in trials] == [
        (x, n) for x in (0.0, 0.5, 1.0) for n in (0, 50, 100)
    ]


@pytest.mark.slow
def test_sixty_random_trials_hit_the_best_twentieth_with_probability_095():
    """60 trials hit the best 5 % with probability 1-0.95^60 = 0.954."""
    space = Space(Real("x", 0.0, 1.0))
    hits = [max(t.candidate["x"] for t in play(Random, space, 60, seed=seed)) > 0.95 for seed in range(300)]
    assert abs(np.mean(hits) - 0.954) < 0.04


def neighbours(space, centre):
    return [space.from_genes({**centre, path: value}) for path, value in changes(space, centre, 5)]


def test_the_neighbourhood_is_every_single_change_once():
    centre = dict.fromkeys((f"edge{index}" for index in range(6)), "a")
    found = neighbours(CELL, centre)
    assert len(found) == 6 * 4 and len({CELL.key(candidate) for candidate in found}) == 24
    assert all(sum(candidate[path] != "a" for path in candidate) == 1 for candidate in found)
    opened = neighbours(TREE, {"a": "x", "b": 0})
    assert opened == [{"a": "y", "a/n": 1, "b": 0}, {"a": "x", "b": 1}]


@pytest.mark.parametrize("kind", spaces())
def test_every_change_is_legal_and_leads_to_another_candidate(kind):
    space, rng = spaces()[kind], np.random.default_rng(0)
    for _ in range(10):
        centre = space.sample(rng)
        found = neighbours(space, centre)
        keys = {space.key(candidate) for candidate in found}
        assert all(candidate in space for candidate in found)
        assert len(keys) == len(found) and space.key(centre) not in keys


def test_numbers_step_next_door_and_over_the_range():
    space = Space(Integer("n", 0, 100, step=2), Real("x", 0.0, 1.0))
    found = changes(space, {"n": 40, "x": 0.5}, 3)
    assert sorted(value for path, value in found if path == "n") == [0, 38, 42, 50, 100]
    assert sorted(value for path, value in found if path == "x") == pytest.approx([0.0, 0.45, 0.55, 1.0])


def test_local_takes_the_first_improvement_and_restarts_when_stuck():
    """Each trial is a neighbour of the best since the last start; a start comes after a whole neighbourhood."""
    score = planted_score(CELL, 3)
    trials = play(Local, CELL, 300, score=score)
    centre, value, seen, starts = None, -np.inf, 0, 0
    for trial in trials:
        if trial.note["move"] == -1:
            assert centre is None or seen == 24
            centre, value, seen, starts = trial.candidate, score(trial.candidate), 0, starts + 1
            continue
        assert sum(trial.candidate[path] != centre[path] for path in centre) == 1
        seen += 1
        if score(trial.candidate) > value:
            centre, value, seen = trial.candidate, score(trial.candidate), 0
    assert starts > 1
    assert max(trial.metrics["score"] for trial in trials) == 0.0


def test_local_with_several_out_counts_each_neighbour_once():
    """Between two moves no neighbour is asked twice, and what is told late still moves the search if it is better."""
    trials = play(Local, CELL, 400, score=planted_score(CELL, 5), parallel=8)
    by_move = {}
    for trial in trials:
        if trial.note["move"] >= 0:
            by_move.setdefault(trial.note["move"], []).append(CELL.key(trial.candidate))
    assert len(by_move) > 3
    assert all(len(set(keys)) == len(keys) for keys in by_move.values())
    assert max(trial.metrics["score"] for trial in trials) == 0.0


def test_local_is_led_back_inside_the_limits():
    """Outside, less missing is an improvement; a candidate within the limits beats all outside."""
    target = replace(target_of(CELL), objectives=(Objective("score"), Objective("as", "min", limit=0)))
    searcher = Local(target, stream(0, "build"))
    best = None
    for number in range(120):
        proposal = searcher.ask(number, [], stream(0, "ask", number))
        count = sum(value == "a" for value in proposal.candidate.values())
        metrics = {"score": float(count), "as": float(count)}
        searcher.tell(
            Trial(number, "search", proposal.candidate, proposal.note, None, 0, None, metrics),
            stream(0, "tell", number),
        )
        best = count if best is None else min(best, count)
        if searcher.centre is not None and best == 0:
            break
    assert best == 0


def test_a_start_that_fails_is_drawn_anew():
    good = planted_score(CELL, 0)
    trials = play(Local, CELL, 60, score=lambda c: None if c["edge0"] == "a" else good(c))
    assert any(trial.error for trial in trials)
    first = next(trial for trial in trials if not trial.error)
    assert all(trial.note["move"] == -1 for trial in trials[: first.number + 1])
    assert trials[first.number + 1].note["move"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Random, Grid])
def test_many_trials_leave_nothing_behind(kind):
    space = Space(Integer("a", 0, 99), Integer("b", 0, 99), Integer("c", 0, 99))
    options = {"bins": 100} if kind is Grid else {}
    searcher = kind(target_of(space), stream(0, "build"), **options)
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for number in range(30_000):
            proposal = searcher.ask(number, [], rng)
            searcher.tell(Trial(number, "search", proposal.candidate, {}, None, 0, None, {"score": 0.0}), None)
            if number == 1000:
                before = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [Grid, Local])
def test_a_grid_of_one_value_is_refused(kind):
    with pytest.raises(ValueError, match=r"searcher.bins: at least 2, not 1"):
        kind(target_of(CELL), stream(0, "build"), bins=1)
