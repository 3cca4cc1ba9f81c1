"""Progress: what a run shows while it works. A live display on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bars

    from automl_ext.objective import Objective
    from automl_ext.run import Run
    from automl_ext.searcher import Trial


class Progress(Protocol):
    """What the loop tells. Calls come from one thread: start, then per stage `stage` and its `trial`s, then close."""

    def start(self, run: Run) -> None:
        """The run begins, or goes on."""

    def stage(self, name: str, total: int | None) -> None:
        """A stage begins: prepare, search, final-1, ..., test; a further `search` is a baseline's. total: trials."""

    def trial(self, trial: Trial, told: int, out: int, best: Trial | None, left_s: float | None) -> None:
        """A trial was told. told: so far in this stage. out: asked and not yet told. left_s: estimate for the stage."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def close(self) -> None:
        """The run ended, in whatever way."""


class Silent:
    """Shows nothing."""

    def start(self, run: Run) -> None: ...
    def stage(self, name: str, total: int | None) -> None: ...
    def trial(self, trial: Trial, told: int, out: int, best: Trial | None, left_s: float | None) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class Titles:
    """What a stage is called: the search of a baseline has the same name as the search itself."""

    def __init__(self, run: Run) -> None:
        self._baselines = [f"baseline {baseline.name}" for baseline in run.config.baselines]
        self._searches = 0

    def next(self, name: str) -> str:
        if name != "search":
            return name
        self._searches += 1
        index = self._searches - 2
        return self._baselines[index] if 0 <= index < len(self._baselines) else name


@dataclass
class Tally:
    """One stage in numbers. `objective`: the primary one, None where the run has not recorded it."""

    title: str
    total: int | None = None
    objective: Objective | None = None
    told: int = 0
    out: int = 0
    failed: int = 0
    cached: int = 0
    best: Trial | None = None
    left_s: float | None = None
    began: float = field(default_factory=time.monotonic)
    recent: deque[float] = field(default_factory=lambda: deque([time.monotonic()], maxlen=51))

    def add(self, trial: Trial, told: int, out: int, best: Trial | None, left_s: float | None) -> None:
        self.told, self.out, self.best, self.left_s = told, out, best, left_s
        self.failed += trial.error is not None
        self.cached += trial.origin == "cached"
        self.recent.append(time.monotonic())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def per_minute(self) -> float | None:
        """Trials a minute over the last 50, or since the stage began; None before the first."""
        if len(self.recent) < 2 or self.recent[-1] <= self.recent[0]:
            return None
        return 60 * (len(self.recent) - 1) / (self.recent[-1] - self.recent[0])

    @property
    def count(self) -> str:
        return f"{self.told:,}" if self.total is None else f"{self.told:,}/{self.total:,}"

    def facts(self) -> list[str]:
        """Best so far, failures, cached, rate, what is under way, time left: those that there are."""
        from automl_ext.report.display import duration

        rate = self.per_minute
        said = [
            self._best(),
            f"{self.failed:,} failed" if self.failed else "",
            f"{self.cached:,} cached" if self.cached else "",
            f"{rate:.3g}/min" if rate is not None and rate < 300 else f"{rate / 60:.3g}/s" if rate is not None else "",
            f"{self.out:,} under way" if self.out else "",
            f"{duration(self.left_s)} left" if self.left_s is not None and self.told != self.total else "",
        ]
        return [fact for fact in said if fact]

    def _best(self) -> str:
        if self.best is None or self.best.metrics is None or self.objective is None:
            return ""
        from automl_ext.report.display import column

        value = self.best.metrics.get(self.objective.name)
        shown = column(self.objective.name, [value])
        who = self.best.note.get("name") or f"trial {self.best.number:,}"
        return f"best {shown.label} {shown.quantity(value)} ({who})"


class Plain:
    """Lines for logs and pipes: one where a stage begins and ends, and one every few seconds of trials."""

    def __init__(self, console: Console, every: float = 5.0) -> None:
        self.console = console
        self.every = every
        self._tally: Tally | None = None
        self._said = 0.0

    def start(self, run: Run) -> None:
        self._titles = Titles(run)
        self._objective = next(iter(run.objectives), None)

    def stage(self, name: str, total: int | None) -> None:
        self._end()
        self._tally = Tally(self._titles.next(name), total, self._objective)
        self._said = time.monotonic()
        self._print(f"{self._tally.title} begins" + (f": {total:,} trials" if total is not None else ""))

    def trial(self, trial: Trial, told: int, out: int, best: Trial | None, left_s: float | None) -> None:
        if self._tally is None:
            return
        self._tally.add(trial, told, out, best, left_s)
        if time.monotonic() - self._said >= self.every:
            self._said = time.monotonic()
            self._print(f"{self._tally.title} {', '.join([self._tally.count, *self._tally.facts()])}")

    def note(self, text: str) -> None:
        self._print(text)

    def close(self) -> None:
        self._end()

    def _end(self) -> None:
        """Say how the last stage ended."""
        from automl_ext.report.display import duration

        if self._tally is not None:
            done = [f"{self._tally.count} trials", *self._tally.facts()] if self._tally.told else []
            self._print(f"{self._tally.title} took {', '.join([duration(self._tally.seconds), *done])}")
        self._tally = None

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Live:
    """One bar a stage, and under it the best so far, failures, rate and time left, for a terminal."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live as Display
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self.console = console
        self._bars: Bars = Bars(
            SpinnerColumn(finished_text="✓"), TextColumn("{task.description}", markup=False), BarColumn(),
            MofNCompleteColumn(), TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._tally: Tally | None = None
        self._display = Display(get_renderable=self._render, console=console, refresh_per_second=4)

    def start(self, run: Run) -> None:
        self._titles = Titles(run)
        self._objective = next(iter(run.objectives), None)
        self._display.start()

    def stage(self, name: str, total: int | None) -> None:
        self._end()
        self._tally = Tally(self._titles.next(name), total, self._objective)
        self._task = self._bars.add_task(self._tally.title, total=total)

    def trial(self, trial: Trial, told: int, out: int, best: Trial | None, left_s: float | None) -> None:
        if self._tally is not None:
            self._tally.add(trial, told, out, best, left_s)
            self._bars.update(self._task, completed=told)

    def note(self, text: str) -> None:
        self._display.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._end()
        self._display.stop()

    def _end(self) -> None:
        """Stop the clock of the last stage's bar; a stage that ended before its total keeps its count."""
        if self._tally is not None:
            self._bars.stop_task(self._task)
            if self._tally.total is None:
                self._bars.update(self._task, total=max(self._tally.told, 1), completed=max(self._tally.told, 1))
        self._tally = None

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        facts = "  ".join(self._tally.facts()) if self._tally else ""
        return Group(self._bars, Text(f"  {facts}", overflow="ellipsis", no_wrap=True)) if facts else self._bars


def choose(console: Console) -> Progress:
    """A live display on a terminal, plain lines elsewhere."""
    return Live(console) if console.is_terminal and not console.is_dumb_terminal else Plain(console)
