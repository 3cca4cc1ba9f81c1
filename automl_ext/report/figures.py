"""The figures of a report: an inline SVG each and the words under it; None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from automl_ext.report.display import Column, column, cost, count, text
from automl_ext.report.drawing import (
    DASHES,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    canvas,
    count_evaluations,
    inline,
    last,
    legend,
    named,
    thinned,
    view,
)
from automl_ext.report.importance import Importance
from automl_ext.report.placing import annotate, spread_out
from automl_ext.report.reading import Numbers, Story
from automl_ext.report.tables import Row, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS, _FRONT, _BARS, _NAMES = 1_200, 400, 15, 24


@dataclass(frozen=True)
class Figure:
    """One figure of the page: heading, the <svg> element, caption."""

    heading: str
    svg: str
    caption: str


def progress(story: Story, baselines: Mapping[str, Story], searcher: str) -> Figure | None:
    """Best value so far of the primary objective over the evaluations, the search against each baseline."""
    curves = {named(searcher): story.best_so_far()}
    curves |= {named(f"{name} (baseline)"): part.best_so_far() for name, part in list(baselines.items())[:6]}
    curves = {name: curve for name, curve in curves.items() if not np.isnan(curve).all()}
    if not curves or story.primary is None:
        return None
    shown = column(story.primary, np.concatenate([curve[~np.isnan(curve)] for curve in curves.values()]))
    with canvas("progress") as (figure, axes):
        cut = _dots(axes, story, shown, _span(story, list(curves.values()), shown))
        for index, (name, curve) in enumerate(curves.items()):
            x, y = thinned(curve)
            line = {"color": SERIES[index], "linestyle": DASHES[index], "linewidth": 2.0, "label": name}
            axes.step(x, y * shown.factor, where="post", zorder=5 - index / 10, **line)
            axes.plot(x[-1:], y[-1:] * shown.factor, MARKERS[index], color=SERIES[index], markersize=5, zorder=6)
        axes.set_ylabel(f"best {shown.heading} so far")
        count_evaluations(axes)
        legend(axes, 2)
        words = ", ".join(f"{name} {shown.quantity(last(curve))}" for name, curve in curves.items())
        svg = inline(figure, "progress", f"Best {shown.label} so far: {words}")
    way = "higher" if story.objectives[0].goal == "max" else "lower"
    caption = f"Search evaluations, {way} is better. Grey dots: single evaluations of {text(searcher, 40)}"
    return Figure("Progress of the search", svg, caption + (", those far off are left out." if cut else "."))


def trade_offs(story: Story, baselines: Mapping[str, Story], rows: Sequence[Row]) -> list[Figure]:
    """The primary objective against each of the next three, else against what a candidate costs."""
    drawn = [_trade_off(story, baselines, rows, pair, place) for place, pair in enumerate(_pairs(story))]
    return [figure for figure in drawn if figure is not None]


def _trade_off(
    story: Story, baselines: Mapping[str, Story], rows: Sequence[Row], pair: tuple[str, str], place: int
) -> Figure | None:
    """Metrics `pair`, to the right and upwards, against each other. place: which of the run's pairs it is."""
    name = "trade-off" if place == 0 else f"trade-off-{place + 1}"
    goals = {objective.name: objective.goal for objective in (*story.target, *story.objectives)}
    ways = [goals.get(pair[0], "min"), goals.get(pair[1], "max")]
    points, front = _clouds(story, pair, ways)
    if len(points) < 2:
        return None
    x_shown, y_shown = (column(name, points[:, axis]) for axis, name in enumerate(pair))
    scale = np.array([x_shown.factor, y_shown.factor])
    with canvas(name) as (figure, axes):
        axes.plot(*(_even(points, _DOTS) * scale).T, "o", color=MUTED, alpha=0.35, markersize=3.2, markeredgewidth=0)
        fronts = {"not dominated": front}
        fronts |= {f"{named(rival, 20)}'s": _clouds(part, pair, ways)[1] for rival, part in list(baselines.items())[:3]}
        for index, (label, line) in enumerate((label, line) for label, line in fronts.items() if len(line)):
            look = {"color": SERIES[index], "linestyle": DASHES[index], "marker": MARKERS[index], "markersize": 4}
            look["drawstyle"] = "steps-post" if ways[0] == "min" else "steps-pre"
            axes.plot(*(_even(line, _FRONT) * scale).T, linewidth=1.4, label=label, **look)
        names, places, marked = _mark_rows(axes, rows, pair, scale)
        axes.set_xlabel(x_shown.heading)
        axes.set_ylabel(y_shown.heading)
        legend(axes, 3)
        spread_out(axes, np.concatenate([points * scale, places])[:, 0])
        annotate(axes, names, places)
        words = f"{y_shown.label} against {x_shown.label}, {count(len(points), 'evaluation')}"
        svg = inline(figure, name, words)
    up = {"max": "up", "min": "down"}
    caption = f"{count(len(points), 'search evaluation')}; better is {y_shown.label} {up[ways[1]]}"
    caption += f" and {x_shown.label} {up[ways[0]]}. {count(len(front), 'evaluation')} not dominated by any other"
    caption += " in these two." if len(story.traded) > 2 else "."
    if marked:
        caption += f" Star and triangles: the best candidate and references, with the values of {marked}."
    return Figure("Trade-off" if place == 0 else f"Trade-off with {x_shown.label}", svg, caption)


def decisions(found: Importance) -> Figure | None:
    """How much worse a forest predicts the objective when one decision is shuffled."""
    if not found.slots or found.r2 is None:
        return None
    rows = found.slots[:_BARS][::-1]
    with canvas("decisions", height=max(1.6, 0.75 + 0.24 * len(rows))) as (figure, axes):
        widths = [max(mean, 0.0) for _, mean, _ in rows]
        spreads = [spread for _, _, spread in rows]
        axes.barh(range(len(rows)), widths, color=SERIES[0], height=0.62)
        axes.errorbar(widths, range(len(rows)), xerr=spreads, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        axes.set_yticks(range(len(rows)), [named(path) for path, _, _ in rows])
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("drop of R² when shuffled")
        words = ", ".join(f"{path} {mean:.2f}" for path, mean, _ in rows[::-1])
        svg = inline(figure, "decisions", f"Importance of decisions: {words}")
    more = len(found.slots) - len(rows)
    caption = (
        "Permutation importance of a random forest that predicts the objective's rank from the decisions: "
        f"R² {found.r2:.2f} on held-out candidates (5 folds, {count(found.candidates, 'candidate')}). "
        "Whiskers: deviation over folds."
    )
    return Figure(
        "Which decisions matter", svg, caption + (f" {more} less important ones are left out." if more else "")
    )


def finalists(rows: Sequence[Row], metric: str | None) -> Figure | None:
    """Every repeat of every row as a dot, the mean as a line; the run's best on top."""
    shown_rows = [row for row in rows if metric and row.values.get(metric)][:_NAMES][::-1]
    if len(shown_rows) < 2 or metric is None or shown_rows[0].stage == "search":
        return None
    shown = column(metric, [value for row in shown_rows for value in row.values[metric]])
    looks = {"searched": (SERIES[0], "o"), "baseline": (SERIES[1], "s")}
    with canvas("finalists", height=max(1.6, 0.75 + 0.26 * len(shown_rows))) as (figure, axes):
        for place, row in enumerate(shown_rows):
            colour, marker = looks.get(row.role, (INK, "^"))
            values = np.array(row.values[metric][:200]) * shown.factor
            level = np.full(len(values), place)
            axes.plot(values, level, marker, color=colour, alpha=0.55, markersize=5, markeredgewidth=0)
            axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2.4)
        axes.set_yticks(range(len(shown_rows)), [named(title(row.role, row.name)) for row in shown_rows])
        axes.set_ylim(-0.6, len(shown_rows) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(shown.heading)
        words = ", ".join(f"{title(row.role, row.name)} {shown.quantity(row.mean(metric))}" for row in shown_rows[::-1])
        svg = inline(figure, "finalists", f"{shown.label}: {words}")
    repeats = sorted({row.repeats for row in shown_rows})
    each = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    caption = f"Each finalist's {shown.label}: one dot a repeat ({each}), the bar is the mean."
    return Figure("Finalists beside baselines and references", svg, caption)


def _span(story: Story, curves: Sequence[Numbers], shown: Column) -> tuple[float, float]:
    """The values worth showing: those of the curves, and the best quarter of the search's evaluations."""
    goal, values = story.objectives[0].goal, story.column(shown.name)
    low, high = view(curves, goal, share=shown.unit == "%")
    values = values[~np.isnan(values)]
    if not len(values):
        return low, high
    quarter = float(np.quantile(values, 0.75 if goal == "max" else 0.25))
    return (min(low, quarter), high) if goal == "max" else (low, max(high, quarter))


def _dots(axes: Axes, story: Story, shown: Column, span: tuple[float, float]) -> bool:
    """Single evaluations as faint dots inside the view, which becomes the axis. Whether some fell outside."""
    values = story.column(shown.name)
    x = np.arange(1, len(values) + 1)
    inside = (values >= span[0]) & (values <= span[1])
    points = _even(np.column_stack([x, values])[inside], _DOTS)
    axes.plot(points[:, 0], points[:, 1] * shown.factor, "o", color=MUTED, alpha=0.3, markersize=2.6, markeredgewidth=0)
    axes.set_ylim(span[0] * shown.factor, span[1] * shown.factor)
    return bool((~np.isnan(values) & ~inside).any())


def _pairs(story: Story) -> list[tuple[str, str]]:
    """Names of the metrics for x and y, at most three times; none where nothing beside the primary objective varies."""
    followed = story.traded if len(story.traded) > 1 else story.objectives
    names = [objective.name for objective in followed if objective.name in story.values]
    if len(names) > 1:
        return [(name, names[0]) for name in names[1:4]]
    if not names:
        return []
    costs: dict[int, str] = {}
    for name in story.values:
        rank = cost(name)
        if rank is not None and name != names[0] and _varies(story.column(name)):
            costs.setdefault(rank, name)
    return [(costs[rank], names[0]) for rank in sorted(costs)[:3]]


def _varies(values: Numbers) -> bool:
    known = values[~np.isnan(values)]
    return len(known) > 1 and float(np.ptp(known)) > 1e-3 * float(np.abs(known).max())


def _clouds(story: Story, pair: tuple[str, str], ways: Sequence[str]) -> tuple[Numbers, Numbers]:
    """(points, 2) all evaluations, and those that count and that no other dominates, by x."""
    from moocore import is_nondominated  # type: ignore[import-untyped]

    if any(name not in story.values for name in pair):
        return np.zeros((0, 2)), np.zeros((0, 2))
    points = np.column_stack([story.column(name) for name in pair])
    known = ~np.isnan(points).any(axis=1)
    whole = points[known & story.counts()]
    front = whole[is_nondominated(whole, maximise=[way == "max" for way in ways])] if len(whole) else whole
    return points[known], front[np.argsort(front[:, 0], kind="stable")]


def _mark_rows(
    axes: Axes, rows: Sequence[Row], pair: tuple[str, str], scale: Numbers
) -> tuple[list[str], Numbers, str]:
    """Mark the best candidate and references that have both metrics: names, (n, 2) places, the stage these come from.

    Of no mark the stage is "".
    """
    names: list[str] = []
    places, stage = np.zeros((0, 2)), ""
    for row in [row for row in rows if row.role == "reference" or row.chosen][:6]:
        x, y = row.mean(pair[0]), row.mean(pair[1])
        if x is None or y is None:
            continue
        names, stage = [*names, named(row.name, 18)], row.stage
        places = np.vstack([places, np.array([x, y]) * scale])
        colour, marker, size = (SERIES[0], "*", 12) if row.chosen else (INK, "^", 6)
        axes.plot(*places[-1:].T, marker, color=colour, markeredgecolor=INK, markersize=size, zorder=7)
    return names, places, stage


def _even(points: Numbers, most: int) -> Numbers:
    """At most `most` of the rows, evenly spaced."""
    if len(points) <= most:
        return points
    places = np.unique(np.linspace(0, len(points) - 1, most).astype(int))
    return np.asarray(points[places])
