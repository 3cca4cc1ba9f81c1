"""Which layers a network's groups couple, and what is left alone and why, as one SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.illustrate import WIDTH
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

__all__ = ["draw_couplings", "left_alone"]

LEFT, CUT, WHOLE = "#6f7884", "#2f6f9f", "#b9c1ca"
SIZE = 8


def draw_couplings(plan: Plan, whole: Collection[str], file: Path) -> None:
    """Layers as rows in forward order, groups as columns: who makes a group's channels, who reads them.

    whole: groups that the options keep whole. Layers that lose nothing are grey, their reasons stand below.
    """
    notes = left_alone(plan, whole)
    rows, columns = len(plan.layers), len(plan.groups)
    width = max(WIDTH, 1.6 + 0.13 * columns)
    lines = [line for note in notes for line in textwrap.wrap(note, int(width * 14.5), subsequent_indent="   ")]
    heights = [rows + 3, len(lines) + 0.5]
    figure = Figure(figsize=(width, 0.4 + 0.19 * sum(heights)), layout="constrained")
    FigureCanvasSVG(figure)
    axes, below = figure.subplots(2, 1, gridspec_kw={"height_ratios": heights})
    _matrix(axes, plan, whole)
    below.axis("off")
    across = blended_transform_factory(figure.transFigure, below.transAxes)
    words = below.text(0.01, 1, "\n".join(lines), va="top", fontsize=SIZE, linespacing=1.45, transform=across)
    words.set_in_layout(False)
    shape: dict[str, Any] = {"color": CUT, "marker": "o", "linestyle": "", "markersize": 5}
    handles = [
        Line2D([], [], label="makes the channels", **shape),
        Line2D([], [], label="reads the channels", markerfacecolor="white", **shape),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=SIZE, frameon=False)
    with rc_context({"svg.hashsalt": "couplings"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def left_alone(plan: Plan, whole: Collection[str]) -> list[str]:
    """A sentence for each reason to leave layers alone. whole: groups that the options keep whole."""
    found: dict[str, list[str]] = {}
    for name, reason in plan.skipped.items():
        # Members of a group say "coupled with <root>: <reason>"; they stand with their root.
        root, _, rest = reason.removeprefix("coupled with ").partition(": ")
        found.setdefault(rest if rest and root in plan.skipped else reason, []).append(name)
    notes = [f"Left alone ({reason}): {', '.join(names)}." for reason, names in found.items()]
    kept = [group.name for group in plan.groups if group.name in whole]
    return [*notes, f"Kept whole (by protect, round_to, low or high): {', '.join(kept)}."] if kept else notes


def _matrix(axes: Axes, plan: Plan, whole: Collection[str]) -> None:
    places = {layer.name: row for row, layer in enumerate(plan.layers)}
    for row in range(0, len(places), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f6f8", linewidth=0, zorder=0)
    for column, group in enumerate(plan.groups):
        look = WHOLE if group.name in whole else CUT
        made, read = ([places[name] for name in names] for names in (group.writers, group.readers))
        span = [*made, *read]
        axes.plot([column, column], [min(span), max(span)], color=look, linewidth=1.2, zorder=1)
        readers = [place for place in read if place not in made]
        axes.plot([column] * len(readers), readers, "o", color=look, markerfacecolor="white", markersize=5, zorder=2)
        axes.plot([column] * len(made), made, "o", color=look, markersize=5, zorder=3)
    axes.set_yticks(range(len(places)), list(places), fontsize=SIZE)
    for label, name in zip(axes.get_yticklabels(), places, strict=True):
        label.set_color(LEFT if name in plan.skipped else "black")
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_xlim(-0.6, len(plan.groups) - 0.4)
    turned = 90 if len(plan.groups) > 12 else 0
    channels = [str(group.channels) for group in plan.groups]
    axes.set_xticks(range(len(channels)), channels, fontsize=SIZE, rotation=turned)
    axes.xaxis.tick_top()
    axes.set_xlabel("groups of coupled channels, and how many they have", fontsize=SIZE)
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
