"""Metrics of a candidate by a predictor, which has learned from a few that were trained.

At the start of a run random candidates are trained; a search then asks the predictor and takes seconds. Final stages
train. Wen, Liu, Chen, Li, Bender, Kindermans: "Neural Predictor for Neural Architecture Search", ECCV 2020, arXiv
1912.00848.

Differs from the paper:

1. The predictor is a forest of randomised trees on the target's features, not a graph network.
2. Any searcher asks it, instead of ranking random candidates.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from automl_ext.tasks.architecture.measure import size_of
from automl_ext.tasks.architecture.trained import Training
from numpy.typing import NDArray
from scipy.stats import spearmanr

from automl_ext.controllers.forest import Forest
from automl_ext.env import Job, Report, never_stop
from automl_ext.objective import Metrics
from automl_ext.searcher import job_seed, stream
from automl_ext.space import Candidate

__all__ = ["Predicted"]

FILE = "predictor.json"
FOLDS = 5
Features = Callable[[Candidate], NDArray[np.float64]]


@dataclass
class Predicted:
    """samples: how many random candidates the predictor learns from. features: of a candidate, (d,)."""

    training: Training
    features: Features
    samples: int
    seed: int
    _forests: dict[str, Forest] = field(default_factory=dict)

    def prepare(self, folder: Path) -> None:
        """Train random candidates, all different, and leave what they reached, and how well it can be predicted.

        Where the space has too few candidates, fewer are trained. Raises ValueError where fewer than ten are left.
        """
        rng, found = stream(self.seed, "predictor"), dict[str, Candidate]()
        for _ in range(20 * self.samples):
            candidate = self.training.family.space.sample(rng)
            found.setdefault(self.training.family.space.key(candidate), candidate)
            if len(found) == self.samples:
                break
        rows = []
        for number, candidate in enumerate(found.values()):
            job = Job(number, candidate, seed=job_seed(self.seed, "predictor", number), shared=str(folder))
            try:
                rows.append((candidate, self.training.evaluate(job, never_stop)["accuracy"]))
            except FloatingPointError:
                rows.append((candidate, 0.0))
        if len(rows) < 2 * FOLDS:
            raise ValueError(f"predictor_samples: {len(rows)} different candidates are too few to predict from")
        x, y = self._arrays([candidate for candidate, _ in rows]), np.array([accuracy for _, accuracy in rows])
        facts = {"candidates": [row[0] for row in rows], "accuracy": [row[1] for row in rows]}
        text = json.dumps({"rank_correlation": held_out(x, y, self.seed), **facts}, indent=0)
        (folder / FILE).write_text(text + "\n")

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """`accuracy` as predicted; as trained with a budget, in a final stage, and outside of the space."""
        if job.budget or job.stage != "search" or job.candidate not in self.training.family.space:
            return self.training.evaluate(job, report)
        mean, deviation = self._forest(job.shared).predict(self._arrays([job.candidate]))
        network = self.training.fresh(job.candidate, job.seed)
        found = {"accuracy": float(mean[0]), "deviation": float(deviation[0]), **size_of(network, self.training.shape)}
        if self.training.latency is not None:
            found["latency_ms"] = self.training.latency(job.candidate, network, job.shared)
        return found

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy` after training."""
        return self.training.test(job, report)

    def _forest(self, shared: str | None) -> Forest:
        """Fitted once a process, always to the same trees."""
        if shared is None or not (Path(shared) / FILE).is_file():
            raise ValueError("the predictor needs what prepare left")
        if shared not in self._forests:
            facts = json.loads((Path(shared) / FILE).read_text())
            x, y = self._arrays(facts["candidates"]), np.array(facts["accuracy"])
            self._forests[shared] = Forest(x, y, stream(self.seed, "forest"), 50)
        return self._forests[shared]

    def _arrays(self, candidates: list[Candidate]) -> NDArray[np.float64]:
        return np.array([self.features(candidate) for candidate in candidates])


def held_out(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> float:
    """Spearman's rank correlation of what folds that were not learned from reached and were predicted; 0 for ties."""
    order = stream(seed, "folds").permutation(len(x))
    predicted = np.zeros(len(x))
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        inside = np.setdiff1d(order, out)
        predicted[out] = Forest(x[inside], y[inside], stream(seed, "fold", fold)).predict(x[out])[0]
    if np.ptp(predicted) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(spearmanr(predicted, y).statistic)
