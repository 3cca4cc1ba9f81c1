"""One listing for all graphs that are equal but for the order of their nodes.

Nodes are listed in an order in which every node stands behind its inputs; of all such listings the smallest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["smallest"]

MOST = 2000
"""Unfinished listings that are kept beside each other. With more, two equal graphs may be listed differently."""

Names = dict[int, int]
"""Node -> its place in the listing."""


def smallest(inputs: Sequence[Sequence[int]], encode: Callable[[int, Names], Any]) -> tuple[tuple[Any, ...], Names]:
    """The smallest listing of the nodes of a DAG, and the place of each node in it.

    inputs: of each node, as indices of nodes. encode(node, names): what the listing says of a node whose inputs all
    have names; anything that can be compared.
    """
    frontier: list[Names] = [{}]
    listing: list[Any] = []
    for place in range(len(inputs)):
        least: Any = None
        following: list[Names] = []
        for names in frontier:
            for node, needed in enumerate(inputs):
                if node in names or any(source not in names for source in needed):
                    continue
                code = encode(node, names)
                if least is None or code < least:
                    least, following = code, []
                if code == least and len(following) < MOST:
                    following.append({**names, node: place})
        frontier = following
        listing.append(least)
    return tuple(listing), frontier[0]
