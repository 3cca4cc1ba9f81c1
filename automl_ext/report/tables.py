"""The table that ends a run: who came through the last final stage, with means and spreads over repeats.

Metrics of the last final stage and of the test stage belong together by the note {"role", "name", "entry", "repeat"}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from automl_ext.objective import Metrics, Objective, front
from automl_ext.report.display import Column, column, cost, text
from automl_ext.report.reading import Story, read
from automl_ext.searcher import Trial, who

if TYPE_CHECKING:
    from automl_ext.run import Run

ROLES = ("searched", "baseline", "reference")
_KEYS = ("role", "name", "stage", "repeats", "spread")


@dataclass
class Row:
    """One candidate of the table. `values`: metric -> its value in each repeat; `failed`: repeats without metrics.

    on_front: no other searched candidate, baseline or reference dominates its means; False for one traded objective.
    """

    role: str
    name: str
    stage: str
    chosen: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)
    repeats: int = 0
    failed: int = 0
    on_front: bool = False

    def mean(self, metric: str | None) -> float | None:
        values = self.values.get(metric or "")
        return fmean(values) if values else None

    def spread(self, metric: str | None) -> float | None:
        """Half of the range over repeats, None for fewer than two."""
        values = self.values.get(metric or "")
        return (max(values) - min(values)) / 2 if values and len(values) > 1 else None

    def add(self, metrics: Metrics, prefix: str = "") -> None:
        for name, value in metrics.items():
            name = name if name.startswith(prefix) else prefix + name
            self.values.setdefault(name, []).append(float(value))


def final_table(run: Run) -> list[dict[str, object]]:
    """Rows of the table that ends a run: role, name, stage, repeats, every metric's mean, and `spread`.

    The first row is the run's best, baselines and references follow. Metrics stand in the order of `metric_order`, a
    metric that a row lacks is None. `spread`: metric -> half of the range over repeats, where there are at least two.
    Without a final stage the rows are the best trials of the search and of each baseline (stage "search").
    """
    story = read(run)
    rows = final_rows(story, {name: read(part) for name, part in run.baselines.items()})
    names = metric_order(rows, story.objectives)
    table: list[dict[str, object]] = []
    for row in rows:
        line: dict[str, object] = {"role": row.role, "name": row.name, "stage": row.stage, "repeats": row.repeats}
        line |= {name: row.mean(name) for name in names}
        spreads = {name: spread for name in names if (spread := row.spread(name)) is not None}
        table.append(line | {"spread": spreads})
    return table


def printable(table: Sequence[dict[str, object]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, all text, of what `final_table` gave, for a terminal.

    What an evaluation cost (`seconds_...`) and quartile distances (`..._iqr_...`) would make it too wide: `--json` and
    the report have them.
    """
    known = table[0] if table else {}
    names = [name for name in known if name not in _KEYS and not name.startswith("seconds_") and "_iqr" not in name]
    columns = [column(name, (row.get(name) for row in table)) for name in names]
    lines = []
    for row in table:
        spreads = row["spread"] if isinstance(row["spread"], dict) else {}
        cells = [cell(shown, row.get(shown.name), spreads.get(shown.name)) for shown in columns]
        lines.append([title(str(row["role"]), str(row["name"])), *cells])
    return ["", *(shown.heading for shown in columns)], lines


def cell(shown: Column, mean: object, spread: object) -> str:
    """Such as "96.1 ± 0.3"; a spread of exactly 0 is left out."""
    return shown.number(mean) + (f" ± {shown.number(spread)}" if isinstance(spread, float) and spread > 0 else "")


def title(role: str, name: str) -> str:
    """How a row is called: "searched (trial-57)", "random (baseline)", "dense (reference)"."""
    return f"searched ({text(name, 40)})" if role == "searched" else f"{text(name, 40)} ({text(role, 20)})"


def final_rows(story: Story, baselines: dict[str, Story]) -> list[Row]:
    """One row a finalist, the run's best first; see `final_table`."""
    best = story.best()
    if not story.finals:
        entries = [("searched", f"trial-{best.number}" if best else "", best)]
        entries += [("baseline", name, part.best()) for name, part in baselines.items()]
        rows = [_search_row(role, name, trial) for role, name, trial in entries if trial is not None]
        for row in rows[:1]:
            row.chosen = row.role == "searched"
        return _with_front(rows, story)
    rows_by: dict[tuple[str, str, str], Row] = {}
    for trial in sorted(story.finals, key=lambda trial: trial.number):
        row = rows_by.setdefault(who(trial), Row(*who(trial)[:2], stage=trial.stage))
        row.repeats += 1
        row.failed += trial.metrics is None
        row.add(trial.metrics or {})
    for trial in sorted(story.tests, key=lambda trial: trial.number):
        if who(trial) in rows_by:
            rows_by[who(trial)].add(trial.metrics or {}, "test_")
    if best is not None and who(best) in rows_by:
        rows_by[who(best)].chosen = True
    rows = _one_a_baseline(rows_by, story)
    return _with_front(sorted(rows, key=lambda row: (not row.chosen, _place(row.role))), story)


def _one_a_baseline(rows: Mapping[tuple[str, str, str], Row], story: Story) -> list[Row]:
    """Of each baseline's finalists the one that validation chooses, as it chooses among the searched ones."""
    kept: dict[tuple[str, str], Row] = {}
    for (role, name, entry), row in rows.items():
        best = story.leader(role, name) if entry else None
        if best is None or who(best)[2] == entry:
            kept.setdefault((role, name), row)
    return list(kept.values())


def _with_front(rows: list[Row], story: Story) -> list[Row]:
    """Mark the rows that no other dominates, among those that keep all limits."""
    weighed, names = story.traded, [objective.name for objective in (*story.target, *story.objectives)]
    means = [{name: mean for name in names if (mean := row.mean(name)) is not None} for row in rows]
    whole = [place for place, each in enumerate(means) if set(each) == set(names)]
    limits = [objective for objective in story.objectives if objective.limit is not None]
    kept = [place for place in whole if not any(objective.violation(means[place]) > 0 for objective in limits)]
    for place in front([means[place] for place in kept], weighed) if len(weighed) > 1 else []:
        rows[kept[place]].on_front = True
    return rows


def metric_order(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[str]:
    """The metrics of the table: each objective, its relatives (`accuracy_untuned`), its test; then costs, the rest.

    Left out: a test metric that repeats the final stage's number in every row, such as the MACs.
    """
    present = list(dict.fromkeys(name for row in rows for name in row.values))
    primary, *others = [objective.name for objective in objectives] or [""]

    def place(name: str) -> tuple[int, int]:
        stem = name.removeprefix("test_")
        tested = int(name != stem)
        if primary and (stem == primary or stem.startswith((primary + "_", primary.split("_")[0] + "_"))):
            return tested, int(stem != primary)
        if stem in others:
            return 2 + tested, others.index(stem)
        rank = cost(stem)
        return (4 + tested, rank) if rank is not None else (6 + tested, 0)

    def repeats(name: str) -> bool:
        stem = name.removeprefix("test_")
        return name != stem and stem in present and all(row.mean(name) == row.mean(stem) for row in rows)

    return sorted((name for name in present if not repeats(name)), key=place)


def test_metric(primary: str | None, names: Iterable[str]) -> str | None:
    """The test metric that goes with the primary objective: test_<it>, else the first that shares a word with it."""
    tests = [name for name in names if name.startswith("test_")]
    if f"test_{primary}" in tests:
        return f"test_{primary}"
    words = set((primary or "").split("_"))
    return next((name for name in tests if words & set(name.removeprefix("test_").split("_"))), None)


def _search_row(role: str, name: str, trial: Trial) -> Row:
    row = Row(role, name, "search", repeats=1)
    row.add(trial.metrics or {})
    return row


def _place(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)
