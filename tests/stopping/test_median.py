"""The median rule, against numpy's median on random curves. "Median stopping: stop when the best intermediate value is
worse than the median of others at the same step." """

from __future__ import annotations

import json

import numpy as np
import pytest
from targets import reported as trial

from automl_ext import Objective, Proposal, Real, Space
from automl_ext.searcher import Target
from automl_ext.stopping.median import Median


def rule(goal="max", **options):
    target = Target(Space(Real("x", 0.0, 1.0)), (Objective("score", goal),), {}, None, None)
    return Median(target, np.random.default_rng(0), **options)


def told(made, curves, **fields):
    for number, values in enumerate(curves):
        made.tell(trial(number, list(values), **fields), np.random.default_rng(0))
    return made


def stopping(made, budget=None):
    fixed = made.stopping(Proposal({"x": 0.5}, budget=budget), 0)
    return fixed if fixed is None else json.loads(json.dumps(fixed))


def stops_at(fixed, values, steps=None):
    points = [[step, value] for step, value in zip(steps or range(1, len(values) + 1), values, strict=True)]
    return next((count for count in range(1, len(points) + 1) if Median.stop(fixed, points[:count])), None)


@pytest.mark.parametrize("goal", ["max", "min"])
def test_stops_where_the_best_so_far_is_worse_than_the_median_of_others_at_the_same_step(goal):
    rng, sign = np.random.default_rng(0), 1 if goal == "max" else -1
    others, stopped = rng.random((9, 12)), 0
    fixed = stopping(told(rule(goal), sign * others))
    for values in rng.random((200, 12)) ** 2:
        worse = np.maximum.accumulate(values) < np.median(others, axis=0)
        judged = [step for step in range(2, 12) if worse[step - 1]]
        assert stops_at(fixed, list(sign * values)) == (judged[0] if judged else None)
        stopped += bool(judged)
    assert 20 < stopped < 190


@pytest.mark.parametrize("quantile", [0.1, 0.25, 0.8])
@pytest.mark.parametrize("goal", ["max", "min"])
def test_a_quantile_in_place_of_the_median(goal, quantile):
    """numpy's quantile of the others, those that are worse counted first."""
    rng, sign = np.random.default_rng(1), 1 if goal == "max" else -1
    others = rng.random((12, 3))
    fixed = stopping(told(rule(goal, quantile=quantile, warmup=0), sign * others))
    bar = np.quantile(others[:, 0], quantile)
    assert stops_at(fixed, [sign * (bar - 1e-6)] * 3) == 1
    assert stops_at(fixed, [sign * (bar + 1e-6), sign * 2.0, sign * 2.0]) is None


def test_an_even_number_of_others():
    fixed = stopping(told(rule(startup=2), [[0.2] * 4, [0.4] * 4]))
    assert stops_at(fixed, [0.29] * 4) == 2 and stops_at(fixed, [0.31] * 4) is None


def test_nothing_is_stopped_before_enough_whole_curves_of_the_budget_are_told():
    made = told(rule(startup=3), [[0.9] * 5] * 2)
    assert stopping(made) is None
    assert stopping(told(made, [[0.9] * 5])) is not None
    assert stopping(made, budget=3.0) is None


def test_the_first_points_and_the_last_one_are_never_judged():
    fixed = stopping(told(rule(warmup=3), [[0.9] * 5] * 5))
    assert stops_at(fixed, [0.1] * 5) == 4
    fixed = stopping(told(rule(warmup=4), [[0.9] * 5] * 5))
    assert stops_at(fixed, [0.1] * 5) is None


def test_other_steps_than_those_of_the_others():
    fixed = stopping(told(rule(warmup=0), [[0.1, 0.5, 0.9]] * 5, steps=[10, 20, 30]))
    assert stops_at(fixed, [0.05, 0.3, 0.3], steps=[5, 15, 25]) == 3
    assert stops_at(fixed, [0.05], steps=[5]) is None


def test_several_objectives_are_refused():
    target = Target(Space(Real("x", 0.0, 1.0)), (Objective("score"), Objective("cost", "min")), {}, None, None)
    with pytest.raises(ValueError, match="the median rule judges curves of score alone, and cost is another"):
        Median(target, np.random.default_rng(0))
