"""MnasNet's product against the properties of its specification.

Left out: what concerns its space (layers, channels, skips, block strings, sizes) and its cost formulas, which belong to
the task; the Pareto filter is tested in tests/test_fronts.py.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_ext.mistakes import ConfigError
from automl_ext.objective import Objective
from automl_ext.rewards.product import MnasNetHard, MnasNetSoft

BOTH = (Objective("acc"), Objective("lat_ms", "min"))
SHARE, COST = st.floats(0.01, 1.0), st.floats(0.01, 1000.0)


def soft(acc: float, lat: float, target: float = 75.0, **options) -> float:
    return MnasNetSoft("lat_ms", target, **options).over(BOTH).value({"acc": acc, "lat_ms": lat})


def hard(acc: float, lat: float, target: float = 75.0, **options) -> float:
    return MnasNetHard("lat_ms", target, **options).over(BOTH).value({"acc": acc, "lat_ms": lat})


@given(SHARE, COST, st.floats(-10, 0))
def test_at_the_target_the_reward_is_the_accuracy(acc, target, exponent):
    """ "R(T)=ACC for every w"."""
    for reward in (soft, hard):
        assert reward(acc, target, target, exponent=exponent) == pytest.approx(acc)


def test_soft_and_hard_at_half_and_twice_the_target():
    """ "soft: R at 2T = 0.9526*ACC, at T/2 = 1.0497*ACC; hard: at T/2 = ACC, at 2T = ACC/2"."""
    assert soft(0.7, 150.0) == pytest.approx(0.9526 * 0.7, rel=1e-4)
    assert soft(0.7, 37.5) == pytest.approx(1.0497 * 0.7, rel=1e-4)
    assert hard(0.7, 37.5) == 0.7 and hard(0.7, 150.0) == pytest.approx(0.35)


@given(SHARE, SHARE, COST, COST)
def test_the_reward_is_monotone(one, two, short, long):
    """ "Reward is monotone: rising in ACC, non-increasing in LAT"."""
    for reward in (soft, hard):
        assert reward(min(one, two), short) <= reward(max(one, two), short)
        assert reward(one, min(short, long)) >= reward(one, max(short, long))
        if one > two * 1.001:
            assert reward(one, short) > reward(two, short)


def test_the_indifference_rule():
    """ "1.05 * 2^-0.07 = 1.0003 (the indifference rule)"."""
    assert soft(1.05, 150.0) == pytest.approx(1.0003, rel=1e-4)


def test_a_net_ten_times_faster_gains_17_percent():
    """The specification's pitfall: "With w=-0.07 a net 10x faster gains only 17%"."""
    assert soft(0.5, 7.5) / 0.5 == pytest.approx(1.17, abs=0.005)


def test_a_cost_of_zero_and_a_negative_quality_have_no_reward():
    with pytest.raises(ArithmeticError):
        soft(0.5, 0.0)
    with pytest.raises(ValueError, match=r"acc is -0\.5"):
        hard(-0.5, 1.0)
    assert hard(0.5, 0.0) == 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cost": "lat"}, "reward.cost: unknown objective 'lat'; did you mean 'lat_ms'? (legal: acc, lat_ms)"),
        ({"cost": "acc"}, "reward.cost: acc is maximised by the target; it takes one that is minimised"),
        ({"cost": "lat_ms", "quality": "lat_ms"}, "reward.quality: lat_ms is minimised by the target; it takes one"),
    ],
)
def test_names_are_checked_against_the_target(options, words):
    for kind in (MnasNetSoft, MnasNetHard):
        with pytest.raises(ConfigError) as caught:
            kind(target=1.0, **options).over(BOTH)
        assert words in str(caught.value)


def test_the_primary_objective_is_the_quality_unless_another_is_named():
    three = (*BOTH, Objective("iou"))
    metrics = {"acc": 0.5, "lat_ms": 4.0, "iou": 0.9}
    assert MnasNetHard("lat_ms", 2.0).over(three).value(metrics) == 0.25
    rule = MnasNetHard("lat_ms", 2.0, "iou").over(three)
    assert rule.value(metrics) == 0.45 and rule.uses == ("iou", "lat_ms")
