"""Fronts, hypervolume and attainment against brute force, Monte Carlo, areas by hand and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_ext.fronts import (
    Archive,
    Frame,
    attainment,
    best_first,
    costs,
    frame,
    growth,
    hypervolumes,
    nondominated,
    reference_point,
)
from automl_ext.objective import Objective, front, traded

BOTH = (Objective("good"), Objective("cost", "min"))
LIMITED = (*BOTH, Objective("size", "min", limit=5.0))
GRID = st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=15)


def dominates(left, right) -> bool:
    return all(x <= y for x, y in zip(left, right, strict=True)) and tuple(left) != tuple(right)


def results(points):
    return [{"good": float(a), "cost": float(b), "size": float(c)} for a, b, c in points]


def test_what_is_traded():
    assert traded(LIMITED) == BOTH
    assert traded((Objective("a", limit=0.5), Objective("b", limit=1.0))) == (Objective("a", limit=0.5),)


@given(GRID)
def test_the_front_by_brute_force_equal_points_stay(points):
    """The specification of MnasNet: "Pareto filter: brute-force check on random (acc, lat) sets"."""
    array = np.array(points, dtype=float).reshape(len(points), 3)
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert nondominated(array).tolist() == expected
    three = (*BOTH, Objective("size"))
    flipped = [(-a, b, -c) for a, b, c in points]
    assert front(results(flipped), three) == list(np.flatnonzero(expected))


@pytest.mark.slow
@given(GRID)
def test_an_archive_ends_with_the_front_of_what_keeps_the_limits(points):
    archive = Archive(LIMITED)
    for number, metrics in enumerate(results(points)):
        archive.add(number, metrics)
    kept = [index for index, point in enumerate(points) if point[2] <= 5.0]
    expected = [kept[place] for place in front([results(points)[index] for index in kept], BOTH)]
    assert archive.numbers == expected
    alone = Archive(LIMITED[:1])
    alone.add(0, {"good": 1.0})
    assert alone.numbers == []


def test_an_archive_is_of_the_largest_budget():
    archive = Archive(BOTH)
    for number, (good, budget) in enumerate([(0.9, 1.0), (0.5, 3.0), (0.8, 1.0), (0.4, 3.0)]):
        archive.add(number, {"good": good, "cost": 1.0 - number / 10}, budget)
    assert archive.numbers == [1, 3]
    archive.add(4, {"good": 0.1, "cost": 9.0})
    archive.add(5, {"good": 0.9, "cost": 0.0}, 3.0)
    assert archive.numbers == [4]


# ---------------------------------------------------------------- hypervolume


def test_hypervolume_is_an_area_of_the_box():
    wide = costs([{"good": g, "cost": c} for g, c in [(10.0, 4.0), (0.0, 0.0), (0.0, 3.0)]], BOTH)
    point, none = wide[:1], wide[:0]
    box = frame([wide, point, none])
    assert box.ideal.tolist() == [-10.0, 0.0] and box.reference == pytest.approx([1.0, 4.4])
    assert box.hypervolume(point) == pytest.approx(1.1 * 0.1 / 1.21)
    assert box.hypervolume(wide) == pytest.approx((1.1 * 0.1 + 0.1 * 1.1 - 0.1 * 0.1) / 1.21)
    assert box.hypervolume(none) == 0.0 and frame([none]) is None
    raw = np.array([[10.0, 4.0], [0.0, 0.0]])
    assert hypervolumes([raw, raw[:1], raw[:0]], BOTH) == [box.hypervolume(each) for each in (wide, point, none)]


@given(GRID.filter(len))
def test_hypervolume_by_counting_cells(points):
    """On whole numbers below a reference of 6 the dominated part of the box is a number of unit cells."""
    array = np.array(points, dtype=float)
    box = Frame(np.zeros(3), np.full(3, 6.0))
    cells = sum(any(dominates_cell(point, cell) for point in points) for cell in itertools.product(range(6), repeat=3))
    assert box.hypervolume(array) == pytest.approx(cells / 216)


def dominates_cell(point, cell) -> bool:
    return all(x <= y for x, y in zip(point, cell, strict=True))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_hypervolume_by_monte_carlo(size):
    rng = np.random.default_rng(size)
    points, samples = rng.random((12, size)), rng.random((100_000, size)) * 1.2
    hit = (points[None, :, :] <= samples[:, None, :]).all(axis=2).any(axis=1)
    exact = Frame(np.zeros(size), np.full(size, 1.2)).hypervolume(points)
    assert exact == pytest.approx(hit.mean(), abs=4 * np.sqrt(exact * (1 - exact) / len(samples)))


def test_a_reference_point_of_ones_own():
    points = costs([{"good": 0.8, "cost": 2.0}, {"good": 0.9, "cost": 30.0}], BOTH)
    box = frame([points], reference_point({"good": 0.5, "cost": 10.0}, BOTH))
    assert box.reference.tolist() == [-0.5, 10.0]
    assert box.hypervolume(points) == pytest.approx((0.8 - 0.5) / (0.9 - 0.5))  # the second costs more than it allows
    assert frame([points], reference_point({"good": 0.95, "cost": 10.0}, BOTH)).hypervolume(points) == 0.0
    with pytest.raises(ValueError, match="cost is missing"):
        reference_point({"good": 0.5}, BOTH)
    with pytest.raises(ValueError, match="speed is no objective"):
        reference_point({"good": 0.5, "cost": 1.0, "speed": 2.0}, BOTH)


def test_equal_values_still_have_a_box():
    box = frame([np.array([[1.0, 2.0], [1.0, 2.0]])])
    assert box.hypervolume(np.array([[1.0, 2.0]])) == 1.0 and box.hypervolume(np.array([[1.5, 2.0]])) == 0.5


@given(GRID.filter(len), st.integers(1, 20))
def test_growth_is_the_hypervolume_of_every_beginning(points, most):
    array = np.array(points, dtype=float)
    array[array[:, 2] == 3.0] = np.nan
    box = Frame(np.zeros(3), np.full(3, 6.0))
    exact = [
        box.hypervolume(begun[np.isfinite(begun).all(axis=1)]) for begun in (array[: i + 1] for i in range(len(array)))
    ]
    assert growth(array, box).tolist() == pytest.approx(exact)
    rough = growth(array, box, most)
    assert (
        len(set(rough)) <= most + 1
        and rough[-1] == pytest.approx(exact[-1])
        and (rough <= np.array(exact) + 1e-12).all()
    )


# ---------------------------------------------------------------- attainment


@pytest.mark.slow
@given(st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5), min_size=1, max_size=6))
def test_attainment_by_counting_runs(clouds):
    """A place is attained by a run with a point that is nowhere worse; the corners bound what enough runs attain."""
    arrays = [np.array(cloud, dtype=float).reshape(len(cloud), 2) for cloud in clouds]
    for percent in (25, 50, 75):
        corners = attainment(arrays, percent)
        assert (np.diff(corners[:, 0]) > 0).all() and (np.diff(corners[:, 1]) < 0).all()
        needed = max(1, int(np.ceil(len(clouds) * percent / 100)))
        for place in itertools.product(range(7), repeat=2):
            runs = sum(any(dominates_cell(point, place) for point in cloud) for cloud in clouds)
            assert any(dominates_cell(corner, place) for corner in corners) == (runs >= needed)


# ---------------------------------------------------------------- who is best


def test_one_traded_objective_goes_by_rank():
    """A limit is a constraint: less of it is no reason to be chosen."""
    limited = (Objective("good"), Objective("size", "min", limit=5.0))
    found = [{"good": 1.0, "size": 1.0}, {"good": 3.0, "size": 6.0}, None, {"good": 2.0, "size": 5.0}]
    assert best_first(found, limited, 4) == [3, 0, 1, 2] and best_first(found, limited, 1) == [3]


@given(GRID, st.integers(1, 8))
def test_several_go_front_by_front_and_the_primarys_best_leads(points, count):
    found = [None if point == (0, 0, 0) else metrics for point, metrics in zip(points, results(points), strict=True)]
    chosen = best_first(found, LIMITED, count)
    assert len(chosen) == min(count, len(found)) == len(set(chosen))
    kept = [index for index, one in enumerate(found) if one and one["size"] <= 5]
    if kept:
        assert found[chosen[0]]["good"] == max(found[index]["good"] for index in kept)
    inside = [index for index in chosen if index in kept]
    assert chosen[: len(inside)] == inside and len(inside) == min(len(kept), count)
    for index in inside:
        beaten_by = [other for other in kept if dominates(tuple(costs([found[other]], BOTH)[0]),
                                                          tuple(costs([found[index]], BOTH)[0]))]  # fmt: skip
        assert set(beaten_by) <= set(inside)


def test_a_large_front_is_thinned_evenly():
    """Of 101 points on a line the best of the primary objective, then those that cover most."""
    line = [{"good": float(x), "cost": float(x)} for x in range(101)]
    chosen = best_first(line, BOTH, 5)
    assert chosen[0] == 100
    gaps = np.diff(sorted(chosen))
    assert gaps.min() >= 12 and min(chosen) <= 30
    covered = costs([line[index] for index in chosen], BOTH)
    box = frame([costs(line, BOTH)])
    rng = np.random.default_rng(0)
    random = [box.hypervolume(costs([line[i] for i in rng.permutation(101)[:5]], BOTH)) for _ in range(200)]
    assert box.hypervolume(covered) > np.quantile(random, 0.95)
