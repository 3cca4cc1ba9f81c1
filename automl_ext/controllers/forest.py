"""An ensemble of randomised trees as a surrogate: for features on which distances mean little.

P. Geurts, D. Ernst, L. Wehenkel, "Extremely Randomized Trees", 2006; the spread of the trees as the deviation after F.
Hutter, H. H. Hoos, K. Leyton-Brown, "Sequential Model-Based Optimization for General Algorithm Configuration" (SMAC),
2011.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import ExtraTreeRegressor

Floats = NDArray[np.float64]
FLOOR = 0.05
"""Smallest deviation, as a share of that of the values: trees that agree are not certain."""


class Forest:
    """Fitted to features x (n, d) and values y (n,); immutable. count: of trees, each on a bootstrap sample."""

    def __init__(self, x: Floats, y: Floats, rng: np.random.Generator, count: int = 24) -> None:
        self.floor = max(FLOOR * float(y.std()), 1e-6)
        self.trees = []
        for _ in range(count):
            drawn = rng.integers(len(x), size=len(x))
            tree = ExtraTreeRegressor(max_features=0.5, random_state=int(rng.integers(2**31)))
            self.trees.append(tree.fit(x[drawn], y[drawn]))

    def predict(self, x: Floats, pending: Sequence[Floats] = ()) -> tuple[Floats, Floats]:
        """(m,) mean and deviation at x (m, d); lower where trees do not tell x from a pending row (d,)."""
        values = np.array([tree.predict(x) for tree in self.trees])
        deviation = values.std(axis=0)
        if len(pending):
            rows = np.array(pending)
            alike = [(tree.apply(x)[:, None] == tree.apply(rows)[None, :]).any(axis=1) for tree in self.trees]
            deviation = deviation * (1.0 - np.mean(alike, axis=0))
        return values.mean(axis=0), np.maximum(deviation, self.floor)
