"""The cell space of NAS-Bench-201: four nodes, an operation on each of the six edges between them.

X. Dong, Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020, arXiv
2001.00326. 5^6 = 15,625 cells. Edges stand in the order of the published strings,
`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automl_ext.decisions import Choice, Value
from automl_ext.space import Candidate, Space

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to): a node is the sum over its incoming edges."""


def name(edge: tuple[int, int]) -> str:
    """The decision's name of an edge: `edge_0_1`."""
    return f"edge_{edge[0]}_{edge[1]}"


def cell_space(canonical: Callable[[Candidate], Candidate] | None = None) -> Space:
    """One choice an edge, all of one kind. canonical: which cells are equal; each is one of its own by default."""
    return Space(*(Choice(name(edge), OPERATIONS, kind="operation") for edge in EDGES), canonical=canonical)


def cell(*operations: str) -> Candidate:
    """The candidate with these six operations, in the order of EDGES."""
    return {name(edge): operation for edge, operation in zip(EDGES, operations, strict=True)}


def code(candidate: Mapping[str, Value]) -> str:
    """Six digits, the places of the operations in OPERATIONS: the key of a table's row."""
    return "".join(str(OPERATIONS.index(str(candidate[name(edge)]))) for edge in EDGES)


def arch_string(candidate: Mapping[str, Value]) -> str:
    """The published form: `|nor_conv_3x3~0|+|none~0|skip_connect~1|+...`."""
    nodes = []
    for node in (1, 2, 3):
        incoming = [(source, candidate[name((source, to))]) for source, to in EDGES if to == node]
        nodes.append("|" + "|".join(f"{operation}~{source}" for source, operation in incoming) + "|")
    return "+".join(nodes)


REFERENCES: Mapping[str, Candidate] = {
    "all-conv-3x3": cell(*["nor_conv_3x3"] * 6),
    "residual": cell("nor_conv_3x3", "none", "none", "skip_connect", "nor_conv_3x3", "none"),
}
"""Hand-made cells: every edge a convolution; two convolutions in a row beside an identity."""
