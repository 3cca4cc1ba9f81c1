"""Random, grid and local search: the properties that the specification of baselines lists.

Left out of that list: everything about GP, TPE, successive halving, Hyperband and ASHA, which are not here yet.
"""

from __future__ import annotations

import numpy as np
import pytest

from automl_ext.baselines.grid import Grid
from automl_ext.baselines.local import Local, neighbours
from automl_ext.baselines.random import Random
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.searchers import planted_score, target_of

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


def test_sixty_random_trials_hit_the_best_twentieth_with_probability_095():
    """60 trials hit the best 5 % with probability 1-0.95^60 = 0.954."""
    space = Space(Real("x", 0.0, 1.0))
    hits = [max(t.candidate["x"] for t in play(Random, space, 60, seed=seed)) > 0.95 for seed in range(300)]
    assert abs(np.mean(hits) - 0.954) < 0.04


def test_the_neighbourhood_is_every_single_change_once():
    centre = dict.fromkeys((f"edge{index}" for index in range(6)), "a")
    found = neighbours(CELL, centre, 5)
    assert len(found) == 6 * 4 and len({CELL.key(candidate) for candidate in found}) == 24
    assert all(sum(candidate[path] != "a" for path in candidate) == 1 for candidate in found)
    opened = neighbours(TREE, {"a": "x", "b": 0}, 5)
    assert opened == [{"a": "y", "a/n": 1, "b": 0}, {"a": "x", "b": 1}]


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
