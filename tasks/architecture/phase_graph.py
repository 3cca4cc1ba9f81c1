"""What the bits of a phase mean: the graph of its nodes, repaired as NSGA-Net does.

A node that feeds others and is fed by none takes the phase's input; one that is fed and feeds none goes to the phase's
output; one that does neither is dropped. A phase without any edge is none: images pass it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automl_ext.tasks.architecture.isomorphism import smallest

from automl_ext.decisions import Value

__all__ = ["INPUT", "Phase", "bits", "canonical_phase", "decode"]

INPUT = 0
"""Stands for the phase's input among the sources of a node; nodes count from 1."""


@dataclass(frozen=True)
class Phase:
    """sources: of each live node, in order; at least one each. outputs: what the phase's output joins. Both empty for a
    phase that is none."""

    sources: Mapping[int, tuple[int, ...]]
    outputs: tuple[int, ...]

    @property
    def live(self) -> bool:
        return bool(self.sources)


def bits(phase: int, nodes: int) -> list[str]:
    """The decisions of a phase (from 0): its edges, by the node that they lead to, and the residual bit."""
    start = f"phase_{phase + 1}_"
    edges = [f"{start}edge_{source}_{target}" for target in range(2, nodes + 1) for source in range(1, target)]
    return [*edges, start + "residual"]


def decode(candidate: Mapping[str, Value], phases: int, nodes: int) -> tuple[Phase, ...]:
    """The phases of a candidate."""
    found = []
    for phase in range(phases):
        values = iter(bits(phase, nodes))
        fed = {
            target: tuple(source for source in range(1, target) if candidate[next(values)])
            for target in range(2, nodes + 1)
        }
        found.append(_repaired({1: (), **fed}, bool(candidate[next(values)])))
    return tuple(found)


def _repaired(fed: Mapping[int, tuple[int, ...]], residual: bool) -> Phase:
    feeding = {source for sources in fed.values() for source in sources}
    sources = {node: own or (INPUT,) for node, own in fed.items() if own or node in feeding}
    if not sources:
        return Phase({}, ())
    ends = tuple(node for node in sources if node not in feeding)
    return Phase(sources, (INPUT, *ends) if residual else ends)


def canonical_phase(phase: Phase) -> tuple[Any, ...]:
    """One listing for all phases that differ in the names of their nodes only; () for none."""
    if not phase.live:
        return ()
    nodes = list(phase.sources)
    inputs = [[nodes.index(source) for source in phase.sources[node] if source != INPUT] for node in nodes]

    def encode(node: int, names: Mapping[int, int]) -> tuple[int, ...]:
        return tuple(sorted(names[source] for source in inputs[node]))

    listing, _ = smallest(inputs, encode)
    return (INPUT in phase.outputs, listing)
