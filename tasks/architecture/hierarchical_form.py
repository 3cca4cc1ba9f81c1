"""Graphs of motifs as values, read from a candidate, and the one form of all that are isomorphic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from automl_ext.tasks.architecture.isomorphism import Names, smallest

from automl_ext.space import Candidate, Value

__all__ = ["Graph", "Motifs", "canonical", "edge_name", "motifs_of"]

Edge = tuple[int, int]
Edges = dict[int, list[tuple[int, str]]]
"""Node -> (source, label) of what leads into it, in order."""
IDENTITY = "identity"
_EDGE = re.compile(r"(motif_\d+|cell)_from_(\d+)_to_(\d+)")


def edge_name(graph: str, edge: Edge) -> str:
    """`motif_1_from_1_to_2`; nodes count from 1 in names."""
    return f"{graph}_from_{edge[0] + 1}_to_{edge[1] + 1}"


@dataclass(frozen=True)
class Graph:
    """Nodes 0 (the input) to nodes - 1 (the output). labels: what is on an edge, where there is one."""

    nodes: int
    labels: Mapping[Edge, str]

    @cached_property
    def live(self) -> frozenset[Edge]:
        """Edges on a way from the first to the last node."""
        fed, wanted = {0}, {self.nodes - 1}
        for source, target in sorted(self.labels):
            if source in fed:
                fed.add(target)
        for source, target in sorted(self.labels, key=lambda edge: edge[1], reverse=True):
            if target in wanted:
                wanted.add(source)
        return frozenset((source, target) for source, target in self.labels if source in fed and target in wanted)

    @property
    def inner_and_last(self) -> list[int]:
        """Nodes that get something, in order."""
        return sorted({target for _, target in self.live})

    def into(self, node: int) -> list[tuple[int, str]]:
        """(source, label) of the live edges into `node`, by source."""
        return [(source, self.labels[source, target]) for source, target in sorted(self.live) if target == node]


@dataclass(frozen=True)
class Motifs:
    """The cell, and the motifs by name."""

    cell: Graph
    motifs: Mapping[str, Graph]

    @property
    def used(self) -> frozenset[str]:
        """Motifs that the cell is made of."""
        return frozenset(self.cell.labels[edge] for edge in self.cell.live)


def motifs_of(candidate: Mapping[str, Value]) -> Motifs:
    """What `candidate` says."""
    sizes: dict[str, int] = {}
    labels: dict[str, dict[Edge, str]] = {}
    for path, value in candidate.items():
        found = _EDGE.fullmatch(path)
        if found:
            edge = (int(found[2]) - 1, int(found[3]) - 1)
            sizes[found[1]] = max(sizes.get(found[1], 0), edge[1] + 1)
            edges = labels.setdefault(found[1], {})
            if value != "none":
                edges[edge] = str(value)
    graphs = {name: Graph(size, labels[name]) for name, size in sizes.items()}
    if "cell" not in graphs:
        raise ValueError("a candidate of the hierarchical space has a cell")
    return Motifs(graphs.pop("cell"), graphs)


def canonical(candidate: Candidate) -> Candidate:
    """The cell with its motifs written out: motifs have no names any more, and what is not live is gone.

    Identities are left out of motifs, not of the cell, whose edges may be dropped in training.
    """
    found = motifs_of(candidate)
    texts = {name: _listed(_shortened(graph), {}) for name, graph in found.motifs.items()}
    return {"cell": _listed(_edges(found.cell), texts)}


def _edges(graph: Graph) -> Edges:
    return {node: graph.into(node) for node in graph.inner_and_last}


def _shortened(graph: Graph) -> Edges:
    """The edges into each live node, without nodes that are another one behind a single identity."""
    made, same = Edges(), {0: 0}
    for node in graph.inner_and_last:
        into = [(same[source], label) for source, label in graph.into(node)]
        if [label for _, label in into] == [IDENTITY]:
            same[node] = into[0][0]
        else:
            same[node], made[node] = node, into
    return made


def _listed(edges: Edges, texts: Mapping[str, str]) -> str:
    """The smallest listing of the nodes; the last node is behind all others, since all of them lead to it."""
    nodes = list(edges)
    place = {node: index for index, node in enumerate(nodes)}

    def encode(index: int, names: Names) -> tuple[object, ...]:
        into = edges[nodes[index]]
        return tuple(sorted((names[place[s]] if s else -1, texts.get(label, label)) for s, label in into))

    inputs = [[place[source] for source, _ in into if source] for into in edges.values()]
    return str(smallest(inputs, encode)[0])
