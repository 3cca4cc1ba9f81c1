"""Graphs as pictures: nodes in layers from left to right, arrows that go around what lies between.

K. Sugiyama, S. Tagawa, M. Toda, "Methods for Visual Understanding of Hierarchical System Structures", 1981: a node lies
one layer behind its last input; an arrow over several layers gets a place in each; nodes of a layer are ordered by the
mean place of their neighbours, forth and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

__all__ = ["Graph", "draw_graphs"]

COLOURS = {
    "state": "#e8ecf1", "join": "#ffffff", "conv": "#9cc4ea", "sep": "#7fd1b9", "pool": "#f3cf8b",
    "identity": "#d5d8dd", "linear": "#d9b8ea", "other": "#f0f0f0",
}  # fmt: skip
"""By what a node does."""
GAP, HEIGHT = 1.5, 0.62
"""Inches between layers, and between nodes of a layer."""


@dataclass
class Graph:
    """title: above the picture. labels, kinds: of the nodes. edges: from node to node, as indices; no cycles."""

    title: str
    labels: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, label: str, kind: str, sources: Sequence[int] = ()) -> int:
        """A node behind `sources`; its index."""
        self.labels.append(label)
        self.kinds.append(kind)
        node = len(self.labels) - 1
        self.edges += [(source, node) for source in sources]
        return node


@dataclass(frozen=True)
class Layout:
    """Where nodes and arrows lie: (x, y) of each node, the points of each edge."""

    places: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    size: tuple[float, float]


def draw_graphs(graphs: Sequence[Graph], file: Path) -> None:
    """Write the graphs below each other as SVG, no outside assets."""
    layouts = [layout(graph) for graph in graphs]
    width = max(each.size[0] for each in layouts)
    heights = [each.size[1] + 0.5 for each in layouts]
    figure = Figure(figsize=(width, sum(heights)))
    FigureCanvasSVG(figure)
    top = sum(heights)
    for graph, each, height in zip(graphs, layouts, heights, strict=True):
        top -= height
        axes = figure.add_axes((0.0, top / sum(heights), 1.0, height / sum(heights)))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
        axes.text(0.15, height - 0.12, graph.title, ha="left", va="top", fontsize=10, weight="bold", color="#333")
        _paint(axes, graph, each)
    with rc_context({"svg.hashsalt": "architecture"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def layout(graph: Graph) -> Layout:
    """Places in inches."""
    depth = _depths(graph)
    chains: list[list[int]] = []
    depths = list(depth)
    for source, target in graph.edges:
        bends = list(range(len(depths), len(depths) + depth[target] - depth[source] - 1))
        depths += range(depth[source] + 1, depth[target])
        chains.append([source, *bends, target])
    layers = _ordered(depths, [pair for chain in chains for pair in pairwise(chain)])
    tallest = max(len(layer) for layer in layers)
    place: dict[int, tuple[float, float]] = {}
    for number, layer in enumerate(layers):
        lift = (tallest - len(layer)) / 2
        for index, node in enumerate(layer):
            place[node] = (0.75 + GAP * number, HEIGHT * (tallest - 0.5 - index - lift) + 0.1)
    size = (1.5 + GAP * (len(layers) - 1), HEIGHT * tallest + 0.2)
    return Layout([place[node] for node in range(len(depth))], [[place[n] for n in chain] for chain in chains], size)


def _depths(graph: Graph) -> list[int]:
    """The layer of each node: behind the last of its inputs, and inputs that are late used move up to their use."""
    depth = [0] * len(graph.labels)
    for _ in graph.labels:
        for source, target in graph.edges:
            depth[target] = max(depth[target], depth[source] + 1)
    fed = {target for _, target in graph.edges}
    first = [node for node in range(len(depth)) if node not in fed]
    for node in first:
        later = [depth[target] for source, target in graph.edges if source == node]
        if len(first) > 2 and later:
            depth[node] = min(later) - 1
    return depth


def _ordered(depths: Sequence[int], links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Nodes by layer, each layer in an order with few crossings: of several sweeps the best."""
    layers: list[list[int]] = [[] for _ in range(max(depths) + 1)]
    for node, depth in enumerate(depths):
        layers[depth].append(node)
    before: dict[int, list[int]] = {node: [] for node in range(len(depths))}
    behind: dict[int, list[int]] = {node: [] for node in range(len(depths))}
    for source, target in links:
        behind[source].append(target)
        before[target].append(source)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, links)
    for sweep in range(12):
        forth = sweep % 2 == 0
        near = before if forth else behind
        for layer in layers if forth else reversed(layers):
            where = {node: index / max(1, len(row)) for row in layers for index, node in enumerate(row)}
            layer.sort(key=lambda node: np.mean([where[other] for other in near[node]]) if near[node] else where[node])
        crossings = _crossings(layers, links)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _crossings(layers: Sequence[Sequence[int]], links: Sequence[tuple[int, int]]) -> int:
    where = {node: (number, index) for number, layer in enumerate(layers) for index, node in enumerate(layer)}
    total = 0
    for index, (a, b) in enumerate(links):
        for c, d in links[:index]:
            same = where[a][0] == where[c][0]
            total += same and (where[a][1] - where[c][1]) * (where[b][1] - where[d][1]) < 0
    return total


def _paint(axes: Axes, graph: Graph, where: Layout) -> None:
    for route in where.routes:
        points, codes = [route[0]], [Curve.MOVETO]
        for (x0, y0), (x1, y1) in pairwise(route):
            middle = (x0 + x1) / 2
            points += [(middle, y0), (middle, y1), (x1, y1)]
            codes += [Curve.CURVE4] * 3
        axes.add_patch(PathPatch(Curve(points, codes), fill=False, ec="#8a929c", lw=1.1, zorder=1))
    for label, kind, (x, y) in zip(graph.labels, graph.kinds, where.places, strict=True):
        shape = "circle,pad=0.25" if kind == "join" else "round,pad=0.35"
        box = {"boxstyle": shape, "fc": COLOURS.get(kind, COLOURS["other"]), "ec": "#4a525c", "lw": 0.8}
        axes.text(x, y, label, ha="center", va="center", fontsize=8, color="#111", bbox=box, zorder=2)
