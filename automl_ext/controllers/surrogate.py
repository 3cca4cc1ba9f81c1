"""An exact Gaussian process, small and quick: what a search believes about candidates that it has not tried.

C. E. Rasmussen, C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006 (chapters 2, 4, 5).

The kernel is one scale times exp(-q / 2) over choices and counts, where q = sum_j w_j (x_j - x'_j)^2 is a weighted
Hamming distance, times Matern 5/2 of r^2 = q over numbers, along which values need not be smooth. Every feature
has a weight of its own (automatic relevance), and all share one: log w_j = log(common) + own_j, where a normal prior
draws the own parts to the logarithm of the feature's unit.
Hyperparameters are the mode of their posterior, by L-BFGS with exact gradients, started at the last ones; the kernel's
scale has a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
NOISE = (1e-4, 1.0)
"""Smallest and largest variance of the noise, as a share of the kernel's scale."""
MUCH = 0.05
"""A share of noise that asks for a second start."""


def squared(left: Floats, right: Floats) -> Floats:
    """(n, m) squared distances between the rows of `left` (n, d) and `right` (m, d)."""
    product = left @ right.T
    return np.asarray(np.maximum((left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * product, 0.0))


def matern(q: Floats) -> tuple[Floats, Floats]:
    """Matern 5/2 of squared distances q, and its derivative by q."""
    root = np.sqrt(5.0 * q)
    fall = np.exp(-root)
    return (1.0 + root + 5.0 / 3.0 * q) * fall, -5.0 / 6.0 * (1.0 + root) * fall


def kernel(left: Floats, right: Floats, number: Bools) -> tuple[Floats, Floats, Floats]:
    """(n, m) similarity of weighted rows, and its derivatives by the squared distances of choices and of numbers.

    number: (d,) which features are numbers.
    """
    if not number.any():
        value = np.exp(-0.5 * squared(left, right))
        return value, -0.5 * value, np.zeros_like(value)
    rough, slope = matern(squared(left[:, number], right[:, number]))
    alike = np.exp(-0.5 * squared(left[:, ~number], right[:, ~number]))
    value = alike * rough
    return value, -0.5 * value, alike * slope


@dataclass(frozen=True)
class Hyper:
    """Logarithms. common: of all weights. own: (d,) of each feature's. noise: its variance as a share of the scale.

    number: (d,) which features are numbers; not fitted.
    """

    common: float
    own: Floats
    noise: float
    number: Bools

    def flat(self) -> Floats:
        return np.array([self.common, self.noise, *self.own])

    def at(self, flat: Floats) -> Hyper:
        """The same with the logarithms of `flat`, which is what `flat()` gives."""
        return replace(self, common=float(flat[0]), own=np.array(flat[2:]), noise=float(flat[1]))

    def weights(self) -> Floats:
        return np.exp(self.common + self.own)


@dataclass(frozen=True)
class Prior:
    """Normal priors of the logarithms: (mean, deviation) of common and noise; of each own, mean (d,) and deviation.

    number: (d,) which features are numbers.
    """

    common: tuple[float, float]
    centre: Floats
    number: Bools
    own: float = 1.0
    noise: tuple[float, float] = (-4.0, 2.0)

    @staticmethod
    def of(features: Floats, own: float = 1.0) -> Prior:
        """Centred where rows of `features` (n, d) have a mean squared distance of 1.

        Choices and counts (whole numbers, up to 16 apart) keep their unit; other features count three times their
        range, so that two numbers drawn at random are as far from each other as two options of a choice.
        """
        spread = np.ptp(features, axis=0)
        number = (features != np.round(features)).any(axis=0) | (spread > 16)
        unit = np.where(number & (spread > 0), 3.0 / np.where(spread > 0, spread, 1.0), 1.0)
        total = 2.0 * float((features * unit).var(axis=0).sum())
        return Prior((-float(np.log(max(total, 1e-9))), 1.0), 2.0 * np.log(unit), number, own)

    def start(self) -> Hyper:
        return Hyper(self.common[0], self.centre, self.noise[0], self.number)

    def loss(self, flat: Floats) -> tuple[float, Floats]:
        """Minus the log density, up to a constant, and its gradient."""
        width = np.array([self.common[1], self.noise[1], *np.full(len(self.centre), self.own)])
        z = (flat - self.start().flat()) / width
        return 0.5 * float(z @ z), z / width


class GaussianProcess:
    """Fitted to features x (n, d) and values y (n,) of mean about 0; immutable."""

    def __init__(self, x: Floats, y: Floats, hyper: Hyper) -> None:
        self.hyper = hyper
        self.root = np.sqrt(hyper.weights())
        self.x = x * self.root
        covariance = self._alike(self.x, self.x)
        covariance[np.diag_indices(len(x))] += np.exp(hyper.noise)
        self.lower = cholesky(covariance, lower=True, check_finite=False)
        self.alpha = cho_solve((self.lower, True), y, check_finite=False)
        self.scale = max(float(y @ self.alpha) / max(len(y), 1), 1e-6)

    def _alike(self, left: Floats, right: Floats) -> Floats:
        return kernel(left, right, self.hyper.number)[0]

    def predict(self, x: Floats, pending: Sequence[Floats] = ()) -> tuple[Floats, Floats]:
        """(m,) mean and deviation at x (m, d). The deviation counts rows `pending` (d,) as measured."""
        points = x * self.root
        cross = self._alike(self.x, points)
        mean = cross.T @ self.alpha
        half = solve_triangular(self.lower, cross, lower=True, check_finite=False)
        variance = 1.0 - (half**2).sum(0)
        if len(pending):
            variance = variance - self._known(points, half, np.array(pending) * self.root)
        return mean, np.sqrt(self.scale * np.maximum(variance, 1e-9))

    def _known(self, points: Floats, half: Floats, pending: Floats) -> Floats:
        """(m,) by how much measuring `pending` lowers the variance at `points`."""
        other = solve_triangular(self.lower, self._alike(self.x, pending), lower=True, check_finite=False)
        inner = self._alike(pending, pending) - other.T @ other
        inner[np.diag_indices(len(pending))] += np.exp(self.hyper.noise)
        across = self._alike(pending, points) - other.T @ half
        lower = cholesky(inner, lower=True, check_finite=False)
        return np.asarray((solve_triangular(lower, across, lower=True, check_finite=False) ** 2).sum(0))


def fit(x: Floats, y: Floats, prior: Prior, last: Hyper, steps: int) -> Hyper:
    """The hyperparameters of features x (n, d) and values y (n,), by L-BFGS of at most `steps` from the last ones.

    Where there are numbers and the fit explains much by noise, their weights may have gone astray (a number along which
    values change within a small part of its range): the prior's centre is tried, too, and the better one is taken.
    """
    low, high = prior.common[0] - 6, prior.common[0] + 6
    bounds = [(low, high), tuple(np.log(NOISE)), *((centre - 4.0, centre + 4.0) for centre in prior.centre)]
    best, least = last, np.inf
    for start in (last, prior.start()):
        found = minimize(
            _loss, start.flat(), (x, y, prior), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps}
        )
        if found.fun < least and np.isfinite(found.x).all():
            best, least = last.at(found.x), found.fun
        if not prior.number.any() or best.noise < np.log(MUCH):
            break
    return best


def _loss(flat: Floats, x: Floats, y: Floats, prior: Prior) -> tuple[float, Floats]:
    """Minus the log posterior of the hyperparameters with the scale at its best, and its gradient."""
    hyper = prior.start().at(flat)
    points = x * np.sqrt(hyper.weights())
    value, by_choice, by_number = kernel(points, points, prior.number)
    noise, n = float(np.exp(hyper.noise)), len(x)
    value[np.diag_indices(n)] += noise
    lower = cholesky(value, lower=True, check_finite=False)
    inverse = cho_solve((lower, True), np.eye(n), check_finite=False)
    alpha = inverse @ y
    scale = max(float(y @ alpha) / n, 1e-9)
    loss = 0.5 * n * np.log(scale) + float(np.log(np.diag(lower)).sum())
    pull = 0.5 * (inverse - np.outer(alpha, alpha) / scale)
    by_weight = np.empty(len(prior.number))
    for part, slope in ((~prior.number, by_choice), (prior.number, by_number)):
        by_weight[part] = _by_weight(points[:, part], pull * slope)
    gradient = np.array([by_weight.sum(), noise * np.trace(pull), *by_weight])
    extra, extra_gradient = prior.loss(flat)
    return loss + extra, gradient + extra_gradient


def _by_weight(points: Floats, pull: Floats) -> Floats:
    """(d,) derivative by the logarithm of each weight, where `pull` (n, n) is that by the squared distances."""
    return np.asarray(2 * ((points**2).T @ pull.sum(1) - np.einsum("ij,ij->j", points, pull @ points)))
