"""Latencies of the parts of networks, measured once: a candidate's latency is the sum over its parts.

The table is text, `latencies.json`: name of a part -> milliseconds. It belongs to the machine that it was measured on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from automl_ext.tasks.architecture.family import Piece
from automl_ext.tasks.architecture.measure import measured_latency

from automl_ext.training import lent_seed

__all__ = ["looked_up", "measure_pieces", "read_latencies"]

FILE = "latencies.json"


def measure_pieces(pieces: Sequence[Piece], folder: Path) -> None:
    """Measure each part once and write the table."""
    found: dict[str, float] = {}
    with lent_seed(0):
        for piece in pieces:
            if piece.name not in found:
                found[piece.name] = measured_latency(piece.make(), piece.shape)
    (folder / FILE).write_text(json.dumps(found, indent=0) + "\n")


def read_latencies(folder: str | None) -> Mapping[str, float]:
    """The table in `folder`. Raises ValueError where there is none."""
    if folder is None or not (Path(folder) / FILE).is_file():
        raise ValueError("latency: the table that is measured at the start of a run is not there")
    found: dict[str, float] = json.loads((Path(folder) / FILE).read_text())
    return found


def looked_up(pieces: Sequence[Piece], table: Mapping[str, float]) -> float:
    """Milliseconds of all pieces together. Raises KeyError naming a piece that was not measured."""
    return sum(table[piece.name] for piece in pieces)
