"""The learning-curve layer of LC-Net: a horizon value and five bounded basis functions that are 0 at the horizon.

mu(t) = y_inf + sum of w_i phi_i(t; theta_i), t in (0, 1]. Written for numpy and for torch alike: `lib` is the module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

THETA, BASES = 13, 5
SIZE = THETA + BASES + 1
"""Numbers that describe a curve: 13 of the bases, 5 weights, the horizon value."""


def bases(t: Any, theta: Sequence[Any], lib: Any) -> list[Any]:
    """Vapor pressure, power, log power, exponential, Hill3: five (..., n) for t (..., n), 13 of (..., 1) in [0, 1].

    Parameters act in [0.5, 1]: u(p) = (p + 1) / 2.
    """
    u = [(one + 1) / 2 for one in theta]
    a, b, c = -u[0], -u[1] / 10, -u[2] / 10
    vapor = lib.exp(a + b / t + c * lib.log(t)) - lib.exp(a + b)
    power = u[3] * (t ** u[4] - 1)
    scale, bend = lib.exp(u[6]), u[7] / 10
    log_power = 2 * u[5] * (1 / (1 + scale**-bend) - 1 / (1 + (t / scale) ** bend))
    exponential = u[9] * (lib.exp(-u[8]) - lib.exp(-u[8] * t))
    steep = u[11] / 10
    hill = u[10] * (1 / ((u[12] / t) ** steep + 1) - 1 / (u[12] ** steep + 1))
    return [vapor, power, log_power, exponential, hill]


def curve(t: Any, parts: Any, lib: Any) -> Any:
    """(..., n) values at t (..., n) of curves that `parts` (..., 19) describe."""
    one = parts.unbind(-1) if hasattr(parts, "unbind") else lib.moveaxis(parts, -1, 0)
    each = [value[..., None] for value in one]
    weighted = zip(each[THETA:-1], bases(t, each[:THETA], lib), strict=True)
    return each[-1] + sum(weight * phi for weight, phi in weighted)
