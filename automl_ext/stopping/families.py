"""Eleven families of saturating curves, after the table of Domhan, Springenberg and Hutter, IJCAI 2015.

Each is a function of x (n,), epochs from 1, and parameters (..., k), and gives values (..., n): many parameter vectors
at once. What overflows or has no value is inf or nan, without a warning; `Family.__call__` sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """name, formula, and start values of the least-squares fit, which also give the number of parameters.

    further: more start values to try, for curves that rise early.
    """

    name: str
    formula: Callable[..., Floats]
    start: tuple[float, ...]
    further: tuple[tuple[float, ...], ...] = ()

    def __call__(self, x: Floats, theta: Floats) -> Floats:
        """(..., n) values at x (n,) for parameters (..., k)."""
        with np.errstate(all="ignore"):
            return self.formula(x, *[theta[..., index, None] for index in range(len(self.start))])


def _vapor_pressure(x: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    return np.exp(a + b / x + c * np.log(x))


def _pow3(x: Floats, c: Floats, a: Floats, alpha: Floats) -> Floats:
    return c - a * x**-alpha


def _log_log_linear(x: Floats, a: Floats, b: Floats) -> Floats:
    return np.log(a * np.log(x) + b)


def _hill3(x: Floats, theta: Floats, eta: Floats, kappa: Floats) -> Floats:
    return theta * x**eta / (kappa**eta + x**eta)


def _log_power(x: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    return a / (1 + (x / np.exp(b)) ** c)


def _pow4(x: Floats, c: Floats, a: Floats, b: Floats, alpha: Floats) -> Floats:
    return c - (a * x + b) ** -alpha


def _mmf(x: Floats, alpha: Floats, beta: Floats, kappa: Floats, delta: Floats) -> Floats:
    return alpha - (alpha - beta) / (1 + (kappa * x) ** delta)


def _exp4(x: Floats, c: Floats, a: Floats, b: Floats, alpha: Floats) -> Floats:
    return c - np.exp(-a * x**alpha + b)


def _janoschek(x: Floats, alpha: Floats, beta: Floats, kappa: Floats, delta: Floats) -> Floats:
    return alpha - (alpha - beta) * np.exp(-kappa * x**delta)


def _weibull(x: Floats, alpha: Floats, beta: Floats, kappa: Floats, delta: Floats) -> Floats:
    return alpha - (alpha - beta) * np.exp(-((kappa * x) ** delta))


def _ilog2(x: Floats, c: Floats, a: Floats) -> Floats:
    return c - a / np.log(x + 1)


FAMILIES: Sequence[Family] = (
    Family("vapor pressure", _vapor_pressure, (-0.622028, -0.470050, 0.042322)),
    Family("pow3", _pow3, (0.84, 0.52, 0.01)),
    Family("log log linear", _log_log_linear, (1.0, 1.0)),
    Family("hill3", _hill3, (0.772320, 0.586449, 2.460843)),
    Family("log power", _log_power, (0.77, 2.98, -0.51)),
    Family("pow4", _pow4, (0.8, 200.0, 0.0, 0.1)),
    Family("mmf", _mmf, (0.7, 0.1, 0.01, 5.0), ((0.7, 0.1, 0.2, 1.0),)),
    Family("exp4", _exp4, (0.7, 0.8, -0.8, 0.3)),
    Family("janoschek", _janoschek, (0.73, 0.07, 0.355, 0.46)),
    Family("weibull", _weibull, (0.7, 0.1, 0.01, 1.0), ((0.7, 0.1, 0.2, 1.0),)),
    Family("ilog2", _ilog2, (0.78, 0.43)),
)
