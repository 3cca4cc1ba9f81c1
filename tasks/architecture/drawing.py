"""A cell as a picture: nodes from left to right, an arrow an edge, `none` left out."""

from __future__ import annotations

from pathlib import Path

from automl_ext.tasks.architecture.nasbench201 import EDGES, arch_string, name
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from automl_ext.space import Candidate

COLOURS = {
    "skip_connect": "#8a8f98",
    "nor_conv_1x1": "#4d9de0",
    "nor_conv_3x3": "#1f5f99",
    "avg_pool_3x3": "#d98e04",
}
LABELS = {"skip_connect": "skip", "nor_conv_1x1": "conv 1x1", "nor_conv_3x3": "conv 3x3", "avg_pool_3x3": "pool 3x3"}
LIFT = {1: 0.0, 2: 0.55, 3: -0.8}
"""How far an arrow bends up, by the number of nodes that it spans: short ones are straight, the longest goes below."""


def draw(candidate: Candidate, file: Path) -> None:
    """Write the cell as SVG, no outside assets."""
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for source, target in EDGES:
        operation = str(candidate[name((source, target))])
        if operation == "none":
            continue
        lift = LIFT[target - source] * (-1 if (source, target) == (1, 3) else 1)
        style = f"arc3,rad={-lift / (target - source):g}"
        arrow = {"arrowstyle": "-|>", "color": COLOURS[operation], "lw": 2, "shrinkA": 14, "shrinkB": 14}
        axes.annotate("", (target, 0), (source, 0), arrowprops={**arrow, "connectionstyle": style})
        middle, height = (source + target) / 2, lift / 2 + (0.09 if lift >= 0 else -0.2)
        axes.text(
            middle,
            height,
            LABELS[operation],
            color=COLOURS[operation],
            ha="center",
            va="bottom" if lift >= 0 else "top",
            fontsize=9,
        )
    for node, label in enumerate(("in", "1", "2", "out")):
        axes.text(node, 0, label, ha="center", va="center", bbox={"boxstyle": "circle", "fc": "#eef2f6", "ec": "#444"})
    axes.set(xlim=(-0.3, 3.3), ylim=(-0.75, 0.75))
    axes.set_title(arch_string(candidate), fontsize=7, color="#444")
    axes.axis("off")
    with rc_context({"svg.hashsalt": "cell"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
