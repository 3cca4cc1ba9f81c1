"""What a rule looks like: its formula, its training curves beside references, and the size and sign of its steps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.optimizer.children import Child
from automl_ext.tasks.optimizer.formula import LEGEND, lines
from automl_ext.tasks.optimizer.graph import Graph, Program, graph
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.population import Plan, trained
from automl_ext.tasks.optimizer.reference import REFERENCES
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

__all__ = ["draw"]

WIDTH, SIZE, LETTERS = 5.1, 8, 88
OWN, GREYS = "#0072b2", ("#d55e00", "#009e73", "#aa4499", "#b38600", "#6b6b6b")
BESIDE = ("momentum", "adamw", "lion", "powersign")
_STYLE: Any = {"svg.hashsalt": "optimizer", "svg.fonttype": "none", "font.size": SIZE}


def draw(
    program: Program, children: Sequence[Child], plan: Plan, held_out: Sequence[Child], longer: Plan, folder: Path
) -> None:
    """`formula.svg`, `curves.svg`, `held-out.svg`, `update.svg` into `folder`. longer: the plan on held-out tasks."""
    rules = {"this rule": graph(program), **{name: graph(REFERENCES[name]) for name in BESIDE}}
    with rc_context(_STYLE):
        _save(_formula(program), folder / "formula.svg")
        _save(_curves(rules, children, plan), folder / "curves.svg")
        _save(_curves(rules, held_out, longer), folder / "held-out.svg")
        _save(_update(rules), folder / "update.svg")


def _save(figure: Figure, file: Path) -> None:
    FigureCanvasSVG(figure)
    figure.savefig(file, format="svg", metadata={"Date": None})


def _formula(program: Program) -> Figure:
    rows = [part for line in lines(program, "text") for part in textwrap.wrap(line, LETTERS, subsequent_indent="    ")]
    figure = Figure(figsize=(WIDTH, 0.35 + 0.18 * (len(rows) + 1)))
    figure.text(0.02, 0.95, "\n".join(rows), va="top", family="monospace", fontsize=SIZE - 1, linespacing=1.5)
    figure.text(0.02, 0.03, LEGEND, va="bottom", fontsize=SIZE - 1, color="#5b6472")
    return figure


def _curves(rules: dict[str, Graph], children: Sequence[Child], plan: Plan) -> Figure:
    """The training loss on every child, each rule at its own learning rate; beside the names, the loss that is told."""
    rows = -(-len(children) // 2)
    figure = Figure(figsize=(WIDTH, 2.6 * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).flatten()
    for axes, child in zip(panels, children, strict=False):
        for place, (name, outcome) in enumerate(zip(rules, trained(list(rules.values()), child, plan, 0), strict=True)):
            if outcome is not None:
                steps, losses = zip(*outcome.curve, strict=True)
                label = f"{name}: {outcome.loss:.3g} at rate {outcome.rate:g}"
                axes.plot(steps, losses, label=label, **_look(place))
        axes.set(xlabel="step", ylabel="training loss")
        if axes.get_ylim()[1] > 5 * min(line.get_ydata().min() for line in axes.lines):
            axes.set_yscale("log")
        _finish(axes, f"{child.name}, and {'validation' if child.test is None else 'test'} loss")
    for axes in panels[len(children) :]:
        axes.set_visible(False)
    return figure


def _finish(axes: Axes, title: str) -> None:
    """Plain numbers along the axes, and the legend above, where it covers nothing."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2, "alignment": "left"}
    axes.legend(frameon=False, fontsize=SIZE - 1, title=title, title_fontsize=SIZE, **place)


def _look(place: int) -> dict[str, Any]:
    return {"color": OWN, "linewidth": 2.0, "zorder": 3} if not place else {"color": GREYS[place - 1], "linewidth": 1.0}


def _update(rules: dict[str, Graph]) -> Figure:
    """One parameter's update over its last gradient, after twenty steps on gradients that agree with a mean or do not.

    Left: its size over the size of the gradient. Right: how often both have one sign.
    """
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, (name, rule) in enumerate(rules.items()):
        gradients, updates = _probe(rule)
        size = np.abs(updates).mean(1) / np.abs(gradients).mean(1)
        middle = size[len(size) // 2]
        shown = size / middle if np.isfinite(middle) and middle else size
        left.plot(np.abs(gradients).mean(1), shown, label=name, **_look(place))
        right.plot(
            np.abs(gradients).mean(1), (np.sign(updates) == np.sign(gradients)).mean(1), label=name, **_look(place)
        )
    left.set(xscale="log", yscale="log", xlabel="size of the gradient", ylabel="1 in the middle")
    right.set(xscale="log", xlabel="size of the gradient", ylim=(-0.02, 1.02))
    _finish(left, "size of the update over the gradient's")
    _finish(right, "how often both have one sign")
    return figure


def _probe(
    rule: Graph, sizes: int = 25, many: int = 256, steps: int = 20
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(sizes, many) last gradients and updates: normal numbers around a mean, from 1e-4 to 1 in size."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-4, 0, sizes)[:, None]
    mean = torch.randn(sizes, many, generator=generator)
    made = Interpreter([rule], 1, sizes * many)
    made.weights[..., : made.count] = torch.randn(sizes * many, generator=generator)
    made.rates.fill_(0.01)
    for step in range(1, steps + 1):
        gradient = scale * (0.5 * mean + torch.randn(sizes, many, generator=generator))
        made.gradient[0, 0, : made.count] = gradient.flatten()
        draws = [
            {
                "uniform": torch.rand(made.size, generator=generator),
                "normal": torch.randn(made.size, generator=generator),
            }
            for _ in range(made.streams)
        ]
        update = made.updates(step, steps, draws)[0, 0, : made.count]
    return gradient.numpy(), update.view(sizes, many).numpy()
