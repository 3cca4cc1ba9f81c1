"""Curves of several groups of runs in one figure: the median over seeds, the range shaded; their fronts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from automl_ext.objective import Objective
from automl_ext.report.attainment import Clouds, draw_attainment
from automl_ext.report.display import column, count
from automl_ext.report.drawing import DASHES, SERIES, canvas, count_evaluations, legend, named, standalone, view
from automl_ext.report.reading import Numbers


def comparison_figure(
    groups: Mapping[str, Sequence[Numbers]],
    metric: str,
    goal: str,
    clouds: Clouds | None = None,
    objectives: Sequence[Objective] = (),
) -> str:
    """An SVG file of (label -> best-so-far curves, one a run); a curve counts as far as it goes.

    clouds: costs of the two `objectives` for the same labels, drawn as fronts beside the curves. Raises ValueError
    where no curve has a value.
    """
    known = {label: [c for c in curves if not np.isnan(c).all()] for label, curves in groups.items()}
    known = {label: curves for label, curves in known.items() if curves}
    shown = column(metric, [float(c[~np.isnan(c)][-1]) for curves in known.values() for c in curves])
    if not known:
        raise ValueError("no run has a trial with metrics to draw")
    with canvas("compare", 11.6 if clouds else 6.4, 4.2) as (figure, axes):
        if clouds:
            grid = figure.add_gridspec(1, 2)
            axes.set_subplotspec(grid[0])
            draw_attainment(figure.add_subplot(grid[1]), {label: clouds[label] for label in known}, objectives)
        for index, (label, curves) in enumerate(known.items()):
            x, low, middle, high = summary(curves)
            look = {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index % len(DASHES)]}
            name = named(f"{label}, {count(len(curves), 'run')}", 70)
            axes.step(x, middle * shown.factor, where="post", label=name, linewidth=2, **look)
            if len(curves) > 1:
                span = (low * shown.factor, high * shown.factor)
                axes.fill_between(x, *span, step="post", color=look["color"], alpha=0.15, linewidth=0)
        count_evaluations(axes)
        low_edge, high_edge = view([curve for curves in known.values() for curve in curves], goal, shown.unit == "%")
        axes.set_ylim(low_edge * shown.factor, high_edge * shown.factor)
        axes.set_ylabel("hypervolume so far" if metric == "hypervolume" else f"best {shown.heading} so far")
        legend(axes, 1, "median, range over runs shaded")
        return standalone(figure)


def summary(curves: Sequence[Numbers], most: int = 400) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """(x, lowest, median, highest) at up to `most` places, over the curves that reach that far and have a value."""
    length = max(map(len, curves))
    places = np.unique(np.linspace(0, length - 1, min(length, most)).astype(int))
    values = np.full((len(curves), len(places)), np.nan)
    for row, curve in enumerate(curves):
        reached = places < len(curve)
        values[row, reached] = curve[places[reached]]
    some = ~np.isnan(values).all(axis=0)
    values, places = values[:, some], places[some]
    x = places.astype(float) + 1
    return x, np.nanmin(values, axis=0), np.nanmedian(values, axis=0), np.nanmax(values, axis=0)
