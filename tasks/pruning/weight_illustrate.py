"""Which share of its weights each layer of a policy keeps, and how many those are, as one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from automl_ext.tasks.pruning.illustrate import bars
from automl_ext.tasks.pruning.weight_space import Part
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(parts: Sequence[Part], counts: Mapping[str, int], file: Path) -> None:
    """The share kept a layer, and its weights before and after, into `file` (SVG, no outside assets)."""
    figure = Figure(figsize=(8, 0.6 + 0.48 * (len(parts) + 3)), layout="constrained")
    FigureCanvasSVG(figure)
    upper, lower = figure.subplots(2, 1)
    names = [part.name for part in parts]
    kept = [counts[part.name] for part in parts]
    bars(upper, names, [100.0] * len(parts), [100 * counts[part.name] / part.weights for part in parts], "% of weights")
    for place, part in enumerate(parts):
        upper.text(100, place, f" {counts[part.name] / part.weights:.1%}", va="center", fontsize=8)
    bars(lower, names, [part.weights / 1e3 for part in parts], [count / 1e3 for count in kept], "thousand weights")
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    with rc_context({"svg.hashsalt": "weights"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
