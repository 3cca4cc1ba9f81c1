"""Searchers ask and tell; this file holds the values that pass between them and the loop.

proposal <- ask      trial -> tell      proposal before an evaluation, trial after it
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from automl_ext.objective import Metrics, Objective, rank
from automl_ext.space import Candidate, Genes, Space, Walk

State = tuple[dict[str, NDArray[Any]], dict[str, Any]]
"""What a searcher that has `state` saves: arrays by name, and JSON."""

Origin = Literal["evaluated", "cached", "stopped"]


class Variation(Protocol):
    """How evolution changes genes (slot path -> value, silent ones included). Any result expresses a candidate.

    Optional method, looked up by name; without it `mutate` stands in:

        explore(genes, done, rng) -> genes      of weights that have trained for the budget `done` (population-based):
                                                what a schedule says up to there is past and stays
    """

    def sample(self, rng: np.random.Generator) -> dict[str, Any]: ...
    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]: ...
    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]: ...
    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Target:
    """All that a searcher may see of an environment.

    features: (d,) floats of a whole candidate, what surrogate models learn on; None: the vector view.
    """

    space: Space
    objectives: tuple[Objective, ...]
    references: Mapping[str, Candidate]
    observe: Callable[[Walk], NDArray[np.float32]]
    variation: Variation
    supernet: Callable[[np.random.Generator], Any] | None = None
    features: Callable[[Candidate], NDArray[np.float64]] | None = None


@dataclass(frozen=True)
class Proposal:
    """What to evaluate next. `note` is JSON that comes back in `tell`; `parent` is the trial to inherit from."""

    candidate: Candidate
    note: Mapping[str, Any] = field(default_factory=dict)
    budget: float | None = None
    parent: int | None = None


class CandidateError(ValueError):
    """Raised by a target for a candidate that makes nothing it could evaluate. The message, one line, says all."""


@dataclass(frozen=True)
class Failure:
    """Why an evaluation gave no metrics.

    kind: invalid | exception | non-finite | metrics | timeout | died | memory. Dead workers and memory
    are worth a retry.
    """

    kind: str
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Trial:
    """One finished evaluation, immutable, one line of the journal.

    metrics is None exactly where error is not. seconds: wall time of the evaluation. attempts: 1 unless workers died.
    """

    number: int
    stage: str
    candidate: Candidate
    note: Mapping[str, Any]
    budget: float | None
    seed: int
    parent: int | None
    metrics: Metrics | None
    curve: Sequence[tuple[float, float]] = ()
    error: Failure | None = None
    origin: Origin = "evaluated"
    attempts: int = 1
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, in the order of the fields."""
        row = {name: getattr(self, name) for name in _FIELDS}
        row["note"], row["metrics"] = dict(self.note), None if self.metrics is None else dict(self.metrics)
        row["curve"] = [list(point) for point in self.curve]
        row["error"] = None if self.error is None else asdict(self.error)
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Trial:
        """The trial of a journal line. Raises KeyError or TypeError for a line of another shape."""
        values = {name: row[name] for name in _FIELDS}
        values["curve"] = tuple((step, value) for step, value in row["curve"])
        values["error"] = None if row["error"] is None else Failure(**row["error"])
        return cls(**values)


_FIELDS = tuple(Trial.__dataclass_fields__)


def standing(trial: Trial, objectives: Sequence[Objective]) -> tuple[float, float, float]:
    """Sort key of a trial, larger is better: (budget, minus violation, primary objective).

    What a small budget measured is a proxy of what a large one does, so a larger one counts first; none is the whole.
    """
    budget = math.inf if trial.budget is None else trial.budget
    return (-math.inf if trial.metrics is None else budget, *rank(trial.metrics, objectives))


def who(trial: Trial) -> tuple[str, str, str]:
    """(role, name, entry) of a final stage's trial; entry tells a baseline's candidates apart, else it is ""."""
    return str(trial.note.get("role", "")), str(trial.note.get("name", "")), str(trial.note.get("entry", ""))


def leader(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    """Of a final stage's trials: the first one of the finalist with the best mean rank over its repeats."""
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault(who(trial), []).append(trial)

    def mean(group: Sequence[Trial]) -> tuple[float, ...]:
        ranks = [rank(trial.metrics, objectives) for trial in group]
        return tuple(sum(column) / len(ranks) for column in zip(*ranks, strict=True))

    return max(groups.values(), key=mean)[0] if groups else None


@runtime_checkable
class Searcher(Protocol):
    """The contract of every searcher; `automl_ext.testing.check_searcher` tests it.

    Built as `Class(target, rng, **options)`. Optional methods, looked up by name:

        keep() -> set[int]              trials whose folders children may still inherit from
        state() -> State, load(state)   only where repeating the tells is too dear
    """

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        """Proposal number `number`, without any effect on the searcher.

        `pending`: proposals asked and not yet told, in number order. None: ask again after the next tell; None with
        nothing pending: the search is finished.
        """

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Learn from a finished trial, failed ones included. The only thing that changes the searcher."""


def stream(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """The random stream of one purpose (`ask`, `tell`, `build`, ...) and number, independent of every other."""
    return np.random.default_rng((seed, zlib.crc32(purpose.encode()), number))


def job_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A seed of 31 bits for an evaluation, from the run's seed."""
    return int(stream(seed, purpose, number).integers(2**31))
