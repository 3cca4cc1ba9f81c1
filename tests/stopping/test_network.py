"""Properties of LC-Net, as the specification lists them, each quoted by the test that checks it.

Left out: the proposal of new configurations on top of Hyperband, which is a searcher's work.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from targets import reported

from automl_ext import Objective, Proposal, Real, Space
from automl_ext.searcher import Target
from automl_ext.stopping import discrepancy
from automl_ext.stopping.curvenet import Network, Sizes, train
from automl_ext.stopping.curves import Frame
from automl_ext.stopping.discrepancy import Discrepancy
from automl_ext.stopping.layer import BASES, SIZE, THETA, bases, curve
from automl_ext.stopping.network import CurveNetwork, Prediction, grid, on_grid
from automl_ext.stopping.sghmc import sghmc

T = np.linspace(0.02, 1.0, 50)


def rng(number=0):
    return np.random.default_rng(number)


# ---------------------------------------------------------------- the layer


def test_each_basis_function_is_0_at_the_horizon():
    """ "Each phi_i(1)=0 (computed: < 2e-16) so mu(x,1)=y_inf(x)" """
    parts = rng().random((300, SIZE))
    found = bases(np.ones(1), list(parts[:, :THETA].T[..., None]), np)
    assert len(found) == BASES and max(np.abs(phi).max() for phi in found) < 3e-16
    assert curve(np.ones(1), parts, np)[:, 0] == pytest.approx(parts[:, -1])


def test_bases_2_to_5_are_non_decreasing():
    """ "bases 2-5 are non-decreasing in t on (0,1] for all parameters in [0,1] (verified numerically on 300 random
    draws)" """
    for phi in bases(T, list(rng().random((THETA, 300, 1))), np)[1:]:
        assert (np.diff(phi) >= -1e-15).all() and (phi <= 1e-15).all() and (phi >= -1).all()


def test_the_layer_is_the_formula():
    a, b, c, pa, pb, la, lb, lc, ea, eb, ha, hb, hc = theta = rng(3).random(THETA)
    found = [phi[0] for phi in bases(np.array([0.3]), theta, np)]
    u, t = (lambda p: (p + 1) / 2), 0.3
    big_a, big_b, big_c = -u(a), -u(b) / 10, -u(c) / 10
    expected = [
        math.exp(big_a + big_b / t + big_c * math.log(t)) - math.exp(big_a + big_b),
        u(pa) * (t ** u(pb) - 1),
        2 * u(la) * (1 / (1 + math.exp(-0.1 * u(lc) * u(lb))) - 1 / (1 + (t / math.exp(u(lb))) ** (0.1 * u(lc)))),
        u(eb) * (math.exp(-u(ea)) - math.exp(-u(ea) * t)),
        u(ha) * (1 / ((u(hc) / t) ** (0.1 * u(hb)) + 1) - 1 / (u(hc) ** (0.1 * u(hb)) + 1)),
    ]
    assert found == pytest.approx(expected, rel=1e-12)


def test_numpy_and_torch_agree():
    parts = rng().random((4, SIZE))
    assert curve(torch.from_numpy(T), torch.from_numpy(parts), torch).numpy() == pytest.approx(curve(T, parts, np))


def test_weights_sum_to_1_and_the_horizon_value_is_between_0_and_1():
    """ "w sums to 1, y_inf in (0,1)." And t is no input of the trunk: one vector of parts a configuration."""
    network = Network(3, 16)
    theta = network.start(4, torch.Generator().manual_seed(0))
    parts, log_variance = network.heads(theta * 5, torch.randn(4, 7, 3, dtype=torch.float64))
    assert parts.shape == (4, 7, SIZE) and log_variance.shape == (4, 7)
    assert parts[..., THETA:-1].sum(-1).numpy() == pytest.approx(np.ones((4, 7)))
    assert ((parts[..., -1] > 0) & (parts[..., -1] < 1)).all() and (log_variance.abs() <= 10).all()


# ---------------------------------------------------------------- SGHMC


def gaussian(theta):
    return 0.5 * (theta**2).sum(dim=1)


@pytest.mark.slow
def test_sghmc_samples_a_standard_gaussian():
    """ "SGHMC on a 1-D standard Gaussian energy has sample mean ~0 and variance ~1 within tolerance after burn-in" """
    start = torch.full((400, 1), 2.0, dtype=torch.float64)
    samples = sghmc(
        gaussian, start, torch.Generator().manual_seed(0), steps=3000, burn=1000, every=200, rate=0.1, decay=0.1
    )
    assert abs(float(samples.mean())) < 0.1 and 0.8 < float(samples.var()) < 1.25


@pytest.mark.slow
def test_with_noise_off_and_friction_1_it_is_preconditioned_descent():
    """ "with noise off and alpha=1 it becomes preconditioned gradient descent." """
    start = torch.tensor([[3.0, -2.0]], dtype=torch.float64)
    first = sghmc(gaussian, start, torch.Generator(), steps=1, burn=0, every=1, rate=0.1, decay=1.0, noise=False)
    assert first[0].numpy() == pytest.approx(start.numpy() * (1 - 0.01))
    many = sghmc(gaussian, start, torch.Generator(), steps=2000, burn=0, every=1000, rate=0.1, decay=1.0, noise=False)
    assert float(many[-1].abs().max()) < 1e-6


@pytest.mark.parametrize(("steps", "burn", "every", "kept"), [(100, 50, 10, 5), (99, 50, 10, 4), (50, 50, 10, 0)])
def test_the_number_of_samples(steps, burn, every, kept):
    """ "Number of stored samples = floor((steps - burn-in)/keep_every) up to the cap; predictions differ between
    samples." """
    start = torch.zeros(3, 2, dtype=torch.float64)
    samples = sghmc(gaussian, start, torch.Generator().manual_seed(1), steps=steps, burn=burn, every=every)
    assert samples.shape == (kept, 3, 2)
    assert len(np.unique(samples.numpy())) == samples.numel()


# ---------------------------------------------------------------- the discrepancy


def test_conditioning_is_the_formula_of_a_gaussian_process():
    one, t = Discrepancy(0.2, 2.0, 0.05), np.array([0.1, 0.3, 0.5])
    samples = rng().normal(0.5, 0.1, (500, 4))
    y = np.array([0.4, 0.6, 0.7])
    times = np.append(t, 1.0)
    joint = np.cov(samples.T, bias=True) + 0.04 * np.exp(-np.abs(np.subtract.outer(np.log(times), np.log(times))) / 2)
    inverse = np.linalg.inv(joint[:3, :3] + 0.0025 * np.eye(3))
    mean = samples[:, 3].mean() + joint[3, :3] @ inverse @ (y - samples[:, :3].mean(axis=0))
    variance = joint[3, 3] - joint[3, :3] @ inverse @ joint[:3, 3] + 0.0025
    assert discrepancy.end(samples, t, y, one) == pytest.approx((mean, math.sqrt(variance)))


def test_a_planted_discrepancy_is_found():
    one = Discrepancy(0.2, 2.0, 0.1)
    t = np.geomspace(0.05, 1.0, 10)
    noisy = one.covariance(t, t) + one.noise**2 * np.eye(10)
    residuals = rng().multivariate_normal(np.zeros(10), noisy, size=300)
    assert discrepancy.fit(t, residuals, np.zeros((300, 10, 10))) == one


# ---------------------------------------------------------------- the network on planted configurations


def planted(x, t):
    """Two of three features decide where a curve ends and how fast it gets there; pow3 and exp, in [0, 1]."""
    end, rate = 0.3 + 0.5 * x[..., :1], 0.5 + 2 * x[..., 1:2]
    power = end - 0.3 * end * ((t + 0.05) ** -rate - 1.05**-rate) / (0.1**-rate)
    return np.where(x[..., :1] > 0.5, power, end * (1 - np.exp(-4 * rate * t)))


@pytest.fixture(scope="module")
def learned():
    """50 curves of 20 points with noise 0.01, and a network that learned from them."""
    frame = Frame(1, 20, 20, 0.1, 0.9)
    x, t = rng().random((50, 3)), grid(frame)
    y = planted(x, t) + rng(1).normal(0, 0.01, (50, len(t)))
    return frame, t, train(x, t, y, Sizes(steps=800, burn=400, every=80), rng(2))


@pytest.mark.slow
def test_planted_configurations_are_ranked(learned):
    _, _, fitted = learned
    fresh = rng(5).random((40, 3))
    ends = fitted.parts(fresh)[..., -1].mean(axis=(0, 1))
    tau, _ = kendalltau(ends, planted(fresh, np.ones(1))[:, 0])
    assert tau > 0.7


@pytest.mark.slow
def test_the_end_from_30_percent_of_a_curve_is_nearer_than_the_last_value(learned):
    """ "On synthetic curves from pow3/exp families MSE at t=1 from the first 30 % is lower than the "last value"
    baseline." """
    frame, _, fitted = learned
    fresh, steps = rng(6).random((40, 3)), np.arange(1.0, 7.0)
    values = planted(fresh, steps / 20) + rng(7).normal(0, 0.01, (40, 6))
    truth, parts = planted(fresh, np.ones(1))[:, 0], fitted.parts(fresh)
    one = Discrepancy(0.03, 2.0, 0.01)
    found = [
        Prediction(frame, parts[:, :, index].reshape(-1, SIZE), one).end(steps, values[index])[0] for index in range(40)
    ]
    assert np.mean((np.array(found) - truth) ** 2) < 0.5 * np.mean((values[:, -1] - truth) ** 2)


@pytest.mark.slow
def test_std_is_larger_far_from_the_data_and_decreases_with_points_of_the_same_curve(learned):
    """ "Predictive std is larger for configurations far from the data, and decreases when points of the same curve are
    added." The first in the mean over directions: towards a corner the horizon value saturates."""
    frame, _, fitted = learned
    inside = rng(8).random((200, 3))
    outside = inside + 4 * np.sign(inside - 0.5)
    near, far = (fitted.parts(x)[..., -1].std(axis=(0, 1)).mean() for x in (inside, outside))
    assert far > 1.1 * near
    prediction = Prediction(frame, fitted.parts(rng(8).random((1, 3))).reshape(-1, SIZE), Discrepancy(0.05, 2.0, 0.01))
    steps = np.arange(1.0, 19.0)
    values = planted(rng(8).random((1, 3)), steps / 20)[0]
    deviations = [prediction.end(steps[:count], values[:count])[1] for count in (1, 4, 10, 18)]
    assert (np.diff(deviations) < 0).all()


def test_samples_repeat_and_features_alone_are_normalised():
    """ "Normalisation leaves the t column untouched." The network takes features only; t goes to the layer as it is."""
    x, t = rng().random((12, 2)) * [1, 1000], np.array([0.1, 0.5, 1.0])
    y = planted(x / [1, 1000], t)
    y[3, 1:] = np.nan
    sizes = Sizes(steps=20, burn=10, every=5)
    first, second = (train(x, t, y, sizes, rng(4)) for _ in range(2))
    assert torch.equal(first.samples, second.samples) and first.samples.shape[:2] == (2, 5)
    assert first.mean == pytest.approx(x.mean(axis=0)) and first.spread == pytest.approx(x.std(axis=0))
    assert np.bincount(first.left_out, minlength=5).max() == 3
    again = train(x * [7, 0.1] + 3, t, y, sizes, rng(4))
    assert again.parts(x * [7, 0.1] + 3) == pytest.approx(first.parts(x))


# ---------------------------------------------------------------- the rule


def test_curves_on_the_grid():
    frame = Frame(1, 20, 20, 0.0, 1.0)
    t = grid(frame)
    assert len(t) <= 12 and t[0] == 0.05 and t[-1] == 1.0 and (np.diff(t) > 0).all()
    steps = np.arange(1.0, 21.0)
    assert on_grid(frame, t, steps, steps / 20) == pytest.approx(frame.y(t))
    assert np.isfinite(on_grid(frame, t, steps[:7], steps[:7] / 20)).tolist() == (t <= 7 / 20 + 1e-9).tolist()


def made(sign=1, count=24, **options):
    space = Space(Real("end", 0.0, 1.0), Real("rate", 0.0, 1.0))
    target = Target(space, (Objective("score", "max" if sign > 0 else "min"),), {}, None, None)
    rule = CurveNetwork(target, rng(), **{"steps": 200, "startup": 8, "refit": 16, **options})
    for number in range(count):
        candidate = {"end": float(rng(number).random()), "rate": 0.5}
        rule.tell(reported(number, curve_of(candidate, sign), candidate=candidate), rng(number))
    return rule


def curve_of(candidate, sign=1):
    x = np.arange(1, 16)
    return [float(v) for v in sign * (0.1 + 0.8 * candidate["end"] * (1 - np.exp(-0.3 * x)))]


def stops_at(stopping, values):
    points = [[step, value] for step, value in enumerate(values, 1)]
    return next((count for count in range(1, len(points) + 1) if CurveNetwork.stop(stopping, points[:count])), None)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1], ids=["max", "min"])
def test_bad_curves_stop_early_and_good_ones_never(sign):
    rule = made(sign)
    bad, good = {"end": 0.05, "rate": 0.5}, {"end": 1.0, "rate": 0.5}
    for candidate, early in ((bad, True), (good, False)):
        fixed = json.loads(json.dumps(rule.stopping(Proposal(candidate), 0)))
        assert len(json.dumps(fixed)) < 50_000
        at = stops_at(fixed, curve_of(candidate, sign))
        assert (at is not None and at <= 8) if early else at is None


@pytest.mark.slow
def test_before_enough_curves_are_told_nothing_is_stopped():
    rule = made(count=7)
    assert rule.stopping(Proposal({"end": 0.5, "rate": 0.5}), 0) is None
    assert made(count=8).stopping(Proposal({"end": 0.5, "rate": 0.5}, budget=2.0), 0) is None


@pytest.mark.slow
def test_failed_trials_and_those_without_a_curve_are_survived():
    rule = made(count=8, refit=1)
    rule.tell(reported(8, [0.1, 0.2], candidate={"end": 0.2, "rate": 0.2}, metrics={}), rng())
    rule.tell(reported(9, [], metrics={"score": 0.3}, candidate={"end": 0.2, "rate": 0.2}), rng())
    rule.tell(reported(10, [0.1], candidate={"end": 0.2, "rate": 0.2}, origin="stopped"), rng())
    assert rule.stopping(Proposal({"end": 0.5, "rate": 0.5}), 0) is not None
