"""Features of a cell with operations on its edges: what signals can pass from its input to its output.

The path encoding of C. White, W. Neiswanger, Y. Savani, "BANANAS: Bayesian Optimization with Neural Architectures for
Neural Architecture Search", AAAI 2021, arXiv 1910.11858. A path is live where no edge on it is `none`; what lies on no
live path computes nothing, and cells that differ there only have equal features.

Differs from the paper:
1. Paths of equal operations are counted, so that it matters whether one or two are there.
2. Beside whole paths the features count the operations on live paths and name the operation of every live edge, so that
   cells which share parts of their paths are near each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

OPERATIONS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""Of NAS-Bench-201, without `none`."""
NONE = "none"


def edges(nodes: int) -> list[tuple[int, int]]:
    """(from, to) of all edges in the order of an arch string: those into node 1, into node 2, ..."""
    return [(start, end) for end in range(1, nodes) for start in range(end)]


@cache
def paths(nodes: int) -> tuple[tuple[int, ...], ...]:
    """All paths from the first to the last node as positions in `edges`, short ones first."""
    place = {edge: index for index, edge in enumerate(edges(nodes))}
    found: list[tuple[int, ...]] = []
    open_paths: list[tuple[int, ...]] = [(0,)]
    while open_paths:
        path = open_paths.pop()
        if path[-1] == nodes - 1:
            found.append(tuple(place[edge] for edge in pairwise(path)))
            continue
        open_paths += [(*path, node) for node in range(path[-1] + 1, nodes)]
    return tuple(sorted(found, key=lambda path: (len(path), path)))


def size(nodes: int = 4, operations: int = len(OPERATIONS)) -> int:
    """Length of `live_paths`: 84 + 4 + 24 for a cell of NAS-Bench-201."""
    return int(sum(operations**length for length in range(1, nodes))) + operations + operations * len(edges(nodes))


def live_paths(cell: Sequence[str], operations: Sequence[str] = OPERATIONS, nodes: int = 4) -> NDArray[np.float64]:
    """(size,) counts of the operation sequences of live paths, of operations on them, and one-hot live edges.

    cell: an operation or `none` for each of `edges(nodes)`. Raises ValueError for another length or operation.
    """
    if len(cell) != len(edges(nodes)):
        raise ValueError(f"a cell of {nodes} nodes has {len(edges(nodes))} edges, not {len(cell)}")
    code = {operation: index for index, operation in enumerate(operations)}
    unknown = [operation for operation in cell if operation not in code and operation != NONE]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no operation; known: {NONE}, {', '.join(operations)}")
    many = len(operations)
    features = np.zeros(size(nodes, many))
    single = sum(many**length for length in range(1, nodes))
    for path in paths(nodes):
        if any(cell[edge] == NONE for edge in path):
            continue
        place = 0
        for edge in path:
            operation = code[cell[edge]]
            place = place * many + operation
            features[single + operation] += 1
            features[single + many + edge * many + operation] = 1
        features[sum(many**length for length in range(1, len(path))) + place] += 1
    return features
