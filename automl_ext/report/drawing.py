"""Drawing with matplotlib's SVG backend: text stays text, the same input gives the same bytes, no script.

Figures are drawn in placeholder colours. `inline` turns them into CSS variables, so that a figure on the page follows
light, dark and print; `standalone` turns them into colours on white, for a file.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from automl_ext.report.display import text
from automl_ext.report.reading import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
SERIES = ("#010210", "#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
"""Okabe and Ito's colours, which differ for colour-blind readers too; the first belongs to the search."""
DASHES: Sequence[Any] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (8, 3)), (0, (3, 3)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_LIGHT = {
    INK: "#1d2430", MUTED: "#5b6472", GRID: "#e3e7ec", PAPER: "#ffffff",
    SERIES[0]: "#0072b2", SERIES[1]: "#d55e00", SERIES[2]: "#009e73", SERIES[3]: "#aa4499", SERIES[4]: "#b38600",
    SERIES[5]: "#3a93c9", SERIES[6]: "#6b6b6b",
}  # fmt: skip
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "card"} | {
    colour: f"series-{index}" for index, colour in enumerate(SERIES)
}


@contextmanager
def canvas(name: str, width: float = 4.6, height: float = 3.1) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes in the house style; sizes in inches. `name` makes its ids unique on a page."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False, "font.size": 9.5,
        "font.family": "sans-serif", "axes.edgecolor": MUTED, "axes.labelcolor": INK, "text.color": INK,
        "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
        "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.linewidth": 0.8, "axes.formatter.useoffset": False,
        "axes.labelsize": 9.5, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9,
        "legend.frameon": False, "legend.handlelength": 2.2, "figure.facecolor": "none", "axes.facecolor": "none",
        "axes.unicode_minus": True, "lines.solid_capstyle": "round",
    }  # fmt: skip
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that matplotlib's own font lacks: the reader's browser has others
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def inline(figure: Figure, name: str, description: str) -> str:
    """The figure as an <svg> element for the page, in CSS variables, its ids prefixed with `name`."""
    svg = _svg(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">[^<]*</style>", "", svg, count=1)
    svg = re.sub(r'(?<=[ \n]id=")', name + "-", svg)
    svg = re.sub(r'(?<=url\(#)|(?<=xlink:href="#)', name + "-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    label = _attribute(description)
    return re.sub(r"<svg [^>]*viewBox=\"([^\"]*)\"[^>]*>", _opening(label), svg, count=1)


def standalone(figure: Figure) -> str:
    """The figure as an SVG file on white."""
    figure.set_facecolor(PAPER)
    svg = _svg(figure)
    for colour, real in _LIGHT.items():
        svg = svg.replace(colour, real)
    return svg


def legend(axes: Axes, columns: int = 3, heading: str | None = None) -> None:
    """A legend above the axes, so that it never covers data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        place: Any = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2, "alignment": "left"}
        axes.legend(handles, labels, ncols=columns, title=heading, title_fontsize=9, **place)


def named(name: str, limit: int = 28) -> str:
    """A label for a legend or an axis: short, on one line, and never taken for a private one."""
    shown = text(name, limit).replace("\n", " ")
    return " " + shown if shown.startswith("_") else shown


def thinned(values: Numbers, most: int = 600) -> tuple[Numbers, Numbers]:
    """(x, y) of a step curve with at most about `most` points: x counts from 1; every kept step is a real point."""
    x = np.arange(1, len(values) + 1, dtype=float)
    known = ~np.isnan(values)
    x, y = x[known], values[known]
    if len(y) < 2:
        return x, y
    changes = np.flatnonzero(np.diff(y) != 0) + 1
    keep = np.concatenate([[0], changes, [len(y) - 1]])
    if len(keep) > most:
        keep = keep[np.unique(np.linspace(0, len(keep) - 1, most).astype(int))]
    keep = np.unique(keep)
    return x[keep], y[keep]


def count_evaluations(axes: Axes) -> None:
    """Name and tick an x axis of evaluations: whole numbers, thousands apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel("evaluations (failed ones included)")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.0f}"))


def view(curves: Sequence[Numbers], goal: str, share: bool = False) -> tuple[float, float]:
    """The span of values worth showing: all curves behind their first steps, and room on the worse side for dots.

    `share`: the values are shares, which lie in [0, 1].
    """
    behind = [curve[min(len(curve) - 1, max(3, len(curve) // 20)) :] for curve in curves]
    values = np.concatenate([part[~np.isnan(part)] for part in behind] + [[last(curve)] for curve in curves])
    low, high = float(values.min()), float(values.max())
    far = 0.6
    if low == high:
        low, high, far = min(map(np.nanmin, curves)), max(map(np.nanmax, curves)), 0.08
    room = (high - low) or abs(high) * 0.05 or 1.0
    below, above = (far, 0.08) if goal == "max" else (0.08, far)
    span = (low - below * room, high + above * room)
    return (max(span[0], -0.02), min(span[1], 1.02)) if share else span


def last(curve: Numbers) -> float:
    """The last value that is there."""
    return float(curve[~np.isnan(curve)][-1])


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _opening(label: str) -> Any:
    return lambda found: (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{found.group(1)}" role="img" aria-label="{label}">'
    )


def _attribute(value: str) -> str:
    from markupsafe import escape

    return str(escape(value))
