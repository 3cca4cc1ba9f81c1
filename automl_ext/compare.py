"""Comparing runs: groups over seeds with intervals, and paired tests with Holm's correction.

A group is all runs of one configuration, whatever their seeds. The baselines and references inside the runs are groups
of their own, paired with the runs they stood beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from automl_ext.fronts import frame
from automl_ext.groups import Group, Told, gather, goal_of, measure
from automl_ext.report.display import NOTHING, Column, column, count, duration, text
from automl_ext.significance import FEWEST, bootstrap_interval, holm, sign_test, signed_rank_test

if TYPE_CHECKING:
    from automl_ext.run import Run


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    rows: one a group (group, role, seeds, median, low, high, mean, interval, evaluations, seconds, failures,
    hypervolume). pairs: one a pair of groups (left, right, pairs, difference, wins, losses, ties, p values, said).
    stage: where the metric comes from, test | final | search. notes: what a reader must know. groups: the parts.
    """

    metric: str
    goal: str
    stage: str
    rows: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    notes: list[str]
    groups: list[Group]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, without the curves."""
        return {name: getattr(self, name) for name in ("metric", "goal", "stage", "rows", "pairs", "notes")}

    @property
    def shown(self) -> Column:
        return column(self.metric, [value for group in self.groups for value in group.values])


def compare(runs: Sequence[Run], metric: str | None = None) -> Comparison:
    """Compare runs by `metric`: by default the test metric of the searched finalists, else what all of them have.

    `metric` may be any metric of the final table or of the search, or "hypervolume" (several objectives).
    Raises ValueError for no runs, for runs without a common metric, and for an unknown one (names those there are).
    """
    if not runs:
        raise ValueError("compare: no runs given")
    told = [Told(run) for run in runs]
    stage, name = measure(told, metric)
    groups, notes = gather(told, stage, name)
    _fill_hypervolumes(groups, told)
    if name == "hypervolume":
        for group in groups:
            for side in group.sides.values():
                side.value = side.hypervolume
    goal = goal_of(name, told)
    pairs = _pairs(groups, goal)
    notes = [*_caution(told, groups, pairs), *notes]
    return Comparison(name, goal, stage, [_row(group) for group in groups], pairs, notes, groups)


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, all text, of the groups."""
    shown = comparison.shown
    several = any(row["hypervolume"] is not None for row in comparison.rows) and comparison.metric != "hypervolume"
    lines = []
    for row in comparison.rows:
        interval = NOTHING if row["interval"] is None else " to ".join(shown.number(edge) for edge in row["interval"])
        span = f"{shown.number(row['low'])} to {shown.number(row['high'])}" if row["seeds"] else NOTHING
        line = [row["group"], str(row["seeds"]), shown.number(row["median"]), span, shown.number(row["mean"]), interval]
        line += [_whole(row["evaluations"]), duration(row["seconds"]), _whole(row["failures"])]
        lines.append(line + ([column("hv").number(row["hypervolume"])] if several else []))
    headings = ["group", "seeds", f"median {shown.heading}", "range", "mean", "95 % interval of the mean"]
    return [*headings, "evaluations", "time", "failures", *(["hypervolume"] if several else [])], lines


def pair_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, all text, of the paired tests; p values are Holm-adjusted."""
    shown = comparison.shown
    lines = []
    for pair in comparison.pairs:
        record = f"{pair['wins']} / {pair['losses']} / {pair['ties']}"
        p_values = [
            NOTHING if pair[name] is None else f"{pair[name]:.3g}" for name in ("sign_holm", "signed_rank_holm")
        ]
        difference = shown.number(pair["difference"])
        lines.append([pair["left"], pair["right"], str(pair["pairs"]), difference, record, *p_values, pair["said"]])
    heading = f"median difference ({shown.unit})" if shown.unit else "median difference"
    return ["left", "right", "pairs", heading, "better / worse / equal", "sign p", "Wilcoxon p", "verdict"], lines


def draw(comparison: Comparison, path: Path) -> Path:
    """Write the groups' best-so-far curves as an SVG file: median over seeds, the range shaded."""
    from automl_ext.report.curves import comparison_figure

    curves = {
        group.label: [side.story.best_so_far() for side in group.sides.values() if side.story is not None]
        for group in comparison.groups
    }
    stories = [side.story for group in comparison.groups for side in group.sides.values() if side.story is not None]
    objective = next(story.objectives[0] for story in stories if story.objectives)
    path.write_text(comparison_figure(curves, objective.name, objective.goal), encoding="utf-8")
    return path


def _row(group: Group) -> dict[str, Any]:
    values = group.values
    stories = [side.story for side in group.sides.values() if side.story is not None]
    volumes = [side.hypervolume for side in group.sides.values() if side.hypervolume is not None]
    return {
        "group": group.label,
        "role": group.role,
        "seeds": len(values),
        "runs": len(group.sides),
        "median": median(values) if values else None,
        "low": min(values, default=None),
        "high": max(values, default=None),
        "mean": fmean(values) if values else None,
        "interval": bootstrap_interval(values),
        "evaluations": median(story.searched for story in stories) if stories else None,
        "seconds": median(story.seconds for story in stories) if stories else None,
        "failures": sum(story.failed for story in stories) if stories else None,
        "hypervolume": median(volumes) if volumes else None,
    }


def _pairs(groups: Sequence[Group], goal: str) -> list[dict[str, Any]]:
    """Runs against runs, and runs against their own baselines and references, paired by seed."""
    wanted = [
        (left, right)
        for left, right in combinations(groups, 2)
        if left.role == "searched" and (right.role == "searched" or right.beside == left.label)
    ]
    pairs = [_pair(left, right, goal) for left, right in wanted]
    for test in ("sign", "signed_rank"):
        tested = [pair for pair in pairs if pair[test] is not None]
        for pair, adjusted in zip(tested, holm([pair[test] for pair in tested]), strict=True):
            pair[f"{test}_holm"] = adjusted
    for pair in pairs:
        pair["said"] = _said(pair)
    return pairs


def _pair(left: Group, right: Group, goal: str) -> dict[str, Any]:
    both = [(side.value, right.sides[seed].value) for seed, side in left.sides.items() if seed in right.sides]
    raw = [mine - other for mine, other in both if mine is not None and other is not None]
    gains = [difference if goal == "max" else -difference for difference in raw]
    enough = len(raw) >= FEWEST
    return {
        "left": left.label,
        "right": right.label,
        "pairs": len(raw),
        "difference": median(raw) if raw else None,
        "wins": sum(gain > 0 for gain in gains),
        "losses": sum(gain < 0 for gain in gains),
        "ties": sum(gain == 0 for gain in gains),
        "sign": sign_test(gains) if enough else None,
        "signed_rank": signed_rank_test(gains) if enough else None,
        "sign_holm": None,
        "signed_rank_holm": None,
    }


def _said(pair: Mapping[str, Any]) -> str:
    if pair["signed_rank_holm"] is None:
        return f"too few pairs ({pair['pairs']}; it takes {FEWEST})"
    if pair["signed_rank_holm"] < 0.05:
        better = "left" if pair["wins"] > pair["losses"] else "right"
        agreed = pair["sign_holm"] < 0.05
        return f"{better} is better (p < 0.05)" if agreed else f"{better} is better by Wilcoxon's test only"
    return "no difference shown" + (" (5 pairs cannot go below p = 0.06)" if pair["pairs"] == FEWEST else "")


def _fill_hypervolumes(groups: Sequence[Group], told: Sequence[Told]) -> None:
    """Hypervolume of every search, in one box, where all runs trade the same objectives, at least two."""
    if len(told[0].story.traded) < 2 or any(run.story.traded != told[0].story.traded for run in told):
        return
    sides = [side for group in groups for side in group.sides.values()]
    clouds = [side.story.cloud() for side in sides if side.story is not None]
    box = frame(clouds)
    for side in sides:
        if side.story is not None:
            side.hypervolume = 0.0 if box is None else box.hypervolume(side.story.cloud())


def _caution(told: Sequence[Told], groups: Sequence[Group], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
    if len(environments := sorted({run.config.env.id or "?" for run in told})) > 1:
        said.append(f"Different environments ({text(', '.join(environments), 200)}): the values may not be comparable.")
    counts = sorted({side.story.searched for group in groups for side in group.sides.values() if side.story})
    if len(counts) > 1:
        said.append(f"Different numbers of trials ({counts[0]:,} to {counts[-1]:,}): not the same budget.")
    open_ends = [run.folder for run in told if run.outcome != "finished"]
    if open_ends:
        said.append(f"Not finished: {text(', '.join(open_ends), 300)}.")
    for group in groups:
        if len(group.values) < len(group.sides):
            said.append(f"{group.label}: {count(len(group.sides) - len(group.values), 'run')} without a result.")
    if any(pair["signed_rank"] is None for pair in pairs):
        said.append(f"Fewer than {FEWEST} pairs say nothing about chance; intervals from so few seeds are too narrow.")
    return said


def _whole(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"
