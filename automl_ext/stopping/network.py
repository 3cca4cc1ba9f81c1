"""The curve network: stop a curve that, given other configurations' curves and its own points, will hardly be the best.

A. Klein, S. Falkner, J. T. Springenberg, F. Hutter, "Learning Curve Prediction with Bayesian Neural Networks",
ICLR 2017 (LC-Net, in the form with five basis functions).

Differs from the paper:
1. The network is trained beside the search on told curves, every `refit` of them. A running curve is not added to the
   training data: its points update the prediction by a Gaussian process around the sampled curves (`discrepancy.py`),
   in closed form, so that a worker needs some hundred numbers and a millisecond.
2. 5 SGHMC chains of 1,000 steps side by side, 32 units a layer and 25 samples, instead of one chain of 50,000 steps, 64
   units and 100 samples. Each chain leaves out a fifth of the curves; from those the discrepancy and the noise of
   predictions are estimated, in place of the noise head, which serves in training only.
3. A curve gives at most 12 points, evenly spaced in log t, and the latest `curves` curves are used.
4. Curves need not be accuracies: `curves.Frame` maps them, a falling loss by a decreasing affine map.
5. The use as a termination criterion is that of Domhan et al.: P(y(1) > best) < delta. New configurations are not drawn
   from the model; searchers do that.
6. The log variance has a prior around log 1e-4 with variance 1 (authors' second code: log 1e-6, 0.01).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from scipy.special import ndtr

from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.stopping import discrepancy
from automl_ext.stopping.curves import Floats, Frame, Told, one_curve
from automl_ext.stopping.discrepancy import Discrepancy
from automl_ext.stopping.layer import SIZE, curve
from automl_ext.stopping.rule import Points

if TYPE_CHECKING:
    from automl_ext.stopping.curvenet import Fitted

GRID = 12
"""Points of a curve that the network learns from."""
SEEN = 40
"""Points of a running curve that its prediction uses."""


@dataclass
class _Budget:
    """What is known at one budget: told curves, how many came since the last fit, and that fit with its frame."""

    curves: deque[tuple[Floats, Floats, Floats]]
    fresh: int = 0
    fitted: Fitted | None = None
    frame: Frame | None = None
    discrepancy: Discrepancy | None = None


@dataclass(frozen=True)
class Prediction:
    """A configuration's curve, as JSON: sampled parts (s, 19) and the discrepancy around their curves."""

    frame: Frame
    parts: Floats
    discrepancy: Discrepancy

    def end(self, steps: Floats, values: Floats) -> tuple[float, float]:
        """(mean, standard deviation) of the mapped value at the horizon, given points so far (none: the prior)."""
        keep = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), SEEN)).astype(int))
        t = np.minimum(self.frame.x(steps[keep]) / self.frame.points, 1.0)
        samples = np.asarray(curve(np.append(t, 1.0), self.parts, np))
        return discrepancy.end(samples, t, self.frame.y(values[keep]), self.discrepancy)

    def to_json(self) -> dict[str, Any]:
        return {
            "frame": self.frame.to_json(),
            "parts": self.parts.tolist(),
            "discrepancy": asdict(self.discrepancy),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Prediction:
        return cls(Frame.from_json(row["frame"]), np.array(row["parts"]), Discrepancy(**row["discrepancy"]))


class CurveNetwork:
    """delta: stop where the probability to beat the best is below it. every: points between two checks.

    warmup: points of a curve never judged. startup: whole curves of the same budget before anything is stopped.
    refit: told curves between two trainings. curves: how many to learn from. steps: of each chain; half are dropped.
    Raises ValueError for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        delta: Annotated[float, Field(gt=0, lt=1)] = 0.05,
        every: Annotated[int, Field(ge=1, le=1_000_000)] = 1,
        warmup: Annotated[int, Field(ge=0, le=1_000_000)] = 2,
        startup: Annotated[int, Field(ge=2, le=100_000)] = 10,
        refit: Annotated[int, Field(ge=1, le=100_000)] = 10,
        curves: Annotated[int, Field(ge=10, le=10_000)] = 200,
        steps: Annotated[int, Field(ge=200, le=1_000_000)] = 1000,
    ) -> None:
        one_curve(target.objectives, "curve-network")
        self.startup, self.refit, self.curves, self.steps = startup, refit, curves, steps
        self.options = {"delta": delta, "every": every, "warmup": warmup}
        self._features = target.features or target.space.to_vector
        self._told = Told(target.objectives)
        self._budgets: dict[float | None, _Budget] = {}

    def stopping(self, proposal: Proposal, seed: int) -> Mapping[str, Any] | None:
        prediction, bar = self.predict(proposal), self._told.bar(proposal.budget)
        if prediction is None or bar is None:
            return None
        return {**self.options, **prediction.to_json(), "bar": bar}

    def predict(self, proposal: Proposal) -> Prediction | None:
        """What the last fit says about a configuration; None before the first fit at its budget."""
        budget = self._budgets.get(proposal.budget)
        if budget is None or budget.fitted is None or budget.frame is None or budget.discrepancy is None:
            return None
        parts = budget.fitted.parts(np.asarray(self._features(proposal.candidate), dtype=float)[None])
        return Prediction(budget.frame, parts.reshape(-1, SIZE), budget.discrepancy)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        self._told.add(trial)
        if trial.metrics is None or trial.origin == "cached" or not trial.curve:
            return
        budget = self._budgets.setdefault(trial.budget, _Budget(deque(maxlen=self.curves)))
        steps, values = np.array(trial.curve, dtype=float).T
        budget.curves.append((np.asarray(self._features(trial.candidate), dtype=float), steps, values))
        budget.fresh += 1
        due = budget.fitted is None or budget.fresh >= self.refit
        frame = self._told.frame(trial.budget)
        if due and frame is not None and self._told.count(trial.budget) >= self.startup:
            self._fit(budget, frame, rng)

    def _fit(self, budget: _Budget, frame: Frame, rng: np.random.Generator) -> None:
        from automl_ext.stopping.curvenet import Sizes, train

        t = grid(frame)
        x = np.stack([features for features, _, _ in budget.curves])
        y = np.stack([on_grid(frame, t, steps, values) for _, steps, values in budget.curves])
        sizes = Sizes(steps=self.steps, burn=self.steps // 2, every=max(1, self.steps // 10))
        budget.fitted, budget.frame, budget.fresh = train(x, t, y, sizes, rng), frame, 0
        budget.discrepancy = left_out_discrepancy(budget.fitted, x, t, y)

    @staticmethod
    def stop(stopping: Mapping[str, Any], points: Points) -> bool:
        count, prediction = len(points), Prediction.from_json(stopping)
        frame = prediction.frame
        if frame.ends(points[-1][0]) or count <= stopping["warmup"] or count % stopping["every"]:
            return False
        steps, values = np.array(points, dtype=float).T
        best = float(frame.y([stopping["bar"]])[0])
        if frame.y(values).max() > best:
            return False
        mean, deviation = prediction.end(steps, values)
        return bool(ndtr((mean - best) / deviation) < stopping["delta"])


def grid(frame: Frame) -> Floats:
    """(g,) times in (0, 1] at which the network sees curves: at most GRID, evenly spaced in log t, the last is 1."""
    return np.unique(np.round(np.geomspace(1, frame.points, GRID))) / frame.points


def on_grid(frame: Frame, t: Floats, steps: Floats, values: Floats) -> Floats:
    """(g,) a curve's mapped values at times t, between its points in a line; NaN outside the points seen."""
    order = np.argsort(steps, kind="stable")
    at = frame.x(steps[order]) / frame.points
    seen = (t > at[0] - 1e-9) & (t < at[-1] + 1e-9)
    return np.where(seen, np.interp(t, at, frame.y(values[order])), np.nan)


def left_out_discrepancy(fitted: Fitted, x: Floats, t: Floats, y: Floats) -> Discrepancy:
    """The discrepancy of whole curves from what the chains that left them out predict."""
    whole = np.isfinite(y).all(axis=1)
    predicted = np.asarray(curve(t, fitted.parts(x[whole]), np))
    own = predicted[:, fitted.left_out[whole], np.arange(int(whole.sum()))]
    samples = predicted.reshape(-1, *predicted.shape[2:])
    away = samples - samples.mean(axis=0)
    covariances = np.einsum("sng,snh->ngh", away, away) / len(samples)
    return discrepancy.fit(t, y[whole] - own.mean(axis=0), covariances)
