"""Properties of the paper, as the specification lists them, each quoted by the test that checks it."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from scipy.stats import norm
from targets import reported as trial

from automl_ext import Objective, Proposal, Real, Space
from automl_ext.searcher import Target
from automl_ext.stopping import ensemble
from automl_ext.stopping.ensemble import Ensemble, Posterior, fit, fitted, predict, recency
from automl_ext.stopping.extrapolation import Extrapolation, flat_start
from automl_ext.stopping.families import FAMILIES

X = np.arange(1.0, 31.0)
BY_NAME = {family.name: family for family in FAMILIES}
PLANTED = {
    "vapor pressure": (-0.3, -1.0, 0.01), "pow3": (0.85, 0.6, 0.7), "log log linear": (0.4, 1.3),
    "hill3": (0.8, 1.2, 3.0), "log power": (0.8, 1.0, -1.2), "pow4": (0.85, 0.8, 1.0, 1.0),
    "mmf": (0.8, 0.1, 0.3, 1.5), "exp4": (0.8, 0.5, -0.3, 0.7), "janoschek": (0.8, 0.1, 0.3, 0.8),
    "weibull": (0.8, 0.1, 0.2, 1.1), "ilog2": (0.9, 0.5),
}  # fmt: skip


def formulas(x):
    """The table of the paper at PLANTED, one number at a time: an oracle that shares no code with the families."""
    from math import exp, log

    p = PLANTED
    (va, vb, vc), (pc, pa, pal), (la, lb), (ht, he, hk), (ga, gb, gc) = list(p.values())[:5]
    (qc, qa, qb, qal), (ma, mb, mk, md), (ec, ea, eb, eal), (ja, jb, jk, jd), (wa, wb, wk, wd), (ic, ia) = list(
        p.values()
    )[5:]
    return {
        "vapor pressure": exp(va + vb / x + vc * log(x)), "pow3": pc - pa * x ** (-pal),
        "log log linear": log(la * log(x) + lb), "hill3": ht * x**he / (hk**he + x**he),
        "log power": ga / (1 + (x / exp(gb)) ** gc), "pow4": qc - (qa * x + qb) ** (-qal),
        "mmf": ma - (ma - mb) / (1 + (mk * x) ** md), "exp4": ec - exp(-ea * x**eal + eb),
        "janoschek": ja - (ja - jb) * exp(-jk * x**jd), "weibull": wa - (wa - wb) * exp(-((wk * x) ** wd)),
        "ilog2": ic - ia / log(x + 1),
    }  # fmt: skip


def rng(number=0):
    return np.random.default_rng(number)


def planted(name, noise=0.005, seed=0, x=X):
    clean = BY_NAME[name](x, np.array(PLANTED[name]))
    return clean + rng(seed).normal(0, noise, len(x)), clean


# ---------------------------------------------------------------- families


@pytest.mark.parametrize("name", PLANTED)
def test_families_are_the_formulas_of_the_table(name):
    found = BY_NAME[name](X, np.array(PLANTED[name]))
    assert found == pytest.approx([formulas(x)[name] for x in X], rel=1e-12)


def test_parameter_counts_per_curve_and_finite_start_values():
    """ "Parameter counts per curve: 3,3,2,3,3,4,4,4,4,4,2 (total 36); all finite on 1..1000 with start values" """
    assert [len(family.start) for family in FAMILIES] == [3, 3, 2, 3, 3, 4, 4, 4, 4, 4, 2]
    for family in FAMILIES:
        assert np.isfinite(family(np.arange(1.0, 1001.0), np.array(family.start))).all()


def test_many_parameter_vectors_at_once_are_one_by_one():
    for family in FAMILIES:
        thetas = np.array(family.start) * rng().uniform(0.8, 1.2, (5, len(family.start)))
        assert np.array_equal(family(X, thetas), np.stack([family(X, theta) for theta in thetas]), equal_nan=True)


@pytest.mark.parametrize("name", PLANTED)
def test_least_squares_recovers_data_generated_from_each_curve(name):
    """ "Data generated from each curve with noise 0.005: least squares recovers values with RMSE < 0.01." """
    y, clean = planted(name)
    theta = fit(BY_NAME[name], X, y)
    assert theta is not None and np.sqrt(np.mean((BY_NAME[name](X, theta) - clean) ** 2)) < 0.01


# ---------------------------------------------------------------- the probabilistic model


def made(y=None):
    found = fitted(X, planted("pow3")[0] if y is None else y, 60.0)
    assert found is not None
    return found


def test_weights_normalise_to_1():
    """ "Weights normalise to 1" """
    model, start = made()
    vectors = start * rng().uniform(0.5, 1.5, (20, model.dim))
    assert model.weights(vectors).sum(axis=1) == pytest.approx(np.ones(20))
    curves = model.curves(X, vectors)
    assert model.mean(X, vectors)[3] == pytest.approx(model.weights(vectors)[3] @ curves[3])


def test_negative_weights_and_decreasing_curves_have_log_prior_minus_infinity():
    """ "w<0 or decreasing curves have log prior -inf." And sigma outside (0, 1), and an end outside the bounds."""
    model = Ensemble((BY_NAME["pow3"], BY_NAME["ilog2"]), X, planted("pow3")[0], 60.0)
    good = np.array([0.85, 0.6, 0.7, 0.9, 0.5, 10.0, 10.0, 0.1])
    assert np.isfinite(model.log_posterior(good[None])).all()
    for place, value in [(5, -0.1), (7, 0.0), (7, 1.0), (1, -0.6), (4, -0.5), (0, 3.0), (0, -5.0), (2, -400.0)]:
        bad = good.copy()
        bad[place] = value
        assert model.log_posterior(bad[None])[0] == -np.inf


def test_the_posterior_is_the_formula():
    model = Ensemble((BY_NAME["pow3"],), X, planted("pow3")[0], 60.0)
    xi = np.array([[0.85, 0.6, 0.7, 10.0, 0.02], [0.8, 0.5, 0.6, 10.0, 0.1]])
    expected = [
        sum(
            r * (norm.logpdf(y, 0.0 + t[0] - t[1] * x ** -t[2], t[4]))
            for r, x, y in zip(recency(30), X, model.y, strict=True)
        )
        for t in xi
    ]
    found = model.log_posterior(xi)
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1])


def test_recency_weights_increase_by_a_factor_of_10():
    """ "Recency weights increase by factor 10 from first to (nearly) last." """
    weights = recency(50)
    assert weights[-1] / weights[0] == pytest.approx(10 ** (49 / 50)) and weights.mean() == pytest.approx(1.0)
    assert (np.diff(weights) > 0).all()


def test_the_probability_to_exceed_is_non_increasing():
    """ "P(y_m>y) is non-increasing in y, equals ~1 for y far below and ~0 far above." """
    end = Posterior(np.array([0.7, 0.72, 0.8]), np.array([0.01, 0.02, 0.05]))
    chances = [end.exceeds(y) for y in np.linspace(0, 1.5, 60)]
    assert (np.diff(chances) <= 0).all() and chances[0] > 0.9999 and chances[-1] < 1e-4
    expected = np.mean([1 - norm.cdf((0.75 - m) / s) for m, s in zip(end.means, end.sigmas, strict=True)])
    assert end.exceeds(0.75) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", ["pow3", pytest.param("exp4", marks=pytest.mark.slow), pytest.param("mmf", marks=pytest.mark.slow)]
)
def test_the_end_of_a_curve_from_a_family_is_recovered(name):
    x = np.arange(1.0, 61.0)
    y, clean = planted(name, noise=0.003, x=x)
    end = predict(X, y[:30], 60.0, rng(1))
    assert end is not None and abs(end.mean - clean[-1]) < 0.03
    assert abs(end.mean - clean[-1]) < abs(y[29] - clean[-1]) + 0.01


@pytest.mark.slow
def test_predictive_std_shrinks_as_more_points_are_observed():
    """ "Predictive std shrinks as more points are observed." In the mean of three curves."""
    x, spread = np.arange(1.0, 51.0), []
    for count in (8, 40):
        ends = [predict(x[:count], planted("pow3", 0.01, seed, x)[0][:count], 50.0, rng(seed)) for seed in range(3)]
        spread.append(np.mean([end.std for end in ends]))
    assert spread[1] < spread[0]


@pytest.mark.slow
def test_the_posterior_at_observed_points_is_within_noise():
    """ "Posterior predictive at observed x within noise." """
    y, clean = planted("hill3", 0.005)
    end = predict(X, y, X[-1], rng())
    assert end is not None and abs(end.mean - clean[-1]) < 0.01


@pytest.mark.slow
def test_a_prediction_repeats_and_takes_about_a_second():
    y, _ = planted("mmf")
    began = time.process_time()
    first = predict(X, y, 60.0, rng(3))
    assert time.process_time() - began < 4
    second = predict(X, y, 60.0, rng(3))
    assert first is not None and second is not None and np.array_equal(first.means, second.means)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    predict(X, y, 60.0, rng(4), steps=20, burn=10)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# ---------------------------------------------------------------- the termination criterion


def rule(goal="max", **options):
    target = Target(Space(Real("x", 0.0, 1.0)), (Objective("score", goal),), {}, None, None)
    return Extrapolation(target, rng(), **{"steps": 60, **options})


def curve(end, rate=0.25, count=30, seed=0, sign=1, noise=0.004):
    x = np.arange(1, count + 1)
    return list(sign * (0.1 + (end - 0.1) * (1 - np.exp(-rate * x)) + rng(seed).normal(0, noise, count)))


def fixed(ends=(0.9, 0.8, 0.7, 0.5, 0.3), sign=1, **options):
    built = rule("max" if sign > 0 else "min", **options)
    for number, end in enumerate(ends):
        built.tell(trial(number, curve(end, seed=number, sign=sign)), rng())
    found = built.stopping(Proposal({"x": 0.5}), 11)
    return found if found is None else json.loads(json.dumps(found))


def stops_at(stopping, values):
    points = [[step, value] for step, value in enumerate(values, 1)]
    return next((count for count in range(1, len(points) + 1) if Extrapolation.stop(stopping, points[:count])), None)


@pytest.mark.parametrize("sign", [1, -1], ids=["accuracy", "falling loss"])
def test_a_saturated_bad_curve_stops(sign):
    """ "A saturated bad curve (0.3 flat) with y_best=0.9 stops" """
    assert stops_at(fixed(sign=sign), list(sign * np.array(curve(0.3, rate=2.0, seed=9)))) in (5, 10, 15)


@pytest.mark.parametrize("sign", [1, -1], ids=["accuracy", "falling loss"])
def test_a_curve_already_above_the_best_never_stops(sign):
    """ "a curve already above y_best never stops" """
    values = [sign * value for value in curve(0.95, rate=1.5, seed=9)]
    assert stops_at(fixed((0.6, 0.5, 0.4, 0.3, 0.5), sign=sign), values) is None


def test_a_good_curve_is_not_stopped():
    assert stops_at(fixed(), curve(1.0, rate=0.15, seed=9)) is None


def test_no_incumbent_never_stops():
    """ "no incumbent never stops" """
    assert fixed(()) is None and fixed((0.9, 0.8, 0.7, 0.5)) is None and fixed(()) is None


def test_failing_fits_never_stop(monkeypatch):
    """ "failing fits never stop (default = continue)" """
    values = curve(0.3, rate=2.0, seed=9)
    assert stops_at(fixed(), values) is not None
    monkeypatch.setattr(ensemble, "fit", lambda family, x, y: None)
    assert stops_at(fixed(), values) is None


def test_checks_are_rare_and_never_at_the_end():
    assert stops_at(fixed(every=7, warmup=8), curve(0.3, rate=2.0, seed=9)) == 14
    assert stops_at(fixed(every=30), curve(0.3, rate=2.0, seed=9)) is None


@pytest.mark.slow
def test_the_optimistic_mode_also_stops_a_curve_whose_end_is_certain():
    values = [*curve(0.7, rate=1.0, seed=9, noise=0.0)[:25], *[0.7] * 5]
    stopping = fixed((0.69, 0.5, 0.4, 0.3, 0.5), mode="optimistic")
    assert stops_at(stopping, values) is not None
    assert stops_at(fixed((0.69, 0.5, 0.4, 0.3, 0.5)), values) is None


def test_a_flat_start_is_cut():
    rising = list(np.linspace(0.2, 0.8, 12))
    assert flat_start(np.array([0.1] * 6 + rising)) == 5
    assert flat_start(np.array(rising)) in (0, 1)
    assert flat_start(np.full(20, 0.1)) == 0


@pytest.mark.slow
def test_curves_of_all_shapes_give_an_answer():
    """Constant, falling, jumping, single values: an answer, no warning and no exception."""
    shapes = [np.full(30, 0.1), np.full(30, 0.0), np.linspace(0.6, 0.0, 30), rng().random(30), np.eye(30)[10]]
    for values in shapes:
        assert stops_at(fixed(steps=20), list(values)) in (None, 5, 10, 15, 20, 25)
