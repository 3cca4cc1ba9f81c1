"""How many channels of each group a policy keeps, and where its MACs go, as one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.macs import layer_macs
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["WIDTH", "bars", "draw"]

WIDTH = 5.1
"""Inches, as wide as a report shows it: letters keep their size."""


def draw(plan: Plan, counts: Mapping[str, int], file: Path) -> None:
    """Kept beside all channels a group, and MACs a layer before and after, into `file` (SVG, no outside assets)."""
    figure = Figure(figsize=(WIDTH, 0.6 + 0.21 * (len(plan.groups) + len(plan.layers) + 6)), layout="constrained")
    FigureCanvasSVG(figure)
    heights = [len(plan.groups) + 2, len(plan.layers) + 2]
    upper, lower = figure.subplots(2, 1, gridspec_kw={"height_ratios": heights})
    names = [group.name + (f" (+{len(group.writers) - 1})" if len(group.writers) > 1 else "") for group in plan.groups]
    dense = [group.channels for group in plan.groups]
    kept = [counts[group.name] for group in plan.groups]
    coupled = (
        " (+n: with n more layers that are coupled)" if any(len(group.writers) > 1 for group in plan.groups) else ""
    )
    bars(upper, names, dense, kept, f"channels a group{coupled}")
    for place, (all_, left) in enumerate(zip(dense, kept, strict=True)):
        upper.text(all_, place, f" {left} of {all_}", va="center", fontsize=8)
    before = [layer_macs(layer, {}) / 1e6 for layer in plan.layers]
    after = [layer_macs(layer, counts) / 1e6 for layer in plan.layers]
    unit = f"million MACs a layer and image; in all {_short(sum(after))} of {_short(sum(before))}"
    bars(lower, [layer.name for layer in plan.layers], before, after, unit)
    for place, (whole, rest) in enumerate(zip(before, after, strict=True)):
        lower.text(whole, place, f" {_short(rest)} of {_short(whole)}", va="center", fontsize=8)
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    with rc_context({"svg.hashsalt": "channels"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def _short(millions: float) -> str:
    """Three significant digits: 2.36, 0.00064, 313."""
    return f"{millions:.3g}"


def bars(axes: Axes, names: list[str], dense: Sequence[float], kept: Sequence[float], unit: str) -> None:
    """What is kept beside all, a bar a name."""
    axes.barh(names, dense, color="#d5dbe3", label="dense")
    axes.barh(names, kept, color="#2f6f9f", label="kept")
    axes.margins(x=0.3)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
