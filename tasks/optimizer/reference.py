"""Hand-made update rules, shown beside every result: as programs, and so the interpreter's test oracles.

The step is w <- w - rate * update. AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) and Lion (Chen et al. 2023,
arXiv 2302.06675) have their weight decay in the update; PowerSign and AddSign are of Bello et al. 2017, arXiv
1709.07417, without a decay of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automl_ext.tasks.optimizer.graph import Program, statements

_ADAM: list[list[Any]] = [
    ["m1", "interp", ["m1", "g", 0.1]],
    ["x1", "square", ["g"]],
    ["m2", "interp", ["m2", "x1", 0.001]],
    ["x2", "div", ["m1", "bias1"]],
    ["x3", "div", ["m2", "bias2"]],
    ["x3", "sqrt", ["x3"]],
    ["x3", "add", ["x3", 1e-8]],
]  # fmt: skip
_SIGNS: list[list[Any]] = [
    ["m1", "interp", ["m1", "g", 0.1]],
    ["x1", "sign", ["g"]],
    ["x2", "sign", ["m1"]],
    ["x1", "mul", ["x1", "x2"]],
]
_LION: list[list[Any]] = [
    ["x1", "interp", ["m1", "g", 0.1]],
    ["x1", "sign", ["x1"]],
    ["m1", "interp", ["m1", "g", 0.01]],
]
_MOMENTUM: list[list[Any]] = [["m1", "mul", ["m1", 0.9]], ["m1", "add", ["m1", "g"]]]

_ROWS: Mapping[str, list[list[Any]]] = {
    "sgd": [["update", "mul", ["g", 1.0]]],
    "momentum": [*_MOMENTUM, ["update", "mul", ["m1", 1.0]]],
    "nesterov": [*_MOMENTUM, ["x1", "mul", ["m1", 0.9]], ["update", "add", ["x1", "g"]]],
    "rmsprop": [
        ["x1", "square", ["g"]],
        ["m1", "interp", ["m1", "x1", 0.01]],
        ["x1", "sqrt", ["m1"]],
        ["x1", "add", ["x1", 1e-8]],
        ["update", "div", ["g", "x1"]],
    ],
    "adam": [*_ADAM, ["update", "div", ["x2", "x3"]]],
    "adamw": [*_ADAM, ["x2", "div", ["x2", "x3"]], ["x3", "mul", ["w", 0.01]], ["update", "add", ["x2", "x3"]]],
    "lion": [*_LION, ["x2", "mul", ["w", 0.1]], ["update", "add", ["x1", "x2"]]],
    "powersign": [*_SIGNS, ["x1", "exp", ["x1"]], ["update", "mul", ["x1", "g"]]],
    "addsign": [*_SIGNS, ["x1", "add", ["x1", 1.0]], ["update", "mul", ["x1", "g"]]],
}
REFERENCES: Mapping[str, Program] = {name: statements(rows) for name, rows in _ROWS.items()}
"""Name -> program, at the papers' or torch's usual constants."""
