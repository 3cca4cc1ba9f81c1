"""Densities of the cheap objectives: the properties that LEMONADE's specification lists, each quoted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from automl_ext.evolution.density import loneliness, lottery, shares


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_shares_are_probabilities_inverse_to_the_density():
    """Probabilities: sum 1; ordering inverse to density."""
    rng = np.random.default_rng(0)
    points, places = rng.normal(size=(30, 2)), rng.normal(size=(12, 2))
    spread = points.std(axis=0)
    gaps = (places[:, None] - points) / spread / 30 ** (-1 / 6)
    density = np.exp(-0.5 * (gaps**2).sum(axis=2)).sum(axis=1)
    chances = shares(loneliness(places, points))
    assert np.isclose(chances.sum(), 1) and np.allclose(chances, 1 / density / (1 / density).sum())


def test_the_isolated_one_gets_more_than_any_clustered_one():
    """For cheap values {0, 0, 0, 10} the isolated one gets more than any clustered one."""
    points = column(0, 0, 0, 10)
    chances = shares(loneliness(points, points))
    assert np.isclose(chances.sum(), 1) and all(chances[3] > 2 * chances[:3])


def test_two_distant_groups_get_half_each():
    """The group of 3 with density 3d gets 3/(3d), the single 1/d: each side 1/2."""
    points = column(*[0.0] * 300, *[1.0] * 100)
    chances = shares(loneliness(points, points))
    assert abs(chances[300:].sum() - 0.5) < 0.02


@pytest.mark.parametrize(
    "points", [column(5.0), column(5.0, 5.0, 5.0), np.zeros((4, 0)), np.tile([1.0, -3.0], (6, 1)), column(1e9, 1e9)]
)
def test_a_density_of_nothing_is_uniform(points):
    """Degenerate KDE: one member, identical members, zero variance: uniform, no NaN."""
    places = np.concatenate([points, points + 1.0])
    assert np.array_equal(shares(loneliness(places, points)), np.full(len(places), 1 / len(places)))


def test_a_dimension_that_does_not_vary_does_not_count():
    points = np.array([[0.0, 7.0], [1.0, 7.0], [5.0, 7.0]])
    places = np.array([[2.0, 7.0], [2.0, 99.0]])
    assert np.ptp(loneliness(places, points)) == 0
    assert np.allclose(loneliness(places, points), loneliness(places[:, :1], points[:, :1]))


def test_far_away_there_is_no_overflow():
    chances = shares(loneliness(column(0.0, 1e6), column(0.0, 1.0, 2.0)))
    assert np.isfinite(chances).all() and np.isclose(chances.sum(), 1)


def test_the_lottery_draws_without_replacement():
    """Draw a subset of n_ac children from it (without replacement)."""
    lonely, rng = np.log([1.0, 2.0, 5.0]), np.random.default_rng(0)
    drawn = Counter(tuple(lottery(lonely, rng)) for _ in range(8000))
    for order, count in drawn.items():
        assert sorted(order) == [0, 1, 2]
        weights = np.exp(lonely)[list(order)]
        expected = weights[0] / 8 * weights[1] / (8 - weights[0])
        assert abs(count / 8000 - expected) < 0.02
