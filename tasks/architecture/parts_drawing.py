"""A plan of layers as a picture: rows of layers, a residual as a way around."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from automl_ext.tasks.architecture.parts_space import Plan, Step
from automl_ext.tasks.architecture.picture import Graph, draw_graphs

from automl_ext.decisions import Value

__all__ = ["draw_plan"]

WIDE = 9
"""Layers in a row before the next row begins, at the next place outside all residuals."""
KINDS = {"affine": "linear", "conv": "conv", "separable_conv": "sep", "max_pool": "pool", "average_pool": "pool"}


def draw_plan(plan: Plan, training: Mapping[str, Value], file: Path) -> None:
    """Write the network as SVG, no outside assets."""
    facts = ", ".join(f"{name} {value}" for name, value in training.items())
    rows: list[list[Step]] = [[]]
    length = 0
    for step in plan.steps:
        if length >= WIDE:
            rows.append([])
            length = 0
        rows[-1].append(step)
        length += _length(step)
    graphs = []
    for number, row in enumerate(rows):
        graph = Graph("" if number else f"trained with {facts}" if facts else "network")
        last = _add(graph, row, graph.add("…" if number else "images", "state"))
        graph.add("classes" if number == len(rows) - 1 else "…", "state", [last])
        graphs.append(graph)
    draw_graphs(graphs, file)


def _length(step: Step) -> int:
    return 1 + sum(_length(inner) for inner in step.steps) if isinstance(step, Plan) else 1


def _add(graph: Graph, steps: list[Step] | tuple[Step, ...], last: int) -> int:
    """Append steps behind the node `last`; the final node."""
    for step in steps:
        if isinstance(step, Plan):
            inside = _add(graph, step.steps, last)
            last = graph.add("+", "join", [last, inside] if inside != last else [last])
        else:
            layer, values = step
            facts = "\n".join(f"{name} {value}" for name, value in values.items() if (name, value) != ("stride", 1))
            label = layer.name.replace("_", " ")
            last = graph.add(f"{label}\n{facts}" if facts else label, KINDS.get(layer.name, "other"), [last])
    return last
