"""Weighted sums: by hand, in the right direction, and only what a line can touch is ever best."""

from __future__ import annotations

import numpy as np
import pytest

from automl_ext.mistakes import ConfigError
from automl_ext.objective import Objective
from automl_ext.rewards.weighted import WeightedSum

BOTH = (Objective("acc"), Objective("lat_ms", "min"))


def test_a_sum_by_hand():
    rule = WeightedSum({"acc": 2.0, "lat_ms": 0.1}).over(BOTH)
    assert rule.value({"acc": 0.5, "lat_ms": 3.0}) == pytest.approx(0.7) and rule.uses == ("acc", "lat_ms")
    assert WeightedSum({"lat_ms": 1.0}).over(BOTH).value({"acc": 0.5, "lat_ms": 3.0}) == -3.0


def test_on_a_hollow_front_only_the_ends_are_best():
    """Costs (x, sqrt(1 - x^2)): a quarter circle bulging away from the ideal point."""
    turns = np.linspace(0, np.pi / 2, 101)
    points = [{"acc": -float(np.cos(turn)), "lat_ms": float(np.sin(turn))} for turn in turns]
    for weight in np.linspace(0.05, 4, 30):
        rule = WeightedSum({"acc": 1.0, "lat_ms": float(weight)}).over(BOTH)
        assert int(np.argmax([rule.value(point) for point in points])) in (0, 100)


def test_weights_name_objectives_and_weigh_something():
    with pytest.raises(ConfigError, match=r"reward.weights.lat: unknown objective 'lat'"):
        WeightedSum({"lat": 1.0}).over(BOTH)
    for nothing in ({}, {"acc": 0.0}):
        with pytest.raises(ConfigError, match=r"reward\.weights: needs at least one"):
            WeightedSum(nothing).over(BOTH)
