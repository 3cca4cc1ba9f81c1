"""Reading a run's journal once, whatever its length: counts, curves, failures, finalists, a sample for statistics.

Memory: eight bytes a trial and metric, and a few thousand candidates.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from automl_ext.objective import Metrics, Objective, traded
from automl_ext.searcher import Trial, leader, standing, stream

if TYPE_CHECKING:
    from automl_ext.run import Run

Numbers = NDArray[np.float64]

_SAMPLE = 2_000
_METRICS = 40
_FINALISTS = 20_000


@dataclass
class Failures:
    """All failures of one kind. `first`: the first of them in the journal."""

    kind: str
    first: Trial
    count: int = 0


@dataclass
class Story:
    """What one journal says. `values`: search metrics by name, NaN where a trial has none; `numbers`, `budgets` and
    `feasible` beside them; no budget is infinity.

    finals: trials of final stages, of the last one only once it began. tests: trials of the test stage.
    target: the target's own objectives, which a reward stands for in `objectives`.
    sample: (candidate, primary objective) of at most 2,000 of the `whole` search trials (with metrics, not stopped
    early), drawn without bias. missed: search trials that miss a limit.
    """

    objectives: tuple[Objective, ...]
    planned: int | None = None
    target: tuple[Objective, ...] = ()
    numbers: array[float] = field(default_factory=lambda: array("d"))
    values: dict[str, array[float]] = field(default_factory=dict)
    feasible: array[int] = field(default_factory=lambda: array("b"))
    budgets: array[float] = field(default_factory=lambda: array("d"))
    origins: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    retried: int = 0
    seconds: float = 0.0
    failures: dict[str, Failures] = field(default_factory=dict)
    final: int = 0
    finals: list[Trial] = field(default_factory=list)
    tests: list[Trial] = field(default_factory=list)
    sample: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    top: Trial | None = None
    whole: int = 0
    missed: int = 0

    @property
    def searched(self) -> int:
        """Finished trials of the search, failed ones included."""
        return len(self.numbers)

    @property
    def failure_count(self) -> int:
        """Failed trials of all stages."""
        return sum(group.count for group in self.failures.values())

    @property
    def primary(self) -> str | None:
        return self.objectives[0].name if self.objectives else None

    def column(self, name: str) -> Numbers:
        """(searched,) one search metric in number order, NaN where there is none."""
        order = np.argsort(np.asarray(self.numbers), kind="stable")
        return np.asarray(self.values[name])[order]

    @property
    def traded(self) -> tuple[Objective, ...]:
        """The objectives whose front there is to see, a reward's own included; one alone has none."""
        return traded(self.target or self.objectives) if self.objectives else ()

    def counts(self) -> NDArray[np.bool_]:
        """(searched,) in number order: whole, of the largest budget that any such trial has, and no limit missed.

        What a smaller budget measured stands for what is not known yet, so that it is no result to be compared.
        """
        budgets, feasible = np.asarray(self.budgets), np.asarray(self.feasible) == 1
        largest = budgets.max(where=feasible, initial=-np.inf)
        return np.asarray((feasible & (budgets == largest))[np.argsort(np.asarray(self.numbers), kind="stable")])

    def costs(self) -> Numbers:
        """(searched, k) the traded objectives in number order, smaller is better; NaN where a trial does not count."""
        names = [objective.name for objective in self.traded]
        if any(name not in self.values for name in names):
            return np.full((self.searched, len(names)), np.nan)
        signs = [1.0 if objective.goal == "min" else -1.0 for objective in self.traded]
        rows = np.column_stack([sign * self.column(name) for sign, name in zip(signs, names, strict=True)])
        rows[~self.counts()] = np.nan
        return rows

    def cloud(self) -> Numbers:
        """(n, k) the rows of `costs` that are there."""
        rows = self.costs()
        return np.asarray(rows[np.isfinite(rows).all(axis=1)])

    def best_so_far(self) -> Numbers:
        """(searched,) the best primary objective after 1, 2, ... trials; NaN before the first that counts."""
        if self.primary not in self.values:
            return np.full(self.searched, np.nan)
        sign = 1.0 if self.objectives[0].goal == "max" else -1.0
        signed = np.where(self.counts(), sign * self.column(self.primary), -np.inf)
        best = np.maximum.accumulate(np.where(np.isnan(signed), -np.inf, signed))
        return np.where(np.isfinite(best), sign * best, np.nan)

    def best(self) -> Trial | None:
        """The same trial as `Run.best`, without reading the journal again."""
        return self.leader("searched") or self.top

    def leader(self, role: str, name: str | None = None) -> Trial | None:
        """The first trial of the best finalist of a role, or of those that also have that name; None without any."""
        own = [trial for trial in self.finals if trial.note.get("role") == role and self._complete(trial.metrics)]
        own = [trial for trial in own if name is None or trial.note.get("name") == name]
        return leader(sorted(own, key=lambda trial: trial.number), self.objectives)

    def add(self, trial: Trial, draw: np.random.Generator) -> None:
        """Take in the next trial of the journal."""
        self.seconds += trial.seconds
        self.retried += trial.attempts > 1
        if trial.error is not None:
            group = self.failures.setdefault(trial.error.kind, Failures(trial.error.kind, trial))
            group.count += 1
        if trial.stage == "search":
            self._search(trial, draw)
        elif trial.stage == "test" and len(self.tests) < _FINALISTS:
            self.tests.append(trial)
        elif (found := re.fullmatch(r"final-(\d+)", trial.stage)) and len(self.finals) < _FINALISTS:
            stage = int(found.group(1))
            if stage > self.final:
                self.final, self.finals = stage, []
            if stage == self.final:
                self.finals.append(trial)

    def _search(self, trial: Trial, draw: np.random.Generator) -> None:
        metrics = trial.metrics if self._complete(trial.metrics) else None
        for name in metrics or ():
            if name not in self.values and len(self.values) < _METRICS:
                self.values[name] = array("d", [math.nan]) * len(self.numbers)
        for name, column in self.values.items():
            column.append(math.nan if metrics is None else float(metrics.get(name, math.nan)))
        self.numbers.append(trial.number)
        self.origins[trial.origin] += 1
        self.failed += trial.error is not None
        broken = metrics is not None and any(objective.violation(metrics) > 0 for objective in self.objectives)
        self.missed += broken
        whole = metrics is not None and trial.origin != "stopped"
        self.feasible.append(int(whole and not broken))
        self.budgets.append(math.inf if trial.budget is None else trial.budget)
        if metrics is None or not whole or not self.objectives:
            return
        if self.top is None or self._key(trial) > self._key(self.top):
            self.top = trial
        self._draw(trial.candidate, float(metrics[self.objectives[0].name]), draw)

    def _complete(self, metrics: Metrics | None) -> bool:
        return metrics is not None and all(objective.name in metrics for objective in self.objectives)

    def _key(self, trial: Trial) -> tuple[tuple[float, float, float], int]:
        return standing(trial, self.objectives), -trial.number

    def _draw(self, candidate: dict[str, Any], value: float, draw: np.random.Generator) -> None:
        """Reservoir sampling: each whole trial has the same chance to be in the sample."""
        self.whole += 1
        if len(self.sample) < _SAMPLE:
            self.sample.append((candidate, value))
            return
        place = int(draw.integers(self.whole))
        if place < _SAMPLE:
            self.sample[place] = (candidate, value)


def read(run: Run) -> Story:
    """The story of a run, in one pass over its journal."""
    return tell(run.trials(), objectives(run), run.config.trials, objectives(run, "target_objectives"))


def tell(
    trials: Iterable[Trial],
    objectives: tuple[Objective, ...],
    planned: int | None = None,
    target: tuple[Objective, ...] = (),
) -> Story:
    """The story of `trials`, which are read one by one."""
    story, draw = Story(objectives, planned, target), stream(0, "report sample")
    for trial in trials:
        story.add(trial, draw)
    return story


def objectives(run: Run, key: str = "objectives") -> tuple[Objective, ...]:
    """The objectives in the manifest, () where the run did not come that far."""
    rows = run.manifest.get(key) or []
    return tuple(Objective(row["name"], row["goal"], row.get("limit"), bool(row.get("measured"))) for row in rows)


def outcome(run: Run) -> str:
    """How the run stands: finished, running, interrupted, failed: why, killed, or not started."""
    told = str(run.manifest.get("outcome", "not started"))
    if told != "running" or run.lock.is_locked:
        return told
    import filelock

    try:
        with run.lock.acquire(timeout=0):
            return "killed"
    except (filelock.Timeout, OSError):
        return "running"


def wall_seconds(run: Run) -> float | None:
    """Whole seconds from the run's start to the last line of its log, pauses included; None where not known."""
    log, began = run.folder / "run.log", run.manifest.get("created_s")
    if not log.is_file() or not isinstance(began, int | float):
        return None
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 100_000))
        tail = file.read().decode(errors="replace")
    stamps = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ", tail, flags=re.MULTILINE)
    if not stamps:
        return None
    ended = datetime.strptime(stamps[-1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return max(0.0, ended.timestamp() - int(began))


def key(candidate: dict[str, Any]) -> str:
    """Equal for equal candidates."""
    return json.dumps(candidate, sort_keys=True)
