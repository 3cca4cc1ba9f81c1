"""Best-so-far curves of several groups of runs in one figure: the median over seeds, the range shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from automl_ext.report.display import column
from automl_ext.report.drawing import DASHES, SERIES, canvas, legend, named, standalone
from automl_ext.report.reading import Numbers


def comparison_figure(groups: Mapping[str, Sequence[Numbers]], metric: str) -> str:
    """An SVG file of (label -> best-so-far curves, one a run); a curve counts as far as it goes."""
    known = {label: [c for c in curves if not np.isnan(c).all()] for label, curves in groups.items()}
    known = {label: curves for label, curves in known.items() if curves}
    shown = column(metric, [float(c[~np.isnan(c)][-1]) for curves in known.values() for c in curves])
    with canvas("compare", 6.4, 4.2) as (figure, axes):
        for index, (label, curves) in enumerate(known.items()):
            x, low, middle, high = summary(curves)
            look = {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index % len(DASHES)]}
            axes.step(
                x, middle * shown.factor, where="post", label=named(f"{label}, {len(curves)}", 60), linewidth=2, **look
            )
            if len(curves) > 1:
                span = (low * shown.factor, high * shown.factor)
                axes.fill_between(x, *span, step="post", color=look["color"], alpha=0.15, linewidth=0)
        axes.set_xlabel("evaluations (failed ones included)")
        axes.set_ylabel(f"best {shown.heading} so far: median, range over seeds")
        legend(axes, 1)
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
