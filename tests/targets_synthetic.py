"""Synthetic targets with known optima: published problems of several objectives, and one of each kind of space.

Found by workers as `targets_synthetic:tests_synthetic/Name-v0`. ZDT: Zitzler, Deb, Thiele 2000. DTLZ: Deb, Thiele,
Laumanns, Zitzler 2002. Branin and Hartmann: Dixon, Szegö 1978.
"""

from __future__ import annotations

import gymnasium
import numpy as np

from automl_ext import Choice, Integer, Objective, Real, SearchEnv, Space

ID = "targets_synthetic:tests_synthetic/{}-v0"


def register(cls: type) -> type:
    gymnasium.register(f"tests_synthetic/{cls.__name__}-v0", entry_point=cls)
    return cls


class Numbers(SearchEnv):
    """Numbers x0, x1, ... in [0, 1]; minimises f0, f1, ... of them, which `values` gives for (n, variables) at once."""

    objective_count = 2

    def __init__(self, variables: int = 5):
        self.space = Space(*(Real(f"x{index}", 0.0, 1.0) for index in range(variables)))
        self.objectives = tuple(Objective(f"f{index}", "min") for index in range(self.objective_count))

    def evaluate(self, job, report):
        row = self.values(np.array([list(job.candidate.values())]))[0]
        return {f"f{index}": float(value) for index, value in enumerate(row)}


@register
class Zdt1(Numbers):
    """Front f1 = 1 - sqrt(f0): where all but x0 are 0."""

    def values(self, x):
        g = 1 + 9 * x[:, 1:].mean(axis=1)
        return np.column_stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))])


@register
class Zdt3(Numbers):
    """The front has five pieces of f1 = 1 - sqrt(f0) - f0 sin(10 pi f0)."""

    def values(self, x):
        g, f = 1 + 9 * x[:, 1:].mean(axis=1), x[:, 0]
        return np.column_stack([f, g * (1 - np.sqrt(f / g) - f / g * np.sin(10 * np.pi * f))])


@register
class Dtlz2(Numbers):
    """Three objectives; the front is the eighth of the unit sphere: where x2, x3, ... are 0.5."""

    objective_count = 3

    def values(self, x):
        g = 1 + ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
        one, two = np.pi / 2 * x[:, 0], np.pi / 2 * x[:, 1]
        return g[:, None] * np.column_stack([np.cos(one) * np.cos(two), np.cos(one) * np.sin(two), np.sin(one)])


@register
class Branin(SearchEnv):
    """Minimum 0.397887 at (pi, 2.275) and two more places."""

    optimum = 0.397887

    def __init__(self):
        self.space = Space(Real("x", -5.0, 10.0), Real("y", 0.0, 15.0))
        self.objectives = (Objective("value", "min"),)
        self.references = {"minimum": {"x": float(np.pi), "y": 2.275}}

    def evaluate(self, job, report):
        x, y = job.candidate["x"], job.candidate["y"]
        bowl = y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6
        return {"value": float(bowl**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10)}


_HARTMANN_A = np.array([
    [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
])  # fmt: skip
_HARTMANN_P = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
])  # fmt: skip


@register
class Hartmann6(SearchEnv):
    """Minimum -3.32237 in six numbers."""

    optimum = -3.32237

    def __init__(self):
        self.space = Space(*(Real(f"x{index}", 0.0, 1.0) for index in range(6)))
        self.objectives = (Objective("value", "min"),)
        place = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
        self.references = {"minimum": {f"x{index}": value for index, value in enumerate(place)}}

    def evaluate(self, job, report):
        x = np.array(list(job.candidate.values()))
        hills = np.exp(-(_HARTMANN_A * (x - _HARTMANN_P) ** 2).sum(axis=1))
        return {"value": float(-(np.array([1.0, 1.2, 3.0, 3.2]) * hills).sum())}


@register
class Methods(SearchEnv):
    """Conditional: three methods with options of their own; each has its best, the network's is the highest, 1."""

    optimum = 1.0

    def __init__(self):
        linear = Space(Real("penalty", 1e-4, 10.0, log=True))
        tree = Space(Integer("depth", 1, 12), Choice("split", ["best", "random"]))
        net = Space(Integer("layers", 1, 6), Real("rate", 1e-5, 1.0, log=True), Choice("act", ["relu", "tanh", "none"]))
        branches = {"linear": linear, "tree": tree, "net": net}
        self.space = Space(Choice("method", list(branches), branches=branches), Choice("scaled", [True, False]))
        self.objectives = (Objective("score"),)
        best = {"method": "net", "method/layers": 3, "method/rate": 1e-2, "method/act": "relu", "scaled": True}
        self.references = {"best": best}

    def evaluate(self, job, report):
        made = {path.rpartition("/")[2]: value for path, value in job.candidate.items()}
        if made["method"] == "linear":
            score = 0.8 - 0.05 * abs(np.log10(made["penalty"]))
        elif made["method"] == "tree":
            score = 0.9 - 0.03 * abs(made["depth"] - 7) - 0.1 * (made["split"] == "random")
        else:
            wrong = {"relu": 0.0, "tanh": 0.05, "none": 0.4}[made["act"]]
            score = 1.0 - 0.08 * abs(made["layers"] - 3) - 0.15 * abs(np.log10(made["rate"]) + 2) - wrong
        return {"score": float(score) - 0.05 * (not made["scaled"])}


def formula(depth: int) -> Space:
    """Operands of a sum or a product: numbers, or formulas with one level less."""
    inner = formula(depth - 1) if depth > 1 else None
    operators = {"add": inner, "multiply": inner} if inner else {}
    return Space(*(Choice(side, [1, 2, 3, *operators], branches=operators, kind="term") for side in ("left", "right")))


@register
class Formula(SearchEnv):
    """Hierarchical: a formula of 1, 2, 3, sums and products, three levels deep, whose value shall be 144."""

    optimum = 0.0

    def __init__(self):
        body = formula(3)
        self.space = Space(Choice("top", ["add", "multiply"], branches={"add": body, "multiply": body}))
        self.objectives = (Objective("score"),)
        dozen = {"": "add", "/left": "multiply", "/left/left": 3, "/left/right": 3, "/right": 3}
        made = {"top": "multiply"}
        made |= {f"top/{side}{path}": value for side in ("left", "right") for path, value in dozen.items()}
        self.references = {"twelve squared": made}

    def evaluate(self, job, report):
        return {"score": -abs(float(np.log(self.value(job.candidate, "top") / 144)))}

    def value(self, made, path: str) -> int:
        if made[path] not in ("add", "multiply"):
            return made[path]
        left, right = (self.value(made, f"{path}/{side}") for side in ("left", "right"))
        return left + right if made[path] == "add" else left * right
