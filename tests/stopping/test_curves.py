"""Frames and told curves: both directions of the objective, budgets, limits, what counts as whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from targets import reported as trial

from automl_ext import Objective
from automl_ext.stopping.curves import Frame, Told


@pytest.mark.parametrize(("worst", "best"), [(0.1, 0.9), (2.5, 0.3), (0.3, 7.0)], ids=["accuracy", "loss", "score"])
def test_values_map_to_rising_ones_and_back(worst, best):
    frame = Frame(1, 20, 20, worst, best)
    values = np.linspace(worst, best, 7)
    y = frame.y(values)
    assert y[0] == pytest.approx(0.1) and y[-1] == pytest.approx(0.9) and (np.diff(y) > 0).all()
    assert [frame.value(one) for one in y] == pytest.approx(list(values))
    assert frame.y([worst - 100 * (best - worst)])[0] == 0.0


@pytest.mark.parametrize(("first", "last", "points"), [(1, 20, 20), (0, 19, 20), (200, 10_000, 50), (0.5, 4, 8)])
def test_steps_map_to_numbers_of_points(first, last, points):
    frame = Frame(first, last, points, 0.1, 0.9)
    assert frame.x(np.linspace(first, last, points)) == pytest.approx(np.arange(1, points + 1))
    assert frame.x([first - 10])[0] == 1.0
    assert frame.ends(last) and not frame.ends(last - 1e-6)


def test_a_frame_survives_json():
    frame = Frame(1.0, 9.0, 9, 2.5, 0.3)
    assert Frame.from_json(json.loads(json.dumps(frame.to_json()))) == frame


@pytest.mark.parametrize("sign", [1, -1], ids=["max", "min"])
def test_a_frame_goes_from_the_median_start_to_the_best_value(sign):
    told = Told((Objective("score", "max" if sign > 0 else "min"),))
    for number, (start, top, end) in enumerate([(0.1, 0.5, 0.4), (0.2, 0.6, 0.6), (0.3, 0.8, 0.5)]):
        assert told.add(trial(number, [sign * start, sign * top, sign * end]))
    frame = told.frame(None)
    assert (frame.worst, frame.best) == (sign * 0.2, sign * 0.8)
    assert (frame.first, frame.last, frame.points) == (1, 3, 3)
    assert told.bar(None) == sign * 0.6 and told.count(None) == 3


def test_only_whole_curves_count():
    told = Told((Objective("score"),))
    assert not told.add(trial(0, [0.1, 0.9], metrics={}))
    assert not told.add(trial(1, [0.1, 0.9], origin="stopped"))
    assert not told.add(trial(2, [0.1, 0.9], origin="cached"))
    assert not told.add(trial(3, [0.9]))
    assert told.frame(None) is None and told.bar(None) is None and told.count(None) == 0


def test_budgets_are_kept_apart():
    told = Told((Objective("score"),))
    told.add(trial(0, [0.1, 0.9], budget=2))
    told.add(trial(1, [0.1, 0.2, 0.3, 0.4], budget=4))
    assert (told.bar(2), told.bar(4), told.bar(None)) == (0.9, 0.4, None)
    assert (told.last(2), told.last(4)) == (2, 4)


def test_the_value_to_beat_keeps_the_limits():
    told = Told((Objective("score"), Objective("cost", "min", limit=1.0)))
    told.add(trial(0, [0.1, 0.9], metrics={"score": 0.9, "cost": 2.0}))
    assert told.bar(None) is None
    told.add(trial(1, [0.1, 0.5], metrics={"score": 0.5, "cost": 1.0}))
    assert told.bar(None) == 0.5


def test_curves_that_never_get_better_give_no_frame():
    told = Told((Objective("score"),))
    told.add(trial(0, [0.5, 0.4, 0.3]))
    assert told.frame(None) is None
