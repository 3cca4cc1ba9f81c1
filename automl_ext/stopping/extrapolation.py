"""Extrapolation: stop a curve that will hardly beat the best value so far.

T. Domhan, J. T. Springenberg, F. Hutter, "Speeding up Automatic Hyperparameter Optimization of Deep Neural Networks by
Extrapolation of Learning Curves", IJCAI 2015.

Differs from the paper:
1. 300 steps a walker instead of 2,500, 150 of them dropped instead of 500, so that a prediction costs about a second;
   walkers start within 3 % of the least-squares fit instead of 1e-6, since so few steps would not spread them.
2. The searcher is told what the evaluation returned when it was stopped, not the predicted value, and a stopped trial
   is never the best.
3. Curves need not be accuracies: they are mapped by `curves.Frame`, a falling loss by a decreasing affine map.
4. The value to beat is the last of the best trial told when this one was asked, not the best known when it is judged.
5. The prior lets a curve end within [0, 2] of the frame, not [0, 100]; observations weigh more towards the end as in
   the authors' termination script, but with mean 1: without that few points look like many.
6. The start vector weighs each family by the inverse of its squared error, not all alike, and two families are fitted
   from a second start, too: few steps cannot repair a bad one.
7. No curve is stopped before `startup` whole ones are told: the frame comes from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.stopping.curves import Floats, Frame, Told, one_curve
from automl_ext.stopping.ensemble import predict
from automl_ext.stopping.rule import Points

CERTAIN = 0.005
"""Standard deviation of the prediction below which the optimistic mode stops."""


class Extrapolation:
    """delta: stop where the probability to beat the best is below it. every: points between two checks.

    warmup: points of a curve never judged. startup: whole curves of the same budget before anything is stopped. mode:
    `optimistic` also stops a curve whose end is certain. steps: of the MCMC; half of them are dropped.
    Raises ValueError for several objectives, ModuleNotFoundError without emcee.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        delta: Annotated[float, Field(gt=0, lt=1)] = 0.05,
        every: Annotated[int, Field(ge=1, le=1_000_000)] = 5,
        warmup: Annotated[int, Field(ge=3, le=1_000_000)] = 4,
        startup: Annotated[int, Field(ge=1, le=100_000)] = 5,
        mode: Literal["conservative", "optimistic"] = "conservative",
        steps: Annotated[int, Field(ge=20, le=100_000)] = 300,
    ) -> None:
        import emcee  # noqa: F401

        one_curve(target.objectives, "extrapolation")
        self.startup = startup
        self.options = {"delta": delta, "every": every, "warmup": warmup, "mode": mode, "steps": steps}
        self._told = Told(target.objectives)

    def stopping(self, proposal: Proposal, seed: int) -> Mapping[str, Any] | None:
        frame, bar = self._told.frame(proposal.budget), self._told.bar(proposal.budget)
        if frame is None or bar is None or self._told.count(proposal.budget) < self.startup:
            return None
        return {**self.options, "frame": frame.to_json(), "bar": bar, "seed": seed}

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        self._told.add(trial)

    @staticmethod
    def stop(stopping: Mapping[str, Any], points: Points) -> bool:
        frame, count = Frame.from_json(stopping["frame"]), len(points)
        if frame.ends(points[-1][0]) or count <= stopping["warmup"] or count % stopping["every"]:
            return False
        steps, values = np.array(points, dtype=float).T
        x, y, best = frame.x(steps), frame.y(values), float(frame.y([stopping["bar"]])[0])
        if y.max() > best and stopping["mode"] == "conservative":
            return False
        keep = flat_start(y)
        rng = np.random.default_rng((stopping["seed"], count))
        end = predict(x[keep:], y[keep:], frame.points, rng, steps=stopping["steps"], burn=stopping["steps"] // 2)
        if end is None:
            return False
        certain = stopping["mode"] == "optimistic" and end.std < CERTAIN
        return certain or (y.max() <= best and end.exceeds(best) < stopping["delta"])


def flat_start(y: Floats) -> int:
    """How many leading points to drop: those before 5 values in a row exceed the first by more than 0.05; else 0."""
    above = y > y[0] + 0.05
    for at in range(1, len(y) - 4):
        if above[at : at + 5].all():
            return at - 1
    return 0
