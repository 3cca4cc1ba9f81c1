"""Latency of a policy from a lookup table: each counted layer by kept inputs and outputs, and one curve for the rest.

He, Lin, Liu, Wang, Li, Han: "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018,
arXiv 1802.03494: the same Algorithm 1, the cost from a lookup table. `latency_measure.py` fills the table.

Values are whole nanoseconds, so that interpolation is exact in integers: a policy that keeps no more of any group
never costs more, which the bisection of `macs.most` builds on.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.macs import kept
from automl_ext.tasks.pruning.network import PruningError
from numpy.typing import NDArray

__all__ = ["Grid", "LatencyCost", "LatencyTable", "activations", "load", "rising", "save"]

FILE = "latency.json"


@dataclass(frozen=True)
class Grid:
    """Nanoseconds at some counts. inputs (n,), outputs (m,): ascending counts; ns (n, m), which nowhere falls."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ns: tuple[tuple[int, ...], ...]

    def at(self, inputs: int, outputs: int) -> int:
        """Linear in both counts between the points, rounded down; beyond the last points as at these."""
        row, across, width = _place(self.inputs, inputs)
        column, along, height = _place(self.outputs, outputs)
        beside = min(column + 1, len(self.outputs) - 1)
        low, high = self.ns[row], self.ns[min(row + 1, len(self.inputs) - 1)]
        below = low[column] * (height - along) + low[beside] * along
        above = high[column] * (height - along) + high[beside] * along
        return (below * (width - across) + above * across) // (width * height)


@dataclass(frozen=True)
class LatencyTable:
    """layers: by name; a depthwise one by its outputs alone. rest: what the network takes beside, by `activations`.

    facts: how it was measured (batch, threads, device, torch version), and milliseconds of the dense network.
    """

    layers: Mapping[str, Grid]
    rest: Grid
    facts: Mapping[str, Any]

    def ns(self, plan: Plan, counts: Mapping[str, int]) -> int:
        """Nanoseconds of one forward pass of the network that keeps `counts`; a group that is missing keeps all."""
        sizes = {layer.name: kept(layer, counts) for layer in plan.layers}
        own = sum(self.layers[name].at(*size) for name, size in sizes.items())
        return own + self.rest.at(1, activations(plan, counts))


@final
class LatencyCost:
    """A policy's share of the dense network's latency, by a table that is there only after `prepare`.

    The dense network's own is 1 always. Until `load` any other policy costs nothing, so that no budget binds.
    """

    def __init__(self) -> None:
        self.table: LatencyTable | None = None
        self._dense = 1

    def load(self, folder: Path, plan: Plan) -> None:
        """Read what `save` wrote of the network of `plan`."""
        self.table = load(folder)
        self._dense = max(self.table.ns(plan, {}), 1)

    def __call__(self, plan: Plan, counts: Mapping[str, int]) -> float:
        if not counts:
            return 1.0
        return self.table.ns(plan, counts) / self._dense if self.table else 0.0

    def metrics(self, plan: Plan, counts: Mapping[str, int]) -> dict[str, float]:
        """latency_kept: the share; latency_table_ms: milliseconds by the table. PruningError where there is none."""
        if self.table is None:
            raise PruningError("no latency table: it is made by prepare")
        return {"latency_kept": self(plan, counts), "latency_table_ms": self.table.ns(plan, counts) / 1e6}


def activations(plan: Plan, counts: Mapping[str, int]) -> int:
    """Numbers that the counted layers put out for one image: what norms, activations and sums go over."""
    return sum(kept(layer, counts)[1] * layer.places for layer in plan.layers)


def rising(values: NDArray[np.float64]) -> tuple[tuple[int, ...], ...]:
    """values (n, m), nanoseconds, rounded, each at least as large as all with smaller counts."""
    whole = np.rint(np.maximum(values, 0)).astype(np.int64)
    risen = np.maximum.accumulate(np.maximum.accumulate(whole, axis=0), axis=1)
    return tuple(tuple(int(value) for value in row) for row in risen)


def save(table: LatencyTable, folder: Path) -> None:
    """Write `latency.json`, which all workers and a resumed run read."""
    (folder / FILE).write_text(json.dumps(asdict(table), indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> LatencyTable:
    """What `save` wrote. PruningError where it is missing."""
    try:
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PruningError(f"no {FILE} in {folder}: the run was prepared without a latency table") from None
    layers = {name: _grid(grid) for name, grid in stored["layers"].items()}
    return LatencyTable(layers, _grid(stored["rest"]), stored["facts"])


def _grid(stored: Mapping[str, Any]) -> Grid:
    return Grid(tuple(stored["inputs"]), tuple(stored["outputs"]), tuple(tuple(row) for row in stored["ns"]))


def _place(points: Sequence[int], value: int) -> tuple[int, int, int]:
    """(index of the point at or below `value`, how far behind it, distance to the next point)."""
    index = bisect_right(points, value) - 1
    if index < 0 or index == len(points) - 1:
        return max(index, 0), 0, 1
    return index, value - points[index], points[index + 1] - points[index]
