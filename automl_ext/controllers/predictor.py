"""Predictor: a surrogate learns what is good from what was told, and screens new candidates by expected improvement.

The scheme of sequential model-based optimisation on design spaces: J. Snoek, H. Larochelle, R. P. Adams, "Practical
Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012, arXiv 1206.2944; on architectures K. Kandasamy et
al., "Neural Architecture Search with Bayesian Optimisation and Optimal Transport" (NASBOT), NeurIPS 2018, arXiv
1802.07191, and C. White, W. Neiswanger, Y. Savani, "BANANAS: Bayesian Optimization with Neural Architectures for Neural
Architecture Search", AAAI 2021, arXiv 1910.11858 (path features, mutations of the best as candidates).

Differs from the papers:
1. The distance of two candidates is one of features (`target.features`, e.g. the paths of a network, or the vector
   view), weighted by automatic relevance with shrinkage, not optimal transport between layers.
2. Values are replaced by the normal quantiles of their ranks, so that outliers and the scale do not matter. What misses
   a limit ranks below all that keep it, by how far it misses; failed trials rank last. No candidate is tried twice.
3. The acquisition is climbed by rounds of mutations of the best-scored, not by a long evolution.
4. Several trials may be out at once: the surrogate's deviation counts them as measured (hallucinated, as in NASBOT).
5. Several objectives: one surrogate each, and the expected hypervolume improvement over random directions.
6. The surrogate learns on at most `memory` trials: a random one of the worse half makes room for the newest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtri

from automl_ext.controllers.acquisition import hypervolume_improvement, log_improvement, thompson, upper_bound
from automl_ext.controllers.screening import Pool, described, untried
from automl_ext.controllers.surrogate import GaussianProcess, Prior, fit
from automl_ext.objective import Objective, rank
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate

Floats = NDArray[np.float64]
STEPS = 10
"""Of L-BFGS, from the last hyperparameters, each time that they are fitted."""
PARENTS = 5
"""How many of the best told, and in each round how many of the best scored, are mutated."""


@dataclass(frozen=True)
class Known:
    """A told trial. row: (d,) features. standings: for each objective (minus violation, value), larger is better."""

    candidate: Candidate
    row: Floats
    standings: tuple[tuple[float, float], ...]


def quantiles(standings: Sequence[tuple[float, float]]) -> Floats:
    """(n,) normal quantiles of the ranks of (minus violation, value), larger is better; equal ones share a rank."""
    order = {standing: place for place, standing in enumerate(sorted(set(standings)))}
    _, place, count = np.unique([order[standing] for standing in standings], return_inverse=True, return_counts=True)
    share = (np.cumsum(count) - 0.5 * count) / len(standings)
    return np.asarray(ndtri(share[place]))


class Predictor:
    """start: random trials first. surrogate: what predicts. acquisition: what is maximised, for one objective.

    candidates: how many new ones are screened after each trial. pool: how many of the best scored stay for later.
    rounds: of mutating the best scored. memory: trials that are learned from.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        start: Annotated[int, Field(ge=1, le=100_000)] = 10,
        acquisition: Literal["improvement", "thompson", "bound"] = "improvement",
        candidates: Annotated[int, Field(ge=2, le=10_000)] = 40,
        pool: Annotated[int, Field(ge=1, le=10_000)] = 200,
        rounds: Annotated[int, Field(ge=0, le=100)] = 2,
        memory: Annotated[int, Field(ge=2, le=2000)] = 300,
    ) -> None:
        for name, value in (("start", start), ("candidates", candidates), ("pool", pool), ("memory", memory)):
            if value < 1:
                raise ValueError(f"searcher.{name}: at least 1, not {value}")
        self.target, self.start, self.acquisition, self.memory = target, start, acquisition, memory
        self.share, self.size, self.rounds = max(1, candidates // (2 + rounds)), pool, rounds
        self.traded = [target.objectives[0], *(other for other in target.objectives[1:] if other.limit is None)]
        self.count = self.fitted = 0
        self.taken: set[str] = set()
        self.known: list[Known] = []
        self.pool = Pool(target)
        self.models: list[GaussianProcess] = []
        sample = np.array([described(target, target.space.sample(rng)) for _ in range(100)])
        self.prior = Prior.of(sample, own=1.0)
        self.hypers = [self.prior.start(sample.shape[1]) for _ in self.traded]
        self.values: Floats = np.zeros((0, len(self.traded)))

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        out = {self.target.space.key(proposal.candidate) for proposal in pending}
        places = [place for place, key in enumerate(self.pool.keys) if key not in out]
        if number < self.start or not places:
            return Proposal(untried(self.target, self.taken | out, rng))
        coming = [described(self.target, proposal.candidate) for proposal in pending]
        scores = self._scores(np.array([self.pool.rows[place] for place in places]), coming, rng)
        return Proposal(self.pool.candidates[places[int(np.argmax(scores))]])

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Remember the trial, fit the surrogates, screen new candidates."""
        standings = tuple(_standing(trial, self.target.objectives, objective) for objective in self.traded)
        self.known.append(Known(trial.candidate, described(self.target, trial.candidate), standings))
        self.taken.add(self.target.space.key(trial.candidate))
        self.count += 1
        if len(self.known) > self.memory:
            worse = np.argsort(self._values().sum(axis=1), kind="stable")[: (len(self.known) + 1) // 2]
            del self.known[int(rng.choice(worse))]
        if self.count >= self.start and self.count > 1:
            self._learn(rng)
            self._screen(rng)

    def _values(self) -> Floats:
        """(n, objectives) what is learned of the trials remembered."""
        return np.stack(
            [quantiles(column) for column in zip(*(known.standings for known in self.known), strict=True)], axis=1
        )

    def _learn(self, rng: np.random.Generator) -> None:
        """Fit the surrogates to what is remembered; their hyperparameters when a tenth more trials were told."""
        x, self.values = np.array([known.row for known in self.known]), self._values()
        if self.count >= 1.1 * self.fitted:
            self.fitted = self.count
            few = rng.permutation(len(x))[:150]
            columns = self.values[few].T
            self.hypers = [
                fit(x[few], column, self.prior, hyper, STEPS)
                for column, hyper in zip(columns, self.hypers, strict=True)
            ]
        self.models = [
            GaussianProcess(x, column, hyper) for column, hyper in zip(self.values.T, self.hypers, strict=True)
        ]

    def _screen(self, rng: np.random.Generator) -> None:
        """Random candidates and mutations of the best told join the pool, then mutations of the best scored."""
        pool = self.pool.without(self.taken)
        best = np.argsort(-self.values.sum(axis=1), kind="stable")[:PARENTS]
        pool.draw(self.share, rng)
        pool.mutate([self.known[index].candidate for index in best], self.share, rng)
        scores = self._scores(np.array(pool.rows), [], rng)
        for _ in range(self.rounds):
            first = len(scores)
            pool.mutate([pool.candidates[index] for index in np.argsort(-scores)[:PARENTS]], self.share, rng)
            if len(pool.rows) > first:
                scores = np.concatenate([scores, self._scores(np.array(pool.rows[first:]), [], rng)])
        self.pool = pool.only(np.argsort(-scores, kind="stable")[: self.size])

    def _scores(self, x: Floats, coming: Sequence[Floats], rng: np.random.Generator) -> Floats:
        """(m,) the acquisition at features x (m, d), while candidates of features `coming` are pending."""
        if not len(x):
            return np.zeros(0)
        believed = [model.predict(x, coming) for model in self.models]
        mean, deviation = (np.stack(part, axis=1) for part in zip(*believed, strict=True))
        if len(self.models) > 1:
            reference = self.values.min(axis=0)
            return hypervolume_improvement(mean - reference, deviation, self.values - reference, rng)
        if self.acquisition == "improvement":
            return log_improvement(mean[:, 0], deviation[:, 0], float(self.values.max()))
        if self.acquisition == "thompson":
            return thompson(mean[:, 0], deviation[:, 0], rng)
        return upper_bound(mean[:, 0], deviation[:, 0], 1.0)


def _standing(trial: Trial, objectives: Sequence[Objective], objective: Objective) -> tuple[float, float]:
    """Sort key of a trial by one objective: limits first, failures and what is not finite last."""
    if trial.metrics is None:
        return rank(None, ())
    standing = (rank(trial.metrics, objectives)[0], objective.signed(trial.metrics))
    return standing if all(math.isfinite(value) for value in standing) else rank(None, ())
