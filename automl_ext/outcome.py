"""What became of a run, in plain data: its standing while it works, and its summary at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from automl_ext.report import final_table
from automl_ext.report.covered import covered, words
from automl_ext.report.display import NOTHING, column, duration
from automl_ext.report.reading import Story, outcome, read, wall_seconds

if TYPE_CHECKING:
    from automl_ext.config import Config
    from automl_ext.run import Run
    from automl_ext.searcher import Trial

Row = Mapping[str, Any]


def standing(run: Run) -> dict[str, Any]:
    """How a run stands, running or not: state, stage, counts, best, front, trials a minute, seconds left, silent."""
    story, state = read(run), outcome(run)
    silent_s = _silence(run)
    active_s = None if silent_s is None else max(time.time() - run.manifest["created_s"] - silent_s, 0.0)
    rate = 60 * story.searched / active_s if state == "running" and active_s and story.searched else None
    stage = _stage(run, story)
    left = None
    if rate and stage == "search" and run.config.trials is not None:
        left = 60 * (run.config.trials - story.searched) / rate
    return {
        "run": str(run.folder),
        "state": state,
        "stage": stage,
        "trials": story.searched,
        "planned": run.config.trials,
        "failed": story.failed,
        "cached": story.origins["cached"],
        "best": _best(story.best()),
        "front": _front(story, {}),
        "metric": story.primary,
        "per_minute": rate,
        "left_s": left,
        "silent_s": silent_s,
    }


def standing_row(facts: Mapping[str, Any]) -> list[str]:
    """`standing` as cells for a terminal, see STANDING."""
    best = facts["best"]
    value = best["metrics"].get(facts["metric"]) if best else None
    shown = column(facts["metric"] or "", [value])
    planned = "" if facts["planned"] is None else f"/{facts['planned']:,}"
    return [
        facts["run"],
        facts["state"].partition(":")[0],
        facts["stage"],
        f"{facts['trials']:,}{planned}",
        f"{facts['failed']:,}",
        f"{shown.label} {shown.quantity(value)}{_of_front(facts['front'])}" if best else NOTHING,
        NOTHING if facts["per_minute"] is None else f"{facts['per_minute']:.3g}",
        duration(facts["left_s"]),
        duration(facts["silent_s"]),
    ]


STANDING = ["run", "state", "stage", "trials", "failed", "best", "per minute", "left", "last trial ago"]


def summary(run: Run) -> dict[str, Any]:
    """What ends a run: final table, best candidate, folders, time, and the bounds of `expect` that it misses."""
    story, rows = read(run), final_table(run)
    best = run.folder / "best"
    return {
        "run": str(run.folder),
        "outcome": outcome(run),
        "trials": story.searched,
        "failed": story.failed,
        "seconds": wall_seconds(run),
        "best": _best(run.best()),
        "front": _front(story, {name: read(part) for name, part in run.baselines.items()}),
        "export": str(best) if best.is_dir() else None,
        "table": rows,
        "missed": missed(run.config, rows),
    }


def missed(config: Config, rows: Sequence[Row]) -> list[str]:
    """The bounds of `expect` that the first row, the chosen candidate, does not keep."""
    chosen = next((row for row in rows if row["role"] == "searched"), {})
    said = []
    for name, (low, high) in config.expect.items():
        value = chosen.get(name)
        legal = _between(low, high)
        if not isinstance(value, int | float):
            known = [metric for metric, cell in chosen.items() if isinstance(cell, float)]
            said.append(f"{name}: no such metric in the final table (there: {', '.join(known) or 'none'})")
        elif (low is not None and value < low) or (high is not None and value > high):
            said.append(f"{name} is {value:.6g}, expected {legal}")
    return said


def expected(config: Config) -> str:
    """All bounds of `expect`, in words."""
    return ", ".join(f"{name} {_between(low, high)}" for name, (low, high) in config.expect.items())


def _between(low: float | None, high: float | None) -> str:
    return f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"


def _best(trial: Trial | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "number": trial.number,
        "stage": trial.stage,
        "candidate": dict(trial.candidate),
        "metrics": dict(trial.metrics or {}),
    }


def _front(story: Story, baselines: Mapping[str, Story]) -> dict[str, Any] | None:
    """size and hypervolume of the search's front in the box of all these searches, in words too; None for no front."""
    found = covered({"": story, **baselines}).get("")
    if found is None:
        return None
    return {"size": found.size, "hypervolume": found.volume, "said": words(story, baselines)}


def _of_front(front: Mapping[str, Any] | None) -> str:
    return f", front of {front['size']:,}" if front else ""


def _stage(run: Run, story: Story) -> str:
    """The last stage that has a trial; a baseline's search between search and finals."""
    if story.tests:
        return "test"
    if story.final:
        return f"final-{story.final}"
    baselines = list(run.baselines)
    if baselines:
        return f"baseline {baselines[-1]}"
    return "search" if run.shared.exists() or story.searched else "prepare"


def _silence(run: Run) -> float | None:
    """Seconds since the last line of the journal, or of a baseline's; None before the first trial."""
    journals = [run.folder / "trials.jsonl", *(run.folder / "baselines").glob("*/trials.jsonl")]
    times = [path.stat().st_mtime for path in journals if path.exists() and path.stat().st_size]
    return max(0.0, time.time() - max(times)) if times else None
