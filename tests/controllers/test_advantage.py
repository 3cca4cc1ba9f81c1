"""Advantages: the baseline's properties in the specifications of NAS-RL, NASNet and ENAS, each quoted."""

from __future__ import annotations

import math

import numpy as np

from automl_ext.controllers.advantage import Advantage


def test_the_moving_average():
    """EMA baseline after rewards 1,1 from 0: 0.05 then 0.0975 (weight 0.95 on the old value).
    Baseline update b <- b - (1-d)(b - R)."""
    advantage = Advantage(0.95)
    means = []
    for _ in range(2):
        advantage.of(1.0)
        means.append(advantage.mean)
        assert np.isclose(advantage.baseline, 1.0)
    assert np.allclose(means, [0.05, 0.0975])
    before = advantage.mean
    advantage.of(3.0)
    assert np.isclose(advantage.mean, before - 0.05 * (before - 3.0))


def test_one_outlier_does_not_make_all_that_follow_look_good():
    """A reward more than three spreads away counts as one that far away."""
    advantage, rng = Advantage(0.9), np.random.default_rng(0)
    for value in rng.normal(90, 1, size=40):
        advantage.of(float(value))
    before = advantage.baseline
    assert advantage.of(10.0) < -2 and advantage.baseline > before - 0.5
    found = [advantage.of(float(value)) for value in rng.normal(90, 1, size=20)]
    assert 5 <= sum(value > 0 for value in found) <= 15


def test_constant_rewards_give_no_advantage():
    """Baseline: constant rewards -> advantage tends to 0."""
    for value in (0.0, 0.3, -1e6):
        advantage = Advantage(0.9)
        assert [advantage.of(value) for _ in range(9)] == [0.0] * 9


def test_the_baseline_uses_only_past_rewards():
    """b uses only past rewards: the advantage's sign is that of the reward against the average before it."""
    advantage, rng = Advantage(0.9), np.random.default_rng(0)
    for value in rng.normal(size=50):
        before, seen = advantage.baseline, advantage.seen
        found = advantage.of(float(value))
        assert math.copysign(1, found) == math.copysign(1, value - before) or not seen


def test_advantages_do_not_depend_on_the_rewards_scale():
    values = np.random.default_rng(0).normal(size=30)
    one, other = Advantage(0.9), Advantage(0.9)
    assert np.allclose([one.of(v) for v in values], [other.of(1000 * v + 7) for v in values])


def test_what_is_not_finite_counts_as_the_worst_so_far():
    advantage, other = Advantage(0.9), Advantage(0.9)
    assert advantage.of(-math.inf) is None and advantage.of(math.nan) is None
    assert [advantage.of(v) for v in (2.0, 1.0, math.nan, -math.inf)] == [other.of(v) for v in (2.0, 1.0, 1.0, 1.0)]
