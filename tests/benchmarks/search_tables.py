"""From the results of searches to the tables and the figure that stand in a README."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from automl_ext.tasks.architecture.table import read_table
from matplotlib import colormaps
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from automl_ext.fronts import hypervolumes
from automl_ext.objective import Objective
from automl_ext.significance import bootstrap_interval, holm, signed_rank_test

COLUMNS = ("c10_val200", "c10_test200", "c10_val12", "c10_latency_s", "c10_train_time_s")
MARKS = ("<!-- search: begin -->", "<!-- search: end -->")
Row = dict[str, Any]
Groups = dict[tuple[str, int], list[Row]]


class Truth:
    """The whole table, and what a search's codes mean in it."""

    def __init__(self, table: str) -> None:
        self.rows = read_table(table, [("table", column) for column in COLUMNS])
        self.best = {column: max(row[column] for row in self.rows.values()) for column in COLUMNS}

    def curve(self, row: Row, column: str = "c10_val200") -> NDArray[np.float64]:
        """(trials,) best value so far."""
        return np.maximum.accumulate([self.rows[code][column] for code in row["codes"]])

    def first(self, row: Row, column: str = "c10_val200") -> float:
        """The evaluation that found the optimum, counted from 1; infinite where none did."""
        hits = np.flatnonzero(self.curve(row, column) >= self.best[column])
        return float(hits[0] + 1) if len(hits) else float("inf")

    def regret(self, row: Row, trials: int, column: str = "c10_val200") -> float:
        curve = self.curve(row, column)
        return float(self.best[column] - curve[min(trials, len(curve)) - 1])

    def test(self, row: Row, trials: int) -> float:
        """Test accuracy of the best by validation among the first `trials`."""
        return self.rows[max(row["codes"][:trials], key=lambda code: self.rows[code]["c10_val200"])]["c10_test200"]


def grouped(rows: Sequence[Row], part: str) -> Groups:
    found: Groups = defaultdict(list)
    for row in rows:
        if row["task"]["part"] == part:
            found[row["task"]["searcher"], row["task"]["parallel"]].append(row)
    for group in found.values():
        group.sort(key=lambda row: row["task"]["seed"])
    return dict(found)


def tables(rows: Sequence[Row], table: str, learned: str) -> str:
    """All tables for which there are results, as Markdown."""
    truth = Truth(table)
    single = grouped(rows, "single")
    parts = []
    for parallel in (1, 8):
        groups = {name: group for (name, count), group in single.items() if count == parallel}
        if groups:
            parts.append(_single(truth, groups, parallel))
    for part, column in (("single", "c10_val200"), ("early", "c10_val12")):
        groups = {name: group for (name, count), group in grouped(rows, part).items() if count == 1}
        if learned in groups:
            parts.append(_rivals(truth, groups, learned, column))
    front = {name: group for (name, _), group in grouped(rows, "front").items()}
    if front:
        parts.append(_front(truth, front))
    fidelity = {name: group for (name, _), group in grouped(rows, "fidelity").items()}
    if fidelity:
        parts.append(_fidelity(truth, fidelity))
    return "\n\n".join(parts)


def _single(truth: Truth, groups: dict[str, list[Row]], parallel: int) -> str:
    """One line a searcher, the fastest to the optimum first."""

    def speed(name: str) -> tuple[float, float]:
        group = groups[name]
        return statistics.median(map(truth.first, group)), statistics.mean(truth.regret(row, 100) for row in group)

    chances = _against_random(truth, groups)
    lines = [
        ["searcher", "seeds", "evaluations to the optimum, median (quartiles)", "mean regret after 25", "50", "100",
         "200", "test accuracy after 100, median", "better than random after 200, p", "processor ms an ask"],
    ]  # fmt: skip
    for name in sorted(groups, key=speed):
        group = groups[name]
        firsts = np.array([truth.first(row) for row in group])
        low, middle, high = (_count(value, group) for value in _quantiles(firsts))
        length = min(len(row["codes"]) for row in group)
        regrets = [
            f"{statistics.mean(truth.regret(row, trials) for row in group):.3f}" if trials <= length else ""
            for trials in (25, 50, 100, 200)
        ]
        tested = statistics.median(truth.test(row, 100) for row in group)
        ask = statistics.median(row["ask_ms"] for row in group)
        chance = chances.get(name, "")
        lines.append(
            [name, str(len(group)), f"{middle} ({low} to {high})", *regrets, f"{tested:.2f}", chance, f"{ask:.2g}"]
        )
    how = "one trial at a time" if parallel == 1 else f"{parallel} trials at a time"
    return f"#### Search on `c10_val200`, {how}\n\n{_markdown(lines)}"


def _against_random(truth: Truth, groups: dict[str, list[Row]]) -> dict[str, str]:
    """Signed-rank tests of the regret after 200 evaluations, paired over seeds, Holm-corrected."""
    if "random" not in groups:
        return {}
    names = [name for name, group in groups.items() if name != "random" and len(group[0]["codes"]) >= 200]
    gains = [_paired(groups["random"], groups[name], lambda row: truth.regret(row, 200)) for name in names]
    values = holm([signed_rank_test(gain) for gain in gains])
    return {
        name: f"{value:.1g}" if float(np.mean(gain)) > 0 else "no"
        for name, gain, value in zip(names, gains, values, strict=True)
    }


def _rivals(truth: Truth, groups: dict[str, list[Row]], learned: str, column: str) -> str:
    """Regret of each rival minus that of the learned searcher, paired over seeds, Holm-corrected over the table."""
    rivals = [name for name in ("local", "optuna:tpe", "optuna:gp", "random") if name in groups]
    cases = [(name, trials) for name in rivals for trials in (25, 50, 100)]
    gains = [
        _paired(groups[name], groups[learned], lambda row, trials=trials: truth.regret(row, trials, column))
        for name, trials in cases
    ]
    values = holm([signed_rank_test(gain) for gain in gains])
    lines = [["rival", "evaluations", "seeds", f"regret of {learned}", "of the rival", "mean difference", "p (Holm)"]]
    for (name, trials), gain, value in zip(cases, gains, values, strict=True):
        pairs = groups[learned][: len(gain)]
        own = statistics.mean(truth.regret(row, trials, column) for row in pairs)
        other = statistics.mean(truth.regret(row, trials, column) for row in groups[name][: len(gain)])
        lines.append(
            [name, str(trials), str(len(gain)), f"{own:.3f}", f"{other:.3f}", f"{np.mean(gain):+.3f}", f"{value:.1g}"]
        )
    return f"#### `{learned}` against its rivals on `{column}`\n\n{_markdown(lines)}"


def _front(truth: Truth, groups: dict[str, list[Row]]) -> str:
    goals = (Objective("c10_val200"), Objective("c10_latency_s", "min"))
    columns = [objective.name for objective in goals]
    flat = [(name, row) for name, group in groups.items() for row in group]
    everything = np.array([[row[column] for column in columns] for row in truth.rows.values()])
    clouds = [np.array([[truth.rows[code][column] for column in columns] for code in row["codes"]]) for _, row in flat]
    *volumes, best = hypervolumes([*clouds, everything], goals)
    by_name: dict[str, list[float]] = defaultdict(list)
    for (name, _), volume in zip(flat, volumes, strict=True):
        by_name[name].append(volume / best)
    lines = [["searcher", "seeds", "hypervolume, share of the table's, median (quartiles)", "minus Optuna's NSGA-II",
              "p (Holm)"]]  # fmt: skip
    rival = by_name.get("optuna:nsga2", [])
    names = sorted(by_name, key=lambda name: -statistics.median(by_name[name]))
    compared = [name for name in names if name != "optuna:nsga2" and rival]
    gains = {name: [a - b for a, b in zip(by_name[name], rival, strict=False)] for name in compared}
    values = dict(zip(compared, holm([signed_rank_test(gains[name]) for name in compared]), strict=True))
    for name in names:
        low, middle, high = np.quantile(by_name[name], [0.25, 0.5, 0.75])
        more = [f"{np.mean(gains[name]):+.4f}", f"{values[name]:.1g}"] if name in values else ["", ""]
        lines.append([name, str(len(by_name[name])), f"{middle:.4f} ({low:.4f} to {high:.4f})", *more])
    return f"#### Accuracy and latency, 200 evaluations\n\n{_markdown(lines)}"


def _fidelity(truth: Truth, groups: dict[str, list[Row]]) -> str:
    reference = groups.get("evolution, 200 epochs", [])
    lines = [["setting", "seeds", "trials", "best `c10_val200`, mean", "minus evolution (95 % interval)",
              "simulated hours", "share"]]  # fmt: skip
    hours = {name: statistics.mean(row["cost_s"] for row in group) / 3600 for name, group in groups.items()}
    for name, group in groups.items():
        final = [float(truth.curve(row)[-1]) for row in group]
        gain = [a - float(truth.curve(row)[-1]) for a, row in zip(final, reference, strict=False)]
        interval = bootstrap_interval(gain)
        less = f"{np.mean(gain):+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else ""
        trials = statistics.mean(row["trials"] for row in group)
        share = f"{hours[name] / hours['evolution, 200 epochs']:.2f}" if reference else ""
        lines.append([name, str(len(group)), f"{trials:.0f}", f"{statistics.mean(final):.3f}", less,
                      f"{hours[name]:.1f}", share])  # fmt: skip
    return f"#### Twelve epochs first\n\n{_markdown(lines)}"


def _paired(worse: list[Row], better: list[Row], value: Any) -> list[float]:
    """value(worse) - value(better) over the seeds that both have."""
    ours = {row["task"]["seed"]: row for row in better}
    return [value(row) - value(ours[row["task"]["seed"]]) for row in worse if row["task"]["seed"] in ours]


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    return [float(np.quantile(values, share, method="inverted_cdf")) for share in (0.25, 0.5, 0.75)]


def _count(value: float, group: list[Row]) -> str:
    return f"{value:.0f}" if np.isfinite(value) else f"> {min(len(row['codes']) for row in group)}"


def _markdown(lines: list[list[str]]) -> str:
    head, *body = lines
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def write(text: str, file: Path) -> None:
    """Put `text` between the marks of a Markdown file."""
    whole = file.read_text()
    before, rest = whole.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    file.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


def figure(rows: Sequence[Row], table: str, file: Path) -> None:
    """Mean regret over evaluations, one trial at a time, as SVG."""
    truth = Truth(table)
    groups = {name: group for (name, count), group in grouped(rows, "single").items() if count == 1}
    picture = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasSVG(picture)
    axes = picture.subplots()
    axes.set_prop_cycle(color=colormaps["tab20"].colors)
    for name, group in groups.items():
        length = min(200, *(len(row["codes"]) for row in group))
        regret = truth.best["c10_val200"] - np.mean([truth.curve(row)[:length] for row in group], axis=0)
        style = {"lw": 2} if not name.startswith("optuna") else {"lw": 1.5, "ls": "--"}
        axes.plot(np.arange(1, length + 1), regret, label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="evaluations", ylabel="mean regret of the best so far, points")
    axes.set(xlim=(5, 200), ylim=(0.01, 10))
    axes.legend(fontsize=8, ncols=2, frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(file, format="svg", metadata={"Date": None})
