"""Acquisition functions: the properties that the specifications list, each quoted."""

from __future__ import annotations

import math

import moocore
import numpy as np
import pytest
from scipy.stats import norm

from automl_ext.controllers.acquisition import (
    directions,
    hypervolume_improvement,
    log_improvement,
    scalarised,
    thompson,
    upper_bound,
)


def improvement(mean, deviation, best):
    z = (mean - best) / deviation
    return (mean - best) * norm.cdf(z) + deviation * norm.pdf(z)


def test_log_ei_is_the_logarithm_of_ei():
    """log EI = log(EI) to 1e-6."""
    z = np.linspace(-25, 30, 2001)
    for deviation in (0.01, 1.0, 40.0):
        mean, spread = z * deviation + 3.0, np.full(len(z), deviation)
        plain = improvement(mean, spread, 3.0)
        safe = z > -5  # further below, the plain formula loses its digits
        assert log_improvement(mean, spread, 3.0)[safe] == pytest.approx(np.log(plain[safe]), abs=1e-6)


def test_log_ei_far_below_the_best_is_finite_and_rises():
    """The asymptote of EI for z to minus infinity is density(z) / z^2."""
    z = -np.logspace(0, 7, 3000)[::-1]
    found = log_improvement(z, np.ones(len(z)), 0.0)
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()
    far = z < -100
    assert found[far] == pytest.approx((-0.5 * z**2 - 0.5 * math.log(2 * math.pi) - 2 * np.log(-z))[far], rel=1e-4)


def test_ei_is_zero_at_known_points_and_increases_with_the_deviation():
    """EI >= 0, zero at known noiseless points, increasing in s. EI ~ 0 at the noiseless observed best."""
    assert np.exp(log_improvement(np.array([0.0, -1.0]), np.array([1e-9, 1e-9]), 0.0)) == pytest.approx(0.0, abs=1e-8)
    spread = np.linspace(0.01, 3, 200)
    for mean in (-2.0, 0.0, 1.0):
        found = log_improvement(np.full(200, mean), spread, 0.0)
        assert (np.diff(found) > -1e-12).all() and (np.diff(found[spread > 0.3]) > 0).all()


def test_bound_and_thompson():
    mean, spread = np.array([1.0, 2.0]), np.array([0.5, 0.1])
    assert upper_bound(mean, spread, 2.0) == pytest.approx([2.0, 2.2])
    drawn = np.array([thompson(mean, spread, np.random.default_rng(seed)) for seed in range(4000)])
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.03)
    assert drawn.std(axis=0) == pytest.approx(spread, rel=0.05)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.06


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_mean_over_directions_is_the_hypervolume(objectives):
    """Golovin & Zhang: c * mean over directions of the best scalarisation, with c = pi^(m/2) / (2^m G(m/2 + 1))."""
    rng = np.random.default_rng(0)
    points = rng.random((12, objectives))
    along = directions(40_000, objectives, rng)
    assert np.linalg.norm(along, axis=1) == pytest.approx(1.0)
    constant = math.pi ** (objectives / 2) / (2**objectives * math.gamma(objectives / 2 + 1))
    expected = moocore.hypervolume(points, ref=np.zeros(objectives), maximise=True)
    assert constant * scalarised(points, along).max(axis=0).mean() == pytest.approx(expected, rel=0.03)


def test_hypervolume_improvement_of_what_is_certain_is_its_contribution():
    rng = np.random.default_rng(1)
    told, new = np.array([[1.0, 0.2], [0.5, 0.8]]), np.array([[0.9, 0.7], [0.4, 0.1], [0.2, 1.5], [-1.0, 2.0]])
    found = hypervolume_improvement(new, np.full(new.shape, 1e-9), told, rng, draws=1, rays=20_000)
    before = moocore.hypervolume(told, ref=np.zeros(2), maximise=True)
    for gain, point in zip(found, new, strict=True):
        after = (
            moocore.hypervolume(np.vstack([told, point]), ref=np.zeros(2), maximise=True) if point.min() > 0 else before
        )
        assert math.pi / 4 * gain == pytest.approx(after - before, rel=0.05, abs=1e-3)


def test_a_dominated_candidate_gains_by_its_deviation_only():
    told = np.array([[1.0, 1.0]])
    mean, rng = np.array([[0.8, 0.8]]), np.random.default_rng(0)
    gains = [
        hypervolume_improvement(mean, np.full((1, 2), spread), told, rng, draws=500)[0] for spread in (1e-6, 0.1, 0.5)
    ]
    assert gains[0] == 0 < gains[1] < gains[2]
