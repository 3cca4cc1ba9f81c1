"""The rows of pruning.py as Markdown: medians over seeds, and paired differences against the issue's rivals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MARKS = ("<!-- pruning: begin -->", "<!-- pruning: end -->")
COLUMNS = {
    "reconstructed": "reconstructed",
    "norms": "batch norms anew",
    "reconstructed_tuned": "reconstructed, tuned",
    "reconstructed_taught": "reconstructed, taught",
    "norms_tuned": "batch norms anew, tuned",
    "norms_taught": "batch norms anew, taught",
}
Rows = Sequence[dict[str, Any]]


def text(rows: Rows, epochs: int) -> str:
    """A table a share of MACs, and one of differences."""
    parts = []
    for share in dict.fromkeys(row["share"] for row in rows):
        some = [row for row in rows if row["share"] == share]
        parts.append(f"#### {100 * share:.0f} % of the MACs\n\n{_accuracies(some, epochs)}\n\n{_differences(some)}")
    return "\n\n".join(parts)


def _accuracies(rows: Rows, epochs: int) -> str:
    heads = ["policy", *COLUMNS.values(), "seconds"]
    seeds = len({row["seed"] for row in rows})
    lines = [
        f"Test accuracy in %, median (from to) of {seeds} seeds; tuned: {epochs} epochs; taught: with the tuned"
        " dense network as a teacher.\n",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    names = dict.fromkeys(row["policy"] for row in rows)
    for name in sorted(names, key=lambda name: -statistics.median(_values(rows, name, "reconstructed"))):
        cells = [_cell(_values(rows, name, column)) for column in (*COLUMNS, "seconds")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(rows: Rows) -> str:
    searchers = [name for name in dict.fromkeys(row["policy"] for row in rows) if _values(rows, name, "seconds")]
    rivals: dict[str, Callable[[Rows], float]] = {
        "uniform, reconstructed": lambda some: _of(some, "uniform", "reconstructed"),
        "best criterion, reconstructed": lambda some: _best(some, searchers, "reconstructed"),
        "best criterion, batch norms anew": lambda some: _best(some, searchers, "norms"),
    }
    lines = [
        "Points of test accuracy before tuning above the rival, paired, median (from to).\n",
        f"| policy | {' | '.join(rivals)} |",
        "|---" * (len(rivals) + 1) + "|",
    ]
    for name in searchers:
        cells = []
        for rival in rivals.values():
            seeds = [[row for row in rows if row["seed"] == seed] for seed in dict.fromkeys(r["seed"] for r in rows)]
            cells.append(_cell([_of(some, name, "reconstructed") - rival(some) for some in seeds]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _values(rows: Rows, policy: str, column: str) -> list[float]:
    return [row[column] for row in rows if row["policy"] == policy and column in row]


def _of(rows: Rows, policy: str, column: str) -> float:
    return _values(rows, policy, column)[0]


def _best(rows: Rows, searchers: Sequence[str], column: str) -> float:
    """Of torch-pruning's criteria, by test accuracy: more than a user could choose."""
    return max(row[column] for row in rows if row["policy"] not in {*searchers, "uniform", "dense"})


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    places = 0 if min(values) > 100 else 2
    middle, low, high = (f"{value:.{places}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def write(text: str, file: Path, marks: tuple[str, str] = MARKS) -> None:
    """Put `text` between the marks of a Markdown file."""
    before, rest = file.read_text().split(marks[0])
    _, after = rest.split(marks[1])
    file.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}")
