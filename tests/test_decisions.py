"""Decisions: one repair rule, the unit interval, narrowing, errors that name path and legal values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_ext.decisions import Choice, Integer, Real, SpaceError, narrowed

INTEGERS = st.builds(
    lambda low, span, step, log: Integer("n", low, low + span, step, log and low >= 1),
    st.integers(-50, 50), st.integers(0, 200), st.integers(1, 9), st.booleans(),
)  # fmt: skip
REALS = st.builds(
    lambda low, span, log: Real("x", low, low + span, log and low > 0),
    st.floats(-10, 10), st.floats(0.001, 100), st.booleans(),
)  # fmt: skip


@given(INTEGERS, st.floats(-500, 500))
def test_an_integer_goes_to_the_nearest_grid_point(decision, value):
    grid = range(decision.low, decision.high + 1, decision.step)
    realised = decision.nearest(value)
    assert realised in decision and realised in grid
    assert abs(realised - value) <= min(abs(point - value) for point in grid) + 1e-9


@given(REALS, st.floats(-500, 500))
def test_a_real_goes_to_the_nearest_end(decision, value):
    assert decision.nearest(value) == min(max(value, decision.low), decision.high)


@pytest.mark.slow
@given(INTEGERS | REALS, st.floats(0, 1))
def test_units_and_values_go_back_and_forth(decision, unit):
    value = decision.from_unit(unit)
    assert value in decision
    again = decision.from_unit(decision.to_unit(value))
    assert math.isclose(again, value, rel_tol=1e-6, abs_tol=1e-6)


@given(INTEGERS)
def test_a_narrowed_integer_stays_on_the_grid(decision):
    middle = (decision.low + decision.high) / 2
    try:
        inside = decision.within(decision.low, middle)
    except SpaceError:
        pytest.fail("the lower end is always legal")
    assert inside.low in decision and inside.high in decision and inside.high <= middle


def test_a_choice_goes_to_the_nearest_position_of_what_is_left():
    choice = Choice("op", ["a", "b", "c", "d", "e"]).keep(["a", "e"])
    assert [choice.nearest(value) for value in "abcde"] == ["a", "a", "a", "e", "e"]


def test_booleans_ones_and_floats_are_different_values():
    assert True not in Choice("x", [1, 2]) and 1 in Choice("x", [1, 2]) and 1.0 not in Choice("x", [1, 2])
    assert True not in Integer("x", 0, 2) and 1.0 not in Integer("x", 0, 2)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Choice("a", []), "a: a choice needs at least one option"),
        (lambda: Choice("a", [1, True]), "stands twice"),
        (lambda: Choice("a", [[1]]), r"\[1\] is no JSON scalar"),
        (lambda: Choice("a", [1.0, math.nan]), "option nan is no JSON scalar"),
        (lambda: Choice("a", [math.inf]), "option inf is no JSON scalar"),
        (lambda: Choice("a", list(np.linspace(0, 1, 3))), "is no JSON scalar"),
        (lambda: Choice("a", ["x"], refers={"y": "b"}), "'y' is no option; legal: one of 'x'"),
        (lambda: Choice("a/b", ["x"]), "a decision's name is text without '/'"),
        (lambda: Integer("n", 5, 1), "n: needs step >= 1, low <= high"),
        (lambda: Integer("n", 0, 8, log=True), "low >= 1 where log"),
        (lambda: Integer("n", 0, 1.5), "whole numbers, not 1.5"),
        (lambda: Real("x", 0.0, math.inf), "finite numbers, not inf"),
        (lambda: Real("x", 0.0, 1.0, log=True), "low > 0 where log"),
        (lambda: Integer("n", 1, 4).nearest("two"), "n: 'two' is no finite number; legal: 1 to 4"),
        (lambda: Integer("n", 1, 4).nearest(math.nan), "nan is no finite number"),
        (lambda: Integer("n", 1, 9, 4).within(2, 4), "nothing legal between 2 and 4; legal: 1 to 9 in steps of 4"),
        (lambda: Choice("a", ["x", "y"]).keep(["z"]), "a: nothing legal is left of one of 'x', 'y'"),
        (lambda: Choice("a", ["x", "y"]).nearest("z"), "a: 'z' is not legal; legal: one of 'x', 'y'"),
    ],
)
def test_errors_name_the_decision_and_what_is_legal(build, said):
    with pytest.raises(SpaceError, match=said):
        build()


@pytest.mark.parametrize(
    ("declared", "wider"),
    [
        (Integer("n", 0, 10, 2), Integer("n", 1, 9, 2)),
        (Integer("n", 0, 10), Integer("n", 0, 11)),
        (Real("x", 0.0, 1.0), Real("x", -0.1, 1.0)),
        (Choice("c", ["a", "b"]), Choice("c", ["a", "c"])),
        (Choice("c", ["a", "b"]), Integer("c", 0, 1)),
    ],
)
def test_narrow_may_only_shrink(declared, wider):
    with pytest.raises(SpaceError, match="path: narrow may only shrink"):
        narrowed("path", declared, wider)


@given(st.integers(0, 2**62), st.integers(1, 1000))
def test_huge_integers_stay_exact(value, step):
    decision = Integer("n", 0, 2**62, step)
    legal = min(value - value % step, decision.high)
    assert decision.nearest(legal) == legal and decision.within(0, 2**62).high == decision.high


@given(INTEGERS, st.floats(-300, 300) | st.integers(-300, 300), st.floats(-300, 300) | st.just(math.inf))
def test_within_keeps_exactly_the_grid_points_inside(decision, low, high):
    inside = [p for p in range(decision.low, decision.high + 1, decision.step) if low - 1e-9 <= p <= high + 1e-9]
    if not inside:
        with pytest.raises(SpaceError, match="nothing legal between"):
            decision.within(low, high)
        return
    kept = decision.within(low, high)
    assert list(range(kept.low, kept.high + 1, kept.step)) == inside


def test_a_sample_of_a_log_decision_is_even_in_the_logarithm():
    rng = np.random.default_rng(0)
    values = np.array([Real("x", 1e-4, 1.0, log=True).sample(rng) for _ in range(4000)])
    assert abs((values < 1e-2).mean() - 0.5) < 0.03
