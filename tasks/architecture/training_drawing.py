"""A training recipe as a picture: the learning rate over the training, the other numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from automl_ext.training import Recipe

__all__ = ["draw_rates"]


def draw_rates(recipe: Recipe, names: Sequence[str], file: Path) -> None:
    """Write it as SVG, no outside assets. names: the fields of the recipe that were decided."""
    figure = Figure(figsize=(5.6, 2.4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    progress = np.linspace(0, 1, 201)
    axes.plot(progress, [recipe.rate_at(float(share)) for share in progress], color="#1f5f99")
    axes.set(xlabel="share of the training", ylabel="learning rate", xlim=(0, 1))
    axes.set_ylim(0, 1.1 * recipe.rate)
    facts = [_fact(name, getattr(recipe, name)) for name in names]
    axes.set_title(" · ".join(facts), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.hashsalt": "rates"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def _fact(name: str, value: object) -> str:
    return f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
