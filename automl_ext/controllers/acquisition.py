"""Acquisition: how much it is worth to try a candidate, from what a surrogate believes about it.

All are to be maximised, over values to be maximised. Expected improvement after D. R. Jones, M. Schonlau, W. J. Welch,
"Efficient Global Optimization of Expensive Black-Box Functions", 1998, in the logarithm (S. Ament et al., "Unexpected
Improvements to Expected Improvement for Bayesian Optimization", NeurIPS 2023, arXiv 2310.20708). Several objectives:
random hypervolume scalarisations (D. Golovin, Q. Zhang, "Random Hypervolume Scalarizations for Provable Multi-Objective
Black Box Optimization", ICML 2020, arXiv 2006.04655), whose mean over the directions is the hypervolume.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

Floats = NDArray[np.float64]


def log_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """(m,) logarithm of the expected improvement over `best`; finite wherever the deviation is above 0."""
    z = (mean - best) / deviation
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        near = np.log(np.exp(log_density) + z * np.exp(log_ndtr(z)))
        ratio = np.sqrt(np.pi / 2) * erfcx(-z / np.sqrt(2))
        far = log_density + np.log1p(np.where(z < -1, z * ratio, 0.0))
        tail = log_density - 2 * np.log(np.maximum(-z, 1.0))
    return np.asarray(np.log(deviation) + np.where(z > -1, near, np.where(z > -1e3, far, tail)))


def upper_bound(mean: Floats, deviation: Floats, width: float) -> Floats:
    """(m,) mean plus `width` deviations."""
    return mean + width * deviation


def thompson(mean: Floats, deviation: Floats, rng: np.random.Generator) -> Floats:
    """(m,) one independent draw a candidate."""
    return mean + deviation * rng.standard_normal(mean.shape)


def directions(count: int, objectives: int, rng: np.random.Generator) -> Floats:
    """(count, objectives) unit vectors, uniform over the directions in which every objective rises."""
    drawn = np.abs(rng.standard_normal((count, objectives))) + 1e-6
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def scalarised(values: Floats, along: Floats) -> Floats:
    """(..., k) how far values (..., m), above a reference of 0, reach in each of k directions, to the power of m."""
    reach = values[..., 0, None] / along[:, 0]
    for place in range(1, values.shape[-1]):
        reach = np.minimum(reach, values[..., place, None] / along[:, place])
    return np.asarray(np.maximum(reach, 0.0) ** values.shape[-1])


def hypervolume_improvement(
    mean: Floats, deviation: Floats, told: Floats, rng: np.random.Generator, draws: int = 16, rays: int = 64
) -> Floats:
    """(c,) expected gain of hypervolume, by `draws` of each candidate's values and `rays` random directions.

    mean, deviation: (c, m). told: (n, m), the values measured so far. All are measured from the reference 0.
    """
    along = directions(rays, mean.shape[1], rng)
    best = scalarised(told, along).max(axis=0)
    gain = np.zeros(len(mean))
    for noise in rng.standard_normal((draws, mean.shape[1])):
        gain += np.maximum(scalarised(mean + deviation * noise, along) - best, 0.0).mean(axis=-1)
    return gain / draws
