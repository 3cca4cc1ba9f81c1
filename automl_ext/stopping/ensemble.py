"""A weighted ensemble of curve families with its posterior by MCMC: where will this curve end?

f(x) = sum of w_k f_k(x | theta_k) with weights that sum to 1, y = f(x) + N(0, sigma^2). One vector holds the
parameters of all families, then the weights as sampled (not yet normalised), then sigma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import ndtr

from automl_ext.stopping.families import FAMILIES, Family, Floats

LARGEST = 2.0
"""Largest value of a curve at the horizon that the prior allows; the best one told is 0.9."""
WEIGHT = 10.0
"""Weight of the family that fits best in the start vector, before normalisation."""


def recency(count: int) -> Floats:
    """(count,) weights of observations, as 10^(i / count), with mean 1: the last counts nearly ten times the first."""
    weights = 10.0 ** (np.arange(count) / count)
    return np.asarray(weights / weights.mean())


@dataclass(frozen=True)
class Ensemble:
    """families: those in the ensemble. x, y: (n,) what is observed. horizon: the x at which the curve ends."""

    families: Sequence[Family]
    x: Floats
    y: Floats
    horizon: float

    @property
    def dim(self) -> int:
        """Parameters of all families, a weight for each, and sigma."""
        return sum(len(family.start) + 1 for family in self.families) + 1

    def curves(self, x: Floats, xi: Floats) -> Floats:
        """(m, k, n) each family's values at x (n,) for vectors xi (m, dim)."""
        found, at = [], 0
        for family in self.families:
            found.append(family(x, xi[:, at : at + len(family.start)]))
            at += len(family.start)
        return np.stack(found, axis=1)

    def weights(self, xi: Floats) -> Floats:
        """(m, k) weights that sum to 1."""
        raw = xi[:, -1 - len(self.families) : -1]
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    def mean(self, x: Floats, xi: Floats) -> Floats:
        """(m, n) the ensemble's curve at x (n,)."""
        with np.errstate(all="ignore"):
            return np.asarray(np.einsum("mk,mkn->mn", self.weights(xi), self.curves(x, xi)))

    def log_prior(self, curves: Floats, xi: Floats) -> Floats:
        """(m,) 0 where the prior allows a vector and -inf elsewhere.

        curves: (m, k, 2) of each family at x = 2 and at the horizon: none declines, and all end within [0, LARGEST].
        """
        raw, sigma = xi[:, -1 - len(self.families) : -1], xi[:, -1]
        early, late = curves[..., 0], curves[..., 1]
        with np.errstate(invalid="ignore"):
            legal = np.isfinite(late) & (late >= 0) & (late <= LARGEST) & (early <= late)
        allowed = legal.all(axis=1) & (raw >= 0).all(axis=1) & (raw.sum(axis=1) > 0) & (sigma > 0) & (sigma < 1)
        return np.where(allowed, 0.0, -np.inf)

    def log_posterior(self, xi: Floats) -> Floats:
        """(m,) up to a constant, with observations weighted by `recency`."""
        curves = self.curves(np.concatenate([self.x, [2.0, self.horizon]]), xi)
        prior = self.log_prior(curves[..., -2:], xi)
        with np.errstate(all="ignore"):
            mean = np.einsum("mk,mkn->mn", self.weights(xi), curves[..., :-2])
            scaled = (self.y - mean) / xi[:, -1:]
            terms = -0.5 * scaled**2 - np.log(xi[:, -1:])
            likelihood = terms @ recency(len(self.y))
        found = prior + np.where(np.isfinite(likelihood), likelihood, -np.inf)
        return np.asarray(np.where(np.isnan(found), -np.inf, found))


def fit(family: Family, x: Floats, y: Floats) -> Floats | None:
    """(k,) least-squares parameters of one family, the best from its start values; None where all fits fail."""
    if len(x) < len(family.start):
        return None
    found = [_fit(family, x, y, np.array(start)) for start in (family.start, *family.further)]
    fits = [theta for theta in found if theta is not None]
    return min(fits, key=lambda theta: _error(family, x, y, theta)) if fits else None


def _error(family: Family, x: Floats, y: Floats, theta: Floats) -> float:
    return float(np.mean((family(x, theta) - y) ** 2))


def _fit(family: Family, x: Floats, y: Floats, start: Floats) -> Floats | None:
    """Levenberg-Marquardt with a vectorised numerical Jacobian; None where it fails."""

    def residuals(theta: Floats) -> Floats:
        far = family(x, theta) - y
        return np.where(np.abs(far) < 1e3, far, 1e3)

    def slopes(theta: Floats) -> Floats:
        step = 1e-7 * np.maximum(np.abs(theta), 0.01)
        return np.asarray(((residuals(theta + np.diag(step)) - residuals(theta)) / step[:, None]).T)

    scale = np.maximum(np.abs(start), 0.1)
    try:
        found = least_squares(residuals, start, slopes, method="lm", x_scale=scale, max_nfev=100)
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return None
    return found.x if np.isfinite(found.x).all() and np.isfinite(family(x, found.x)).all() else None


def fitted(x: Floats, y: Floats, horizon: float) -> tuple[Ensemble, Floats] | None:
    """(ensemble of the families that can be fitted within the prior, (dim,) start vector); None where none can."""
    families, thetas = [], []
    for family in FAMILIES:
        theta = fit(family, x, y)
        if theta is None:
            continue
        early, late = family(np.array([2.0, horizon]), theta)
        if np.isfinite(late) and 0 <= late <= LARGEST and early <= late:
            families.append(family)
            thetas.append(theta)
    if not families:
        return None
    ensemble = Ensemble(tuple(families), x, y, horizon)
    errors = np.array([_error(family, x, y, theta) for family, theta in zip(families, thetas, strict=True)]) + 1e-8
    start = np.concatenate([*thetas, WEIGHT * errors.min() / errors, [0.5]])
    residual = y - ensemble.mean(x, start[None])[0]
    start[-1] = min(max(float(residual.std()), 1e-4), 0.5)
    return (ensemble, start) if np.isfinite(ensemble.log_posterior(start[None])[0]) else None


@dataclass(frozen=True)
class Posterior:
    """Samples at the horizon: mean (m,) of the ensemble and its sigma (m,)."""

    means: Floats
    sigmas: Floats

    @property
    def mean(self) -> float:
        return float(self.means.mean())

    @property
    def std(self) -> float:
        """Of the curve, without the noise of a measurement."""
        return float(self.means.std())

    def exceeds(self, y: float) -> float:
        """P(y at the horizon > y), noise included."""
        return float(ndtr((self.means - y) / self.sigmas).mean())


def predict(
    x: Floats, y: Floats, horizon: float, rng: np.random.Generator, *, steps: int = 300, burn: int = 150, thin: int = 10
) -> Posterior | None:
    """Where a curve y (n,) at x (n,) ends; None where no family fits or the sampling fails.

    steps: of every walker, `burn` of them dropped and every `thin`th of the rest kept.
    """
    import emcee

    found = fitted(x, y, horizon)
    if found is None:
        return None
    ensemble, start = found
    walkers = max(100, 2 * ensemble.dim)
    ball = _ball(ensemble, start, walkers + walkers % 2, rng)
    sampler = emcee.EnsembleSampler(len(ball), ensemble.dim, ensemble.log_posterior, vectorize=True)
    state = emcee.State(ball, random_state=np.random.RandomState(rng.integers(2**32)).get_state())
    try:
        sampler.run_mcmc(state, steps, skip_initial_state_check=True)
    except ValueError:
        return None
    chain = sampler.get_chain(discard=burn, thin=thin, flat=True)
    means = ensemble.mean(np.array([horizon]), chain)[:, 0]
    good = np.isfinite(means)
    return Posterior(means[good], chain[good, -1]) if good.any() else None


def _ball(ensemble: Ensemble, start: Floats, walkers: int, rng: np.random.Generator) -> Floats:
    """(walkers, dim) vectors around the start, relative to its size; those outside the prior move nearer to it."""
    offset = rng.normal(size=(walkers, ensemble.dim)) * np.maximum(np.abs(start), 1e-3)
    scale = np.full((walkers, 1), 0.03)
    for _ in range(30):
        ball = start + scale * offset
        outside = ~np.isfinite(ensemble.log_posterior(ball))
        if not outside.any():
            return np.asarray(ball)
        scale[outside] *= 0.5
    return np.where(outside[:, None], start, ball)
