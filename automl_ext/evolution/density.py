"""Density: how crowded a place is, by a Gaussian kernel with Scott's bandwidth, and who of a crowd is worth more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KernelDensity

Floats = NDArray[np.float64]


def loneliness(places: Floats, points: Floats) -> Floats:
    """(m,) minus the logarithm of the density of `points` (n, d) at `places` (m, d), each dimension standardised.

    Zeros (all places alike) for fewer than two points and for such as do not differ. A dimension in which the points do
    not differ does not count.
    """
    alike = np.zeros(len(places))
    if len(points) < 2:
        return alike
    centre, spread = points.mean(axis=0), points.std(axis=0)
    wide = spread > 1e-9 * (1.0 + np.abs(centre))
    if not wide.any():
        return alike
    scaled = ((points - centre) / np.where(wide, spread, 1.0))[:, wide]
    where = ((places - centre) / np.where(wide, spread, 1.0))[:, wide]
    density: Floats = KernelDensity(bandwidth="scott").fit(scaled).score_samples(where)
    return -density


def shares(lonely: Floats) -> Floats:
    """(m,) probabilities inverse to the density."""
    weights = np.exp(lonely - lonely.max())
    return np.asarray(weights / weights.sum())


def lottery(lonely: Floats, rng: np.random.Generator) -> list[int]:
    """All m indices in the order of draws without replacement, by probabilities inverse to the density."""
    return [int(index) for index in np.argsort(-(lonely + rng.gumbel(size=len(lonely))), kind="stable")]
