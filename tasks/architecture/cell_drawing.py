"""Cells of pairs as pictures: inputs, an operation a box, a sum or concat a circle, the output."""

from __future__ import annotations

from pathlib import Path

from automl_ext.tasks.architecture.cell_form import BEFORE, LAST, CellPlan, Cells
from automl_ext.tasks.architecture.picture import Graph, draw_graphs

__all__ = ["draw_cells", "kind_of", "label_of"]


def draw_cells(cells: Cells, file: Path) -> None:
    """Write the normal cell above the reduction cell as SVG."""
    title = "normal cell" if cells.reduction else "cell, with stride 2 where the size is halved"
    graphs = [_graph(title, cells.normal)]
    if cells.reduction is not None:
        graphs.append(_graph("reduction cell: operations on its inputs have stride 2", cells.reduction))
    draw_graphs(graphs, file)


def label_of(operation: str) -> str:
    """`sep conv 3x3`."""
    return operation.replace("_", " ")


def kind_of(operation: str) -> str:
    """Which colour an operation has."""
    kinds = (("pool", "pool"), ("sep", "sep"), ("dw", "sep"), ("conv", "conv"), ("identity", "identity"))
    return next((kind for part, kind in kinds if part in operation), "other")


def _graph(title: str, plan: CellPlan) -> Graph:
    graph = Graph(title)
    nodes: dict[int, int] = {}
    for state, label in ((LAST, "last cell"), (BEFORE, "cell before")):
        if state in plan.used:
            nodes[state] = graph.add(label, "state")
    for index, block in enumerate(plan.blocks):
        halves = [
            graph.add(label_of(operation), kind_of(operation), [nodes[state]])
            for state, operation in ((block.left, block.left_op), (block.right, block.right_op))
        ]
        nodes[index] = graph.add("+" if block.join == "add" else "‖", "join", halves)
    outputs = [nodes[index] for index in plan.outputs]
    graph.add("output" if len(outputs) == 1 else "concat", "state", outputs)
    return graph
