"""Names beside points, and axes that spread points out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from automl_ext.report.drawing import canvas, inline
from automl_ext.report.placing import annotate, spread_out


def boxes(points, names):
    with canvas("crowd") as (_, axes):
        axes.plot(*points.T, "o")
        annotate(axes, names, points)
        marks = axes.transData.transform(points)
        return [note.get_window_extent() for note in axes.texts], marks, axes.bbox


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_names_of_crowded_points_cover_neither_each_other_nor_another_point(seed):
    rng = np.random.default_rng(seed)
    points = np.array([[0.0, 0.0], [1.0, 1.0], *rng.uniform(0.4, 0.6, (3, 2))])
    notes, marks, inside = boxes(points, ["plain", "aspp-dense", "pyramid-pooling", "trial-93", "dpc"])
    assert not any(one.overlaps(other) for one, other in combinations(notes, 2))
    for place, note in enumerate(notes):
        assert not any(note.contains(*mark) for index, mark in enumerate(marks) if index != place)
        assert inside.x0 <= note.x0 and note.x1 <= inside.x1 and inside.y0 <= note.y0 and note.y1 <= inside.y1


@pytest.mark.slow
def test_a_name_stands_to_the_right_above_where_it_is_free():
    (note,), (mark,), _ = boxes(np.array([[1.0, 2.0]]), ["alone"])
    assert note.x0 > mark[0] and note.y0 > mark[1]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 9], "linear"), ([1, 10], "log"), ([0, 10], "linear"), ([-5, 10], "linear"), ([1e-3, 1e5], "log")],
)
def test_the_axis_is_logarithmic_for_positive_values_over_a_decade(values, scale):
    with canvas("spread") as (figure, axes):
        axes.plot(values, [1, 2], "o")
        spread_out(axes, np.array(values, float))
        assert axes.get_xscale() == scale
        assert "mathdefault" not in inline(figure, "spread", "")
