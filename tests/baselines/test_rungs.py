"""What asha, successive-halving and hyperband share: the ladder of budgets, and who is better within a rung."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from deap.tools import emo

from automl_ext.baselines.rungs import WAITING, Entry, Rung, best_first, crowding, entry_of, ladder
from automl_ext.objective import Objective
from automl_ext.searcher import Trial


def entries(values, violations=None):
    violations = violations or [0.0] * len(values)
    return [Entry(n, {}, {}, violations[n], tuple(map(float, row))) for n, row in enumerate(values)]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((1, 81, 3), (1, 3, 9, 27, 81)),
        ((1, 80, 3), (1, 3, 9, 80)),
        ((12, 200, 16), (12, 200)),
        ((0.1, 0.9, 3), (0.1, 0.3, 0.9)),
        ((5, 5, 4), (5,)),
        ((5, 6, 4), (6,)),
    ],
)
def test_the_ladder_goes_up_by_eta_and_ends_at_the_largest_budget(bounds, expected):
    """s_max = floor(log_eta R/r), budgets r*eta^k."""
    assert ladder(*bounds) == pytest.approx(expected)


@pytest.mark.parametrize(("bounds", "name"), [((0, 1, 3), "min"), ((9, 3, 3), "min"), ((1, 9, 1), "reduction")])
def test_budgets_that_make_no_ladder_are_refused(bounds, name):
    with pytest.raises(ValueError, match=rf"^searcher\.{name}"):
        ladder(*bounds)


def brute_fronts(values):
    """Front of each point by peeling, from the definition of dominance."""
    fronts, left, level = {}, set(range(len(values))), 0
    while left:
        free = {
            i for i in left if not any((values[j] >= values[i]).all() and (values[j] > values[i]).any() for j in left)
        }
        fronts |= dict.fromkeys(free, level)
        left, level = left - free, level + 1
    return fronts


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("objectives", [2, 3])
def test_several_objectives_are_ranked_by_fronts_then_by_crowding(objectives, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 8, (30, objectives)).astype(float)
    order = [entry.number for entry in best_first(entries(values))]
    fronts = brute_fronts(values)
    assert [fronts[number] for number in order] == sorted(fronts.values())
    for level in set(fronts.values()):
        inside = [number for number in range(30) if fronts[number] == level]
        spread = dict(zip(inside, crowding(values[inside]), strict=True))
        assert [n for n in order if fronts[n] == level] == sorted(inside, key=lambda n: (-spread[n], n))


def test_the_crowding_distance_is_that_of_nsga2():
    values = np.random.default_rng(0).random((40, 2))
    points = [SimpleNamespace(fitness=SimpleNamespace(values=tuple(row))) for row in values]
    emo.assignCrowdingDist(points)
    theirs = np.array([point.fitness.crowding_dist for point in points]) * 2
    assert crowding(values) == pytest.approx(theirs)


@pytest.mark.parametrize("objectives", [1, 2])
def test_limits_come_first(objectives):
    found = best_first(entries([[9] * objectives, [1] * objectives, [5] * objectives], [0.5, 0.0, 0.1]))
    assert [entry.number for entry in found] == [1, 2, 0]


@pytest.mark.parametrize("metrics", [None, {"score": np.nan, "ms": 1.0}, {"score": 1.0, "ms": np.inf}])
def test_what_failed_or_is_not_finite_has_no_entry(metrics):
    trial = Trial(0, "search", {}, {}, 1.0, 0, None, metrics)
    assert entry_of(trial, (Objective("score"), Objective("ms", "min"))) is None


def test_an_objective_with_a_limit_is_a_constraint_only():
    trial = Trial(0, "search", {}, {}, 1.0, 0, None, {"score": 0.5, "ms": 7.0, "mb": 2.0})
    found = entry_of(trial, (Objective("score"), Objective("ms", "min", limit=4.0), Objective("mb", "min")))
    assert found.violation == 3.0 and found.values == (0.5, -2.0)


@pytest.mark.parametrize("objectives", [1, 2])
def test_what_waits_is_bounded_and_holds_the_best(objectives):
    rng, rung = np.random.default_rng(0), Rung(3)
    made = entries(rng.random((400, objectives)))
    for entry in made:
        rung.add(entry)
        assert len(rung.waiting) <= WAITING
        for ready in rung.promotable[:1]:
            rung.promoted(ready.number)
    assert all(entry.number in rung.waiting for entry in rung.promotable)
    assert rung.entries == best_first(made)
