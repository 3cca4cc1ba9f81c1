"""How far real curves lie from predicted ones, and what the first points of a curve say about its end.

A curve is the mean of sampled curves plus a Gaussian process: the samples' own covariance (what the model does not
know), a discrepancy with covariance tau^2 exp(-|log t - log t'| / reach), and noise. Conditioning it on the points seen
so far is a closed formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAUS = (0.01, 0.03, 0.1, 0.2, 0.4)
REACHES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
NOISES = (0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True)
class Discrepancy:
    """tau: its standard deviation. reach: its length in log t. noise: standard deviation of a measurement."""

    tau: float
    reach: float
    noise: float

    def covariance(self, t: Floats, other: Floats) -> Floats:
        """(n, m) between times t (n,) and other (m,), without noise."""
        apart = np.abs(np.log(t)[:, None] - np.log(other)[None])
        return np.asarray(self.tau**2 * np.exp(-apart / self.reach))


def fit(t: Floats, residuals: Floats, covariances: Floats) -> Discrepancy:
    """The most likely of a grid, for residuals (n, g) at times t (g,) with model covariances (n, g, g)."""
    grid = [Discrepancy(*each) for each in product(TAUS, REACHES, NOISES)]
    return max(grid, key=lambda one: _log_likelihood(one, t, residuals, covariances))


def _log_likelihood(one: Discrepancy, t: Floats, residuals: Floats, covariances: Floats) -> float:
    whole = covariances + one.covariance(t, t) + one.noise**2 * np.eye(len(t))
    lower = np.linalg.cholesky(whole)
    scaled = np.linalg.solve(lower, residuals[..., None])[..., 0]
    log_root = np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum()
    return float(-0.5 * (scaled**2).sum() - log_root)


def end(samples: Floats, t: Floats, y: Floats, one: Discrepancy) -> tuple[float, float]:
    """(mean, standard deviation with noise) at the end of a curve with points y (n,) at t (n,).

    samples: (s, n + 1) sampled curves at t and, last, at the end t = 1.
    """
    times = np.append(t, 1.0)
    centre, away = samples.mean(axis=0), samples - samples.mean(axis=0)
    prior = away.T @ away / len(samples) + one.covariance(times, times)
    seen = prior[:-1, :-1] + one.noise**2 * np.eye(len(t))
    gain = np.linalg.solve(seen, prior[:-1, -1])
    mean = centre[-1] + gain @ (y - centre[:-1])
    variance = prior[-1, -1] - gain @ prior[:-1, -1] + one.noise**2
    return float(mean), float(np.sqrt(max(variance, 1e-12)))
