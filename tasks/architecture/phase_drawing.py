"""Phases as a picture: below each other, nodes from left to right by how far they are from the phase's input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from automl_ext.tasks.architecture.phase_graph import INPUT, Phase
from automl_ext.tasks.architecture.picture import Graph, draw_graphs

__all__ = ["draw_phases"]


def draw_phases(phases: Sequence[Phase], widths: Sequence[int], file: Path) -> None:
    """Write the phases as SVG, no outside assets."""
    graphs = [
        _graph(f"phase {number}, {width} channels", phase)
        for number, (phase, width) in enumerate(zip(phases, widths, strict=True), 1)
    ]
    draw_graphs(graphs, file)


def _graph(title: str, phase: Phase) -> Graph:
    graph = Graph(title if phase.live else f"{title}: none")
    places = {INPUT: graph.add("input", "state")}
    for node, sources in phase.sources.items():
        places[node] = graph.add(f"{node}: conv 3x3", "conv", [places[source] for source in sources])
    graph.add("output", "state", [places[node] for node in phase.outputs or (INPUT,)])
    return graph
