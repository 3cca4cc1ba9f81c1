"""Predictor: a surrogate learns what is good from what was told, and screens new candidates by expected improvement.

The scheme of sequential model-based optimisation on design spaces: J. Snoek, H. Larochelle, R. P. Adams, "Practical
Bayesian Optimization of Machine Learning Algorithms", NeurIPS 2012, arXiv 1206.2944; on architectures K. Kandasamy et
al., "Neural Architecture Search with Bayesian Optimisation and Optimal Transport" (NASBOT), NeurIPS 2018, arXiv
1802.07191, and C. White, W. Neiswanger, Y. Savani, "BANANAS: Bayesian Optimization with Neural Architectures for Neural
Architecture Search", AAAI 2021, arXiv 1910.11858 (path features, mutations of the best as candidates).

Differs from the papers:
1. The distance of two candidates is one of features (`target.features`, e.g. the paths of a network, or the vector
   view), weighted by automatic relevance with shrinkage, not optimal transport between layers.
2. Values are scaled by the upper half's spread, and bent by a logarithm below the median (scale.py). What misses a
   limit lies below all that keep it, failed trials at the bottom, and where there are such, a surrogate of its own
   gives the probability to keep the limits. No candidate is tried twice.
3. The acquisition is climbed by rounds of mutations of the best-scored, not by a long evolution.
4. Several trials may be out at once: the surrogate's deviation counts them as measured (hallucinated, as in NASBOT).
5. Several objectives: one surrogate each, and the expected hypervolume improvement over random directions.
6. The surrogate learns on at most `memory` trials: a random one of the worse half makes room for the newest.
7. An ensemble of trees can stand in for the Gaussian process (`surrogate: trees`; BANANAS has one of networks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import log_ndtr

from automl_ext.controllers.acquisition import hypervolume_improvement, log_improvement, thompson, upper_bound
from automl_ext.controllers.scale import scaled
from automl_ext.controllers.screening import Pool, described, untried
from automl_ext.controllers.surrogate import GaussianProcess, Prior, fit
from automl_ext.objective import Objective, rank
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate

if TYPE_CHECKING:
    from automl_ext.controllers.forest import Forest

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


def dominated(values: Floats) -> NDArray[np.int64]:
    """(n,) by how many rows each row of values (n, m) is dominated: 0 on the front, the rank for one objective."""
    no_worse = (values[:, None, :] <= values[None, :, :]).all(axis=2)
    return np.asarray((no_worse & ~no_worse.T).sum(axis=1))


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
        start: Annotated[int, Field(ge=1, le=100_000)] = 5,
        surrogate: Literal["gaussian-process", "trees"] = "gaussian-process",
        acquisition: Literal["improvement", "thompson", "bound"] = "improvement",
        candidates: Annotated[int, Field(ge=2, le=10_000)] = 60,
        pool: Annotated[int, Field(ge=1, le=10_000)] = 200,
        rounds: Annotated[int, Field(ge=0, le=100)] = 2,
        memory: Annotated[int, Field(ge=2, le=2000)] = 300,
    ) -> None:
        for name, value in (("start", start), ("candidates", candidates), ("pool", pool), ("memory", memory)):
            if value < 1:
                raise ValueError(f"searcher.{name}: at least 1, not {value}")
        self.target, self.start, self.memory = target, start, memory
        self.surrogate, self.acquisition = surrogate, acquisition
        self.share, self.size, self.rounds = max(1, candidates // (2 + rounds)), pool, rounds
        self.traded = [target.objectives[0], *(other for other in target.objectives[1:] if other.limit is None)]
        self.count = self.fitted = 0
        self.taken: set[str] = set()
        self.known: list[Known] = []
        self.pool = Pool(target)
        self.models: Sequence[GaussianProcess | Forest] = []
        sample = np.array([described(target, target.space.sample(rng)) for _ in range(100)])
        self.prior = Prior.of(sample)
        self.hypers = [self.prior.start() for _ in self.traded]
        self.values: Floats = np.zeros((0, len(self.traded)))
        self.rate = 1.0

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
            worse = np.argsort(-dominated(self._values()), kind="stable")[: (len(self.known) + 1) // 2]
            del self.known[int(rng.choice(worse))]
        if self.count >= self.start and self.count > 1:
            self._learn(rng)
            self._screen(rng)

    def _values(self) -> Floats:
        """(n, objectives) what is learned of the trials remembered."""
        return np.stack(
            [scaled(column) for column in zip(*(known.standings for known in self.known), strict=True)], axis=1
        )

    def _learn(self, rng: np.random.Generator) -> None:
        """Fit the surrogates to what is remembered; their hyperparameters when a tenth more trials were told."""
        x, self.values = np.array([known.row for known in self.known]), self._values()
        kept = np.array([float(known.standings[0][0] == 0) for known in self.known])
        columns = [*self.values.T, *([kept - kept.mean()] if 0 < kept.sum() < len(kept) else [])]
        self.rate = float(kept.mean())
        if self.surrogate == "trees":
            from automl_ext.controllers.forest import Forest

            self.models = [Forest(x, column, rng) for column in columns]
            return
        hypers = [*self.hypers, *[self.prior.start()] * (len(columns) - len(self.hypers))][: len(columns)]
        if self.count >= 1.1 * self.fitted or len(hypers) > len(self.hypers):
            self.fitted = self.count
            few = rng.permutation(len(x))[:150]
            hypers = [fit(x[few], y[few], self.prior, hyper, STEPS) for y, hyper in zip(columns, hypers, strict=True)]
        self.hypers = hypers
        self.models = [GaussianProcess(x, y, hyper) for y, hyper in zip(columns, hypers, strict=True)]

    def _screen(self, rng: np.random.Generator) -> None:
        """Random candidates and mutations of the best told join the pool, then mutations of the best scored."""
        pool = self.pool.without(self.taken)
        best = np.lexsort((rng.random(len(self.values)), dominated(self.values)))[:PARENTS]
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
        many = len(self.traded)
        keeps = np.zeros(len(x))
        if len(self.models) > many:
            keeps = log_ndtr((mean[:, many] + self.rate - 0.5) / np.maximum(deviation[:, many], 0.1))
        if many > 1:
            reference = self.values.min(axis=0)
            found = hypervolume_improvement(
                mean[:, :many] - reference, deviation[:, :many], self.values - reference, rng
            )
            return np.asarray(np.log(found + 1e-12) + keeps)
        if self.acquisition == "improvement":
            return log_improvement(mean[:, 0], deviation[:, 0], float(self.values.max())) + keeps
        if self.acquisition == "thompson":
            return thompson(mean[:, 0], deviation[:, 0], rng) + keeps
        return upper_bound(mean[:, 0], deviation[:, 0], 1.0) + keeps


def _standing(trial: Trial, objectives: Sequence[Objective], objective: Objective) -> tuple[float, float]:
    """Sort key of a trial by one objective: limits first, failures and what is not finite last."""
    if trial.metrics is None:
        return rank(None, ())
    standing = (rank(trial.metrics, objectives)[0], objective.signed(trial.metrics))
    return standing if all(math.isfinite(value) for value in standing) else rank(None, ())
