"""The rows of tests/benchmarks/architecture.py as tables; what was not measured is left out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

Row = dict[str, Any]


def tables(rows: Sequence[Row]) -> str:
    """Everything that `rows` hold."""
    parts = [make([row for row in rows if row["task"] == task]) for task, make in TASKS.items()
             if any(row["task"] == task for row in rows)]  # fmt: skip
    return "\n\n".join(parts)


def _trainer(rows: Sequence[Row]) -> str:
    lines = [
        "| data set, validation accuracy | plain loop (s, epochs) | automl-ext (s, epochs) | times as fast |",
        "|---" * 4 + "|",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        some = [row for row in rows if row["dataset"] == dataset]
        cells, seconds = [], []
        for who in ("plain loop", "automl-ext"):
            own = [row for row in some if row["who"] == who]
            seconds.append(statistics.median(row["seconds"] for row in own))
            reached = sum(row["accuracy"] >= row["target"] for row in own)
            short = "" if reached == len(own) else f", {reached} of {len(own)} got there"
            cells.append(f"{seconds[-1]:.2f}, {statistics.median(row['epochs'] for row in own):g}{short}")
        lines.append(
            f"| {dataset}, {100 * some[0]['target']:g} % | {' | '.join(cells)} | {seconds[0] / seconds[1]:.2f} |"
        )
    return "\n".join(lines)


def _workers(rows: Sequence[Row]) -> str:
    seconds = {row["workers"]: row["seconds"] for row in rows}
    return f"Two workers do {seconds[1] / seconds[2]:.2f} times what one does ({seconds[1]:.0f} s, {seconds[2]:.0f} s)."


def _builders(rows: Sequence[Row]) -> str:
    lines = ["| space | candidates | failures | candidates a second |", "|---" * 4 + "|"]
    for row in rows:
        lines.append(
            f"| {row['space']} | {row['candidates']:,} | {row['failures']} | {row['candidates'] / row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def _search(rows: Sequence[Row]) -> str:
    run = next(row for row in rows if row["what"] == "search")
    began = f"{run['trials']} candidates with {run['workers']} workers took {run['seconds'] / 60:.1f} minutes"
    text = f"{began}, the final stage among them; the best has {run['params_k']:.1f} thousand parameters. On digits:"
    return text + "\n\n" + _compared([row for row in rows if row["what"] == "test"])


def _transfer(rows: Sequence[Row]) -> str:
    return "The same cell with twice as many channels on Fashion-MNIST:\n\n" + _compared(rows)


def _compared(rows: Sequence[Row]) -> str:
    """Test accuracies a seed, and their paired difference with its 95 % interval."""
    lines = ["| network | params (k) | MACs (M) | test accuracy (%), a seed each | mean |", "|---" * 5 + "|"]
    by = {who: {row["seed"]: 100 * row["test_accuracy"] for row in rows if row["who"] == who}
          for who in ("found cell", "resnet")}  # fmt: skip
    for who, values in by.items():
        row = next(row for row in rows if row["who"] == who)
        each = ", ".join(f"{value:.2f}" for value in values.values())
        lines.append(
            f"| {who} | {row['params_k']:.1f} | {row['macs_m']:.2f} | {each} | {np.mean(list(values.values())):.2f} |"
        )
    gains = np.array(
        [by["found cell"][seed] - value for seed, value in by["resnet"].items() if seed in by["found cell"]]
    )
    if len(gains) > 1:
        half = float(student.ppf(0.975, len(gains) - 1)) * gains.std(ddof=1) / len(gains) ** 0.5
        lines.append(f"\nDifference, {rows[0]['epochs']} epochs each: {gains.mean():+.2f} points "
                     f"({gains.mean() - half:+.2f} to {gains.mean() + half:+.2f}).")  # fmt: skip
    return "\n".join(lines)


TASKS: dict[str, Callable[[Sequence[Row]], str]] = {
    "trainer": _trainer, "workers": _workers, "builders": _builders, "search": _search, "transfer": _transfer,
}  # fmt: skip
