"""Motifs assembled from motifs.

Liu, Simonyan, Vinyals, Fernando, Kavukcuoglu: "Hierarchical Representations for Efficient Architecture Search", ICLR
2018, arXiv 1711.00436. Three levels: primitive operations; motifs, small graphs whose edges are primitives; and the
cell, a graph whose edges are motifs. Wherever a motif stands it has weights of its own.

Differs from the paper:

1. A node with several inputs concatenates them and brings them back to the cell's channels by a 1x1 convolution; a node
   with one input is that input. So a chain of identities is the identity.
2. What lies on no way from the first to the last node is not built; where there is no way at all a graph is the
   identity.
3. Fewer and smaller motifs by default: three of three nodes, a cell of four, instead of six of four and a cell of five.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.hierarchical_form import Graph, Motifs, canonical, edge_name, motifs_of
from automl_ext.tasks.architecture.hierarchical_network import PRIMITIVES, HierarchicalNetwork
from automl_ext.tasks.architecture.hierarchical_variation import EdgeVariation
from pydantic import Field
from torch import nn

from automl_ext.decisions import Choice
from automl_ext.space import Candidate, Space

__all__ = ["family"]

NONE = "none"
Nodes = Annotated[int, Field(ge=2, le=12)]


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    motifs: Annotated[int, Field(ge=1, le=32)] = 3,
    nodes: Nodes = 3,
    cell_nodes: Nodes = 4,
    width: Annotated[int, Field(ge=1, le=4096)] = 8,
) -> Family:
    """Cells for images of `shape`. motifs: how many. nodes, cell_nodes: of a motif, and of the cell, ends included.

    width: channels in front of the first halving.
    """
    names = [f"motif_{index + 1}" for index in range(motifs)]
    decisions = [
        Choice(edge_name(name, edge), (NONE, *PRIMITIVES), kind="primitive") for name in names for edge in _edges(nodes)
    ]
    decisions += [Choice(edge_name("cell", edge), (NONE, *names), kind="motif") for edge in _edges(cell_nodes)]
    space = Space(*decisions, canonical=canonical)

    def build(candidate: Candidate) -> nn.Module:
        return HierarchicalNetwork(motifs_of(candidate), shape, classes, width)

    return Family(space, _handmade(names, nodes, cell_nodes), build, _draw, EdgeVariation(space))


def _edges(nodes: int) -> list[tuple[int, int]]:
    """By the node that they lead to."""
    return [(source, target) for target in range(1, nodes) for source in range(target)]


def _handmade(names: Sequence[str], nodes: int, cell_nodes: int) -> dict[str, Candidate]:
    """Chains of one motif: separable convolutions beside an identity; and all identities, the paper's start."""
    made: dict[str, Candidate] = {}
    for kind, primitive in (("separable", "sep_conv_3x3"), ("identity", "identity")):
        candidate: Candidate = {}
        for name in names:
            for source, target in _edges(nodes):
                direct = kind == "separable" and nodes > 2 and (source, target) == (0, nodes - 1)
                value = "identity" if direct else primitive if target == source + 1 else NONE
                candidate[edge_name(name, (source, target))] = value
        for source, target in _edges(cell_nodes):
            candidate[edge_name("cell", (source, target))] = names[0] if target == source + 1 else NONE
        made[kind] = candidate
    return made


def _draw(candidate: Candidate, file: Path) -> None:
    from automl_ext.tasks.architecture.cell_drawing import kind_of, label_of
    from automl_ext.tasks.architecture.picture import Graph as Picture
    from automl_ext.tasks.architecture.picture import draw_graphs

    found: Motifs = motifs_of(candidate)

    def picture(title: str, graph: Graph) -> Picture:
        drawn = Picture(title)
        places: dict[int, list[int]] = {0: [drawn.add("in", "state")]}
        for node in graph.inner_and_last:
            ends = []
            for source, label in graph.into(node):
                kind = "linear" if label.startswith("motif") else kind_of(label)
                ends.append(drawn.add(label_of(label), kind, places[source]))
            places[node] = ends if len(ends) == 1 else [drawn.add("‖", "join", ends)]
        drawn.add("out", "state", places.get(graph.nodes - 1, places[0]))
        return drawn

    pictures = [picture("cell", found.cell)]
    pictures += [picture(label_of(name), found.motifs[name]) for name in sorted(found.used)]
    draw_graphs(pictures, file)
