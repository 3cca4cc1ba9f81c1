"""How often an image gets each operation, and how strongly, as one SVG: bars, or maps over the parts of a training."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from automl_ext.tasks.augmentation.encoding import usage
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RangeSet
from automl_ext.tasks.augmentation.policy import Policy
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["draw"]

WIDTH, SIZE, LETTERS = 5.1, 8, 84
OFTEN, STRONG = "#2f6f9f", "#d98e04"
TITLES = ("times per 100 images", "strength, % of the range")


def draw(
    schedule: Sequence[Policy],
    operations: Sequence[str],
    ranges: RangeSet,
    file: Path,
    left_out: Mapping[str, str] | None = None,
) -> None:
    """Those of `operations` and what the policies use, in the order of the table, into `file` (SVG, no outside assets).

    ranges: what the strengths are shares of. left_out: operations that cannot be chosen, and why; said below.
    """
    used = {name for policy in schedule for name in policy.operations} | {*operations} - {IDENTITY}
    names = [name for name in OPERATIONS if name in used]
    found = 100 * np.stack([usage(policy, ranges) for policy in schedule], axis=-1)
    values = found[:, [list(OPERATIONS).index(name) for name in names]]
    notes = [f"{name} is left out: it {reason}." for name, reason in (left_out or {}).items()]
    lines = [line for note in notes for line in textwrap.wrap(note, LETTERS)]
    figure = Figure(figsize=(WIDTH, 0.75 + 0.2 * len(names) + 0.16 * len(lines)), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, part, colour in zip(panels, TITLES, values, (OFTEN, STRONG), strict=True):
        show = _bars if len(schedule) == 1 else _map
        show(axes, names, part, values[0] > 0, colour)
        axes.set_title(title, fontsize=SIZE)
        axes.tick_params(labelsize=SIZE, length=0)
        axes.spines[:].set_visible(False)
    below = [f"Parts of the training, {len(schedule)} alike, from left to right."] if len(schedule) > 1 else []
    if below or lines:
        figure.supxlabel("\n".join([*below, *lines]), fontsize=SIZE, x=0.01, ha="left")
    with rc_context({"svg.hashsalt": "operations"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def _bars(
    axes: Axes, names: Sequence[str], values: NDArray[np.float64], used: NDArray[np.bool_], colour: str
) -> None:  # fmt: skip
    """values, used: (operations, 1)."""
    axes.barh(names, values[:, 0], color=colour, height=0.7)
    for place, (value, there) in enumerate(zip(values[:, 0], used[:, 0], strict=True)):
        axes.text(value, place, f" {value:.3g}" if there else " -", va="center", fontsize=SIZE)
    axes.set_xlim(0, max(1.0, float(values.max(initial=0))) * 1.2)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xticks([])


def _map(
    axes: Axes, names: Sequence[str], values: NDArray[np.float64], used: NDArray[np.bool_], colour: str
) -> None:  # fmt: skip
    """values, used: (operations, parts); darker is more, white is none."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("shades", ["#ffffff", colour])
    shown = np.where(used, values, 0)
    top = max(1.0, float(shown.max(initial=0)))
    axes.pcolormesh(shown, cmap=shades, vmin=0, vmax=top, edgecolors="#eef2f6", linewidth=0.5)
    parts = values.shape[1]
    if parts <= 10:
        for row, column in zip(*np.nonzero(used), strict=True):
            value = shown[row, column]
            ink = "white" if value > 0.7 * top else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set_ylim(len(names), 0)
    every = -(-parts // 10)
    axes.set_xticks(np.arange(0, parts, every) + 0.5, [str(part + 1) for part in range(0, parts, every)])
