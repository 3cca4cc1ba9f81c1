"""The Gaussian process, against its textbook formulas written out with inverses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from automl_ext.controllers.surrogate import GaussianProcess, Hyper, Prior, _loss, fit, kernel, squared

NUMBER = np.array([True, True, False, False])


def problem(count=30, size=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((count, size))
    x[:, ~NUMBER[:size]] = np.round(3 * x[:, ~NUMBER[:size]])
    y = np.sin(5 * x[:, 0]) + x[:, 1]
    return x, y - y.mean()


HYPER = Hyper(0.7, np.array([0.5, -0.3, 0.0, -1.0]), -4.0, NUMBER)


def covariance(left, right, number=NUMBER):
    q = (left[:, None, :] - right[None, :, :]) ** 2 * HYPER.weights()
    r = np.sqrt(q[..., number].sum(-1))
    matern = (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)
    return matern * np.exp(-0.5 * q[..., ~number].sum(-1))


@pytest.mark.parametrize("number", [NUMBER, np.full(4, True), np.full(4, False)])
def test_the_kernel_and_its_derivatives(number):
    x, _ = problem()
    points = x * np.sqrt(HYPER.weights())
    value, by_choice, by_number = kernel(points, points[:5], number)
    assert value == pytest.approx(covariance(x, x[:5], number))
    assert (by_choice <= 0).all() and (by_number <= 0).all() and number.any() == by_number.any()


def test_squared_distances():
    x, _ = problem()
    assert squared(x, x[:5]) == pytest.approx(((x[:, None] - x[None, :5]) ** 2).sum(-1), abs=1e-12)


def test_the_prediction_is_the_textbook_one():
    x, y = problem()
    new, noise = problem(7, seed=1)[0], np.exp(-4.0)
    inverse = np.linalg.inv(covariance(x, x) + noise * np.eye(len(x)))
    scale = y @ inverse @ y / len(y)
    mean, deviation = GaussianProcess(x, y, HYPER).predict(new)
    cross = covariance(x, new)
    assert mean == pytest.approx(cross.T @ inverse @ y)
    assert deviation**2 == pytest.approx(scale * (1 - np.diag(cross.T @ inverse @ cross)))


def test_pending_rows_are_hallucinated():
    """Pending points enter the GP with their mean as value: the mean stays, the deviation is that of knowing them."""
    x, y = problem()
    new, pending = problem(7, seed=1)[0], problem(3, seed=2)[0]
    model = GaussianProcess(x, y, HYPER)
    mean, deviation = model.predict(new, list(pending))
    assert mean == pytest.approx(model.predict(new)[0])
    all_x = np.concatenate([x, pending])
    larger = GaussianProcess(all_x, np.concatenate([y, model.predict(pending)[0]]), HYPER)
    unscaled = larger.predict(new)[1] / np.sqrt(larger.scale)
    assert deviation == pytest.approx(unscaled * np.sqrt(model.scale))
    assert (deviation < model.predict(new)[1]).all()


def test_the_gradient_of_the_marginal_likelihood():
    x, y = problem()
    prior, flat = Prior.of(x, 0.5), HYPER.flat()
    assert _loss(flat, x, y, prior)[1] == pytest.approx(
        approx_fprime(flat, lambda at: _loss(at, x, y, prior)[0], 1e-7), abs=1e-4
    )


def test_the_loss_is_that_of_a_normal_density_at_the_best_scale():
    x, y = problem()
    both = covariance(x, x) + np.exp(-4.0) * np.eye(len(x))
    scale = y @ np.linalg.inv(both) @ y / len(y)
    log_density = -0.5 * y @ np.linalg.inv(scale * both) @ y - 0.5 * np.linalg.slogdet(scale * both)[1]
    flat, wide = HYPER.flat(), Prior((0.0, 1e9), np.zeros(4), NUMBER, 1e9, (0.0, 1e9))
    assert _loss(flat, x, y, wide)[0] == pytest.approx(-log_density - len(y) / 2)


def test_fitting_finds_which_features_matter_and_never_gets_worse():
    x, y = problem(60)
    prior = Prior.of(x, 1.0)
    start = prior.start()
    found = fit(x, y, prior, start, 50)
    assert _loss(found.flat(), x, y, prior)[0] < _loss(start.flat(), x, y, prior)[0]
    assert found.weights()[0] > 3 * found.weights()[2:].max()
    assert np.exp(found.noise) < 0.01


def test_one_row_and_equal_values_are_survived():
    x = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    for count in (1, 2, 3):
        prior = Prior.of(x, 0.3)
        hyper = fit(x[:count], np.zeros(count), prior, prior.start(), 10)
        mean, deviation = GaussianProcess(x[:count], np.zeros(count), hyper).predict(x, [x[0]])
        assert (mean == 0).all() and (deviation > 0).all() and np.isfinite(deviation).all()


def test_features_that_never_vary_are_survived():
    x, y = np.ones((20, 3)), np.arange(20.0) - 9.5
    prior = Prior.of(x, 0.3)
    hyper = fit(x, y, prior, prior.start(), 10)
    assert np.isfinite(GaussianProcess(x, y, hyper).predict(x)[1]).all()


def test_units_of_the_prior():
    """Choices and counts keep their unit; numbers count three times their range, also where they are often silent."""
    rng = np.random.default_rng(0)
    choice, count = rng.integers(2, size=200), rng.integers(13, size=200)
    number, large = rng.random(200), 1e6 * rng.random(200)
    silent = np.where(rng.random(200) < 0.8, 0.5, rng.random(200))
    prior = Prior.of(np.stack([choice, count, number, large, silent, np.full(200, 0.5)], axis=1).astype(float))
    assert np.exp(0.5 * prior.centre) == pytest.approx([1.0, 1.0, 3.0, 3e-6, 3.0, 1.0], rel=0.1)
    assert prior.loss(prior.start().flat())[0] == 0.0


def test_a_start_that_took_everything_for_noise_is_left():
    x, y = problem(40)
    prior = Prior.of(x)
    astray = Hyper(prior.common[0] - 5, prior.centre - 3, 0.0, prior.number)
    assert np.exp(fit(x, y, prior, astray, 30).noise) < 0.05
