"""Standings: dominance by its definition, Deb's rule for limits, failures behind all."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from automl_ext.evolution.standing import Standing
from automl_ext.objective import Objective

OBJECTIVES = (Objective("score"), Objective("cost", "min"), Objective("macs_m", "min", limit=3.0))


def test_objectives_are_all_to_maximise_and_limits_are_violations():
    assert Standing.of({"score": 0.5, "cost": 2.0, "macs_m": 2.5}, OBJECTIVES) == Standing(0.0, (0.5, -2.0, -2.5))
    assert Standing.of({"score": 0.5, "cost": 2.0, "macs_m": 4.5}, OBJECTIVES) == Standing(1.5, (0.5, -2.0, -4.5))


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
def test_what_failed_or_is_not_finite_stands_behind_all(score):
    bad = None if score is None else {"score": score, "cost": 0.0, "macs_m": 0.0}
    failed, poor = Standing.of(bad, OBJECTIVES), Standing.of({"score": -9.0, "cost": 9.0, "macs_m": 99.0}, OBJECTIVES)
    assert failed.failed and not poor.failed
    assert all(math.isfinite(value) for value in failed.values)
    assert poor.dominates(failed) and not failed.dominates(poor) and not failed.dominates(failed)


def test_dominance_is_better_in_one_and_worse_in_none():
    """a dominates b iff a_i <= b_i for all i and a_i < b_i for some i."""
    points = [Standing(0.0, point) for point in itertools.product((0.0, 1.0, 2.0), repeat=2)]
    for one, two in itertools.product(points, repeat=2):
        better = np.array(one.values) - np.array(two.values)
        assert one.dominates(two) == ((better >= 0).all() and (better > 0).any())


def test_feasible_first_then_the_smaller_violation():
    fine, near, far = Standing(0.0, (0.0, 0.0)), Standing(0.1, (9.0, 9.0)), Standing(2.0, (99.0, 99.0))
    assert fine.dominates(near) and near.dominates(far) and fine.dominates(far)
    assert not near.dominates(fine) and not far.dominates(near)
    assert Standing(0.1, (9.1, 9.0)).dominates(near)
