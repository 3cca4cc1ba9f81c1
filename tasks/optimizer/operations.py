"""The fixed table of operations that update rules are made of.

Element by element unless said otherwise. A value is a tensor (one number a parameter) or a scalar (one for all).
Bello et al. 2017, arXiv 1709.07417, and Chen et al. 2023, arXiv 2302.06675, name most of them.

Differs from the papers:

1. `power` is |x|^y: a negative base with a broken exponent is no number. Logarithms and roots are of |x|, as in Lion's.
2. Norms and products run over all parameters together (Lion's `global_norm`); there is none a parameter tensor.
3. Lion's pi, e and 1e-8 are constants like any other; exp2, exp10, log2, log10 and arccos are left out, since a
   constant and another operation express them.
4. tan, arcsinh, arccosh, arctanh and clip_by_global_norm are left out, though it takes several operations to express
   them; so is invert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Kernel = Callable[..., Any]
"""kernel(out, *values): writes into `out`, which may be any of the values; shapes broadcast to that of `out`."""


@dataclass(frozen=True)
class Operation:
    """source: Python of one tensor, for the export; where it reduces, of lists of them, and `yield` makes a sum over
    these one over all parameters. latex: of the formula. Both have {0}, {1}, ... for the values.

    commutative: in all its values. reduces: tensors to one scalar. random: its values are drawn at every step.
    """

    arity: int
    kernel: Kernel
    source: str
    latex: str
    commutative: bool = False
    reduces: bool = False
    random: bool = False


def _log(out: Tensor, x: Tensor) -> None:
    torch.abs(x, out=out).log_()


def _log1p(out: Tensor, x: Tensor) -> None:
    torch.add(x, 1, out=out).abs_().log_()


def _root(out: Tensor, x: Tensor) -> None:
    torch.abs(x, out=out).sqrt_()


def _cube(out: Tensor, x: Tensor) -> None:
    torch.mul(x, x * x, out=out)


def _cube_root(out: Tensor, x: Tensor) -> None:
    sign = torch.sign(x)
    torch.abs(x, out=out).pow_(1 / 3).mul_(sign)


def _power(out: Tensor, x: Tensor, y: Tensor) -> None:
    torch.pow(x.abs(), y, out=out)


def _clip(out: Tensor, x: Tensor, limit: Tensor) -> None:
    lowest = -limit  # before `out` is written, which may be the limit
    torch.minimum(x, limit, out=out)
    torch.maximum(out, lowest, out=out)


def _drop(out: Tensor, x: Tensor, share: Tensor, chance: Tensor) -> None:
    torch.mul(x, chance >= share, out=out)


def _noise(out: Tensor, spread: Tensor, normal: Tensor) -> None:
    torch.mul(normal, spread, out=out)


def _interp(out: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> None:
    torch.lerp(x, y, weight, out=out)


def _unary(function: Callable[..., Tensor]) -> Kernel:
    return lambda out, x: function(x, out=out)


def _binary(function: Callable[..., Tensor]) -> Kernel:
    return lambda out, x, y: function(x, y, out=out)


def _norm(x: Tensor) -> Tensor:
    return (x * x).sum(-1, keepdim=True).sqrt_()


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1, keepdim=True)


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return _dot(x, y) / (_norm(x) * _norm(y) + 1e-8)


def _reduced(function: Callable[..., Tensor]) -> Kernel:
    return lambda out, *values: out.copy_(function(*values))


OPERATIONS: Mapping[str, Operation] = {
    "negative": Operation(1, _unary(torch.neg), "-{0}", r"-{0}"),
    "abs": Operation(1, _unary(torch.abs), "abs({0})", r"\left|{0}\right|"),
    "sign": Operation(1, _unary(torch.sign), "torch.sign({0})", r"\operatorname{{sign}}({0})"),
    "square": Operation(1, lambda out, x: torch.mul(x, x, out=out), "{0} * {0}", r"({0})^2"),
    "cube": Operation(1, _cube, "{0} * ({0} * {0})", r"({0})^3"),
    "sqrt": Operation(1, _root, "abs({0}) ** 0.5", r"\sqrt{{|{0}|}}"),
    "cbrt": Operation(1, _cube_root, "abs({0}) ** (1 / 3) * torch.sign({0})", r"\sqrt[3]{{{0}}}"),
    "exp": Operation(1, _unary(torch.exp), "torch.exp({0})", r"e^{{{0}}}"),
    "expm1": Operation(1, _unary(torch.expm1), "torch.expm1({0})", r"(e^{{{0}}} - 1)"),
    "log": Operation(1, _log, "torch.log(abs({0}))", r"\ln |{0}|"),
    "log1p": Operation(1, _log1p, "torch.log(abs({0} + 1))", r"\ln |1 + {0}|"),
    "reciprocal": Operation(1, _unary(torch.reciprocal), "1 / {0}", r"\frac{{1}}{{{0}}}"),
    "sin": Operation(1, _unary(torch.sin), "torch.sin({0})", r"\sin({0})"),
    "cos": Operation(1, _unary(torch.cos), "torch.cos({0})", r"\cos({0})"),
    "tanh": Operation(1, _unary(torch.tanh), "torch.tanh({0})", r"\tanh({0})"),
    "arcsin": Operation(1, _unary(torch.arcsin), "torch.arcsin({0})", r"\arcsin({0})"),
    "arctan": Operation(1, _unary(torch.arctan), "torch.arctan({0})", r"\arctan({0})"),
    "sinh": Operation(1, _unary(torch.sinh), "torch.sinh({0})", r"\sinh({0})"),
    "cosh": Operation(1, _unary(torch.cosh), "torch.cosh({0})", r"\cosh({0})"),
    "add": Operation(2, _binary(torch.add), "{0} + {1}", r"({0} + {1})", commutative=True),
    "sub": Operation(2, _binary(torch.sub), "{0} - {1}", r"({0} - {1})"),
    "mul": Operation(2, _binary(torch.mul), "{0} * {1}", r"{0} \cdot {1}", commutative=True),
    "div": Operation(2, _binary(torch.div), "{0} / {1}", r"\frac{{{0}}}{{{1}}}"),
    "power": Operation(2, _power, "abs({0}) ** {1}", r"|{0}|^{{{1}}}"),
    "max": Operation(2, _binary(torch.maximum), "_larger({0}, {1})", r"\max({0}, {1})", commutative=True),
    "min": Operation(2, _binary(torch.minimum), "_smaller({0}, {1})", r"\min({0}, {1})", commutative=True),
    "clip": Operation(2, _clip, "_clip({0}, {1})", r"\operatorname{{clip}}({0}, {1})"),
    "drop": Operation(2, _drop, "{0} * (self._uniform(g) >= {1})", r"\operatorname{{drop}}({0}, {1})", random=True),
    "noise": Operation(1, _noise, "{0} * self._normal(g)", r"\mathcal{{N}}(0, {0}^2)", random=True),
    "interp": Operation(3, _interp, "{0} + {2} * ({1} - {0})", r"\left((1 - {2}) {0} + {2} {1}\right)"),
    "norm": Operation(1, _reduced(_norm), "(yield _dot({0}, {0})) ** 0.5", r"\|{0}\|", reduces=True),
    "dot": Operation(
        2, _reduced(_dot), "yield _dot({0}, {1})", r"\langle {0}, {1} \rangle", commutative=True, reduces=True
    ),
    "cosine": Operation(
        2,
        _reduced(_cosine),
        "(yield _dot({0}, {1})) / ((yield _dot({0}, {0})) ** 0.5 * (yield _dot({1}, {1})) ** 0.5 + 1e-8)",
        r"\cos\angle({0}, {1})",
        commutative=True,
        reduces=True,
    ),
}
"""Name -> operation. Kernels of random ones get one more value, drawn: uniform in [0, 1) for drop, normal for noise."""
