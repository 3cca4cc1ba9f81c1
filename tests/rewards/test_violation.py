"""RENA's violation product against the properties of its specification.

Left out: FLOPs, parameters, bytes, edits, embeddings and masks, which belong to RENA's environment, and the policy that
"ends with networks near S": here the best candidate on such a target lies there, whoever finds it.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_ext.mistakes import ConfigError
from automl_ext.objective import Objective
from automl_ext.rewards.violation import Rena, violation

THREE = (Objective("acc"), Objective("params_m", "min"), Objective("intensity"))
BOUNDS = {"params_m": 3.0, "intensity": 100.0}


def reward(acc: float, params: float, intensity: float, bounds=BOUNDS, **options) -> float:
    return Rena(bounds, **options).over(THREE).value({"acc": acc, "params_m": params, "intensity": intensity})


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_violation_is_zero_exactly_where_the_constraint_holds(use, bound):
    """ "V = 0 exactly when the constraint holds"."""
    assert (violation(use, bound, True) == 0) == (use / bound <= 1)
    assert (violation(use, bound, False) == 0) == (bound / use <= 1)


def test_violation_of_twice_and_half():
    """ "V = 1 for U = 2C (upper) and U = C/2 (lower)"."""
    assert violation(6.0, 3.0, True) == 1.0 and violation(50.0, 100.0, False) == 1.0
    assert violation(0.0, 100.0, False) == np.inf


@given(st.floats(0, 1), st.floats(0.01, 30), st.floats(1, 1000))
def test_the_reward_is_at_most_the_performance(acc, params, intensity):
    """ "R <= P; equality iff no violation"."""
    got = reward(acc, params, intensity)
    assert got <= acc
    kept = params / 3.0 <= 1 and 100.0 / intensity <= 1
    assert got == acc if kept else got < acc or acc == 0 or params < 3.0000001 or intensity > 99.99999


@given(st.floats(0.1, 1), st.floats(3.0, 30), st.floats(3.0, 30))
def test_the_reward_falls_with_the_violation(acc, one, two):
    """ "R monotone decreasing in V"."""
    assert reward(acc, min(one, two), 200.0) >= reward(acc, max(one, two), 200.0)
    assert reward(acc, 6.0, 200.0) == pytest.approx(acc * 0.1) and reward(acc, 6.0, 50.0) == pytest.approx(acc * 0.01)


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_base_of_one_disables_the_constraints(acc, params, intensity):
    """ "p=1 disables constraints"."""
    assert reward(acc, params, intensity, base=1.0) == acc


def test_the_best_width_lies_near_the_bound():
    """ "On a synthetic reward (accuracy increasing with width, size bound at S) ... violation below 5 %"."""
    widths = np.arange(1, 200)
    rewards = [reward(1 - np.exp(-width / 50), width / 10, 200.0) for width in widths]
    best = widths[int(np.argmax(rewards))] / 10
    assert best >= 2.9 and violation(best, 3.0, True) < 0.05


def test_bounds_name_objectives_of_the_target():
    with pytest.raises(ConfigError, match=r"reward.bounds.params: unknown objective 'params'; did you mean 'params_m'"):
        Rena({"params": 3.0}).over(THREE)
    with pytest.raises(ConfigError, match=r"reward\.bounds: is empty"):
        Rena({}).over(THREE)
    with pytest.raises(ConfigError, match=r"reward\.quality: params_m is minimised"):
        Rena(BOUNDS, "params_m").over(THREE)
    assert Rena(BOUNDS).over(THREE).uses == ("acc", "params_m", "intensity")
