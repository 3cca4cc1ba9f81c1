"""Comparing runs: groups over seeds with intervals, and paired tests with Holm's correction.

A group is all runs of one configuration, whatever their seeds. The baselines and references inside the runs are groups
of their own, paired with the runs they stood beside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from automl_ext.fronts import Frame, frame, growth, reference_point
from automl_ext.groups import Group, Told, gather, goal_of, measure
from automl_ext.objective import Objective
from automl_ext.pairs import paired
from automl_ext.report.display import NOTHING, Column, column, count, duration, text
from automl_ext.significance import FEWEST, bootstrap_interval

if TYPE_CHECKING:
    from automl_ext.run import Run

VOLUME = ["hypervolume", "95 % interval of its mean"]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    rows: one a group (group, role, seeds, median, low, high, mean, interval, evaluations, seconds, failures,
    hypervolume with its interval). pairs: one a pair of groups, see `paired`. stage: where the metric comes from, test
    | final | search. notes: what a reader must know. groups: the parts. volume_pairs: the pairs by hypervolume, where
    that is not the metric itself. box: where hypervolumes are measured. traded: the objectives that all runs trade.
    """

    metric: str
    goal: str
    stage: str
    rows: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    notes: list[str]
    groups: list[Group]
    volume_pairs: list[dict[str, Any]]
    box: Frame | None
    traded: tuple[Objective, ...]

    @property
    def reference(self) -> dict[str, float]:
        """The reference point of the hypervolumes in the metrics' units; {} where there is none."""
        if self.box is None:
            return {}
        signs = [1.0 if objective.goal == "min" else -1.0 for objective in self.traded]
        return {o.name: sign * float(at) for o, sign, at in zip(self.traded, signs, self.box.reference, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, without the curves."""
        names = ("metric", "goal", "stage", "rows", "pairs", "volume_pairs", "reference", "notes")
        return {name: getattr(self, name) for name in names}

    @property
    def shown(self) -> Column:
        return column(self.metric, [value for group in self.groups for value in group.values])


def compare(runs: Sequence[Run], metric: str | None = None, reference: Mapping[str, float] | None = None) -> Comparison:
    """Compare runs by `metric`: by default the test metric of the searched finalists, else what all of them have.

    `metric` may be any metric of the final table or of the search, or "hypervolume" (several objectives).
    `reference`: the reference point of hypervolumes, one value an objective; by default a little behind the nadir of
    all runs. Raises ValueError for no runs, for runs without a common metric, for an unknown one (names those there
    are), and for a reference point that does not fit.
    """
    if not runs:
        raise ValueError("compare: no runs given")
    told = [Told(run) for run in runs]
    stage, name = measure(told, metric)
    groups, notes = gather(told, stage, name)
    common = _common(told)
    box = _fill_hypervolumes(groups, common, reference)
    if name == "hypervolume":
        for group in groups:
            for side in group.sides.values():
                side.value = side.hypervolume
    goal = goal_of(name, told)
    pairs = paired(groups, goal, lambda side: side.value)
    volumes = [] if box is None or name == "hypervolume" else paired(groups, "max", lambda side: side.hypervolume)
    volumes = [pair for pair in volumes if pair["pairs"]]
    notes = [*_caution(told, groups, pairs), *notes]
    rows = [_row(group) for group in groups]
    found = Comparison(name, goal, stage, rows, pairs, notes, groups, volumes, box, common)
    return replace(found, notes=[*notes, *_explained(found)])


def point(words: Sequence[str]) -> dict[str, float]:
    """The reference point of `name=value` words. ValueError for what is none."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not math.isfinite(found[name.strip()]):
            raise ValueError(f"compare: a reference point is written NAME=NUMBER, not {text(word, 60)!r}")
    return found


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
        lines.append(line + (_volume(row) if several else []))
    headings = ["group", "seeds", f"median {shown.heading}", "range", "mean", "95 % interval of the mean"]
    return [*headings, "evaluations", "time", "failures", *(VOLUME if several else [])], lines


def pair_table(comparison: Comparison, volumes: bool = False) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, all text, of the paired tests, or of those by hypervolume; p values are Holm-adjusted."""
    shown = column("hypervolume") if volumes else comparison.shown
    lines = []
    for pair in comparison.volume_pairs if volumes else comparison.pairs:
        record = f"{pair['wins']} / {pair['losses']} / {pair['ties']}"
        p_values = [
            NOTHING if pair[name] is None else f"{pair[name]:.3g}" for name in ("sign_holm", "signed_rank_holm")
        ]
        difference = shown.number(pair["difference"])
        lines.append([pair["left"], pair["right"], str(pair["pairs"]), difference, record, *p_values, pair["said"]])
    heading = "median difference" + (f" ({shown.unit})" if shown.unit else " of hypervolume" if volumes else "")
    return ["left", "right", "pairs", heading, "better / worse / equal", "sign p", "Wilcoxon p", "verdict"], lines


def draw(comparison: Comparison, path: Path) -> Path:
    """Write the groups' curves as an SVG file: median over seeds, the range shaded; beside them fronts.

    Fronts are drawn where two objectives are traded. The curves are the primary objective's best so far, or the
    hypervolume where that is what is compared.
    """
    from automl_ext.report.curves import comparison_figure

    stories = {
        group.label: [side.story for side in group.sides.values() if side.story is not None]
        for group in comparison.groups
    }
    stories = {label: each for label, each in stories.items() if each}
    objective = next(story.objectives[0] for each in stories.values() for story in each if story.objectives)
    box, traded, metric, goal = comparison.box, comparison.traded, objective.name, objective.goal
    if box is not None and comparison.metric == "hypervolume":
        curves = {label: [growth(story.costs(), box) for story in each] for label, each in stories.items()}
        metric, goal = "hypervolume", "max"
    else:
        curves = {label: [story.best_so_far() for story in each] for label, each in stories.items()}
    clouds = {label: [story.cloud() for story in each] for label, each in stories.items()}
    drawn = clouds if box is not None and len(traded) == 2 else None
    path.write_text(comparison_figure(curves, metric, goal, drawn, traded), encoding="utf-8")
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
        "hypervolume_interval": bootstrap_interval(volumes),
    }


def _common(told: Sequence[Told]) -> tuple[Objective, ...]:
    """The objectives that all runs trade; () for one alone and for different ones."""
    traded = told[0].story.traded
    return traded if len(traded) > 1 and all(run.story.traded == traded for run in told) else ()


def _fill_hypervolumes(
    groups: Sequence[Group], traded: Sequence[Objective], reference: Mapping[str, float] | None
) -> Frame | None:
    """Hypervolume of every search, all in one box, which is returned; None where nothing is traded or found."""
    if not traded and reference:
        raise ValueError("compare: a reference point needs runs with the same traded objectives, at least two")
    point = reference_point(reference, traded) if reference else None
    clouds = {id(side): side.story.cloud() for group in groups for side in group.sides.values() if side.story}
    box = frame(list(clouds.values()), point) if traded else None
    for side in (side for group in groups for side in group.sides.values()):
        if box is not None and id(side) in clouds:
            side.hypervolume = box.hypervolume(clouds[id(side)])
    return box


def _explained(found: Comparison) -> list[str]:
    """What the hypervolumes are measured in."""
    if not found.reference:
        return []
    at = ", ".join(f"{(shown := column(name, [value])).label} {shown.quantity(value)}"
                   for name, value in found.reference.items())  # fmt: skip
    return [f"Hypervolume: share of the box from the reference point ({at}) to the best values of all runs."]


def _caution(told: Sequence[Told], groups: Sequence[Group], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
    if len(environments := sorted({run.config.env.id or "?" for run in told})) > 1:
        said.append(f"Different environments ({text(', '.join(environments), 200)}): the values may not be comparable.")
    rewards = {json.dumps(run.config.to_dict().get("reward"), sort_keys=True) for run in told}
    if len(rewards) > 1 and all(run.story.primary == "reward" for run in told):
        said.append("Different rewards: their values are not comparable.")
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


def _volume(row: Mapping[str, Any]) -> list[str]:
    """Cells of the median hypervolume and of the interval of its mean."""
    interval = row["hypervolume_interval"]
    shown = column("hypervolume", [row["hypervolume"], *(interval or ())])
    edges = NOTHING if interval is None else " to ".join(shown.number(edge) for edge in interval)
    return [shown.number(row["hypervolume"]), edges]


def _whole(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"
