"""What a surrogate learns of measured values: the order stays, the good keep their distances, the bad are bent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from automl_ext.controllers.scale import scaled

FAILED = (-math.inf, -math.inf)


def test_the_order_of_standings_stays():
    rng = np.random.default_rng(0)
    standings = [(0.0, float(value)) for value in rng.standard_cauchy(50)]
    standings += [(-float(miss), float(rng.normal())) for miss in rng.exponential(1e3, 20)] + [FAILED]
    found = scaled(standings)
    order = sorted(range(len(standings)), key=lambda index: standings[index])
    assert (np.diff(found[order]) >= 0).all() and found.mean() == pytest.approx(0.0, abs=1e-12)
    kept = [found[index] for index in range(50)]
    assert len(set(kept)) == 50 and max(found[50:70]) < min(kept) - 0.5
    assert found[70] == found[50:70].min()


def test_unit_and_origin_do_not_matter():
    values = np.random.default_rng(1).normal(size=30)
    plain = scaled([(0.0, float(value)) for value in values])
    other = scaled([(0.0, float(value)) for value in 1e6 + 1e3 * values])
    assert other == pytest.approx(plain, abs=1e-6)
    limits = [(0.0, 1.0), (0.0, 2.0), (-1.0, 3.0), (-4.0, 5.0)]
    assert scaled([(1e3 * left, right) for left, right in limits]) == pytest.approx(scaled(limits))


def test_above_the_median_distances_stay_and_below_it_they_shrink():
    found = scaled([(0.0, value) for value in (-1e9, -1.0, 0.0, 1.0, 3.0)])
    assert found - found[2] == pytest.approx([-math.log1p(5e8), -math.log1p(0.5), 0.0, 0.5, 1.5])


@pytest.mark.parametrize("standings", [[(0.0, 3.0)], [(0.0, 3.0)] * 4, [FAILED], [FAILED] * 3])
def test_equal_results_say_nothing(standings):
    assert scaled(standings).tolist() == [0.0] * len(standings)


def test_most_values_equal():
    found = scaled([(0.0, 1.0)] * 5 + [(0.0, 1.5), (0.0, -7.0)])
    assert found[5] > found[0] == found[4] > found[6] and np.isfinite(found).all()
    found = scaled([(0.0, 1.0)] * 5 + [(0.0, -7.0)])
    assert np.isfinite(found).all() and found[5] < found[0]


def test_failures_beside_successes_and_without_limits_kept():
    found = scaled([(0.0, 1.0), (0.0, 2.0), FAILED])
    assert found[1] > found[0] == found[2]
    found = scaled([(-1.0, 1.0), (-3.0, 2.0), FAILED])
    assert found[0] > found[1] == found[2]
