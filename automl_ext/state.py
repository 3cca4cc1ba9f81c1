"""Saved state of searchers whose tells are too dear to repeat: one safetensors file, replaced in one step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from automl_ext.journal import write_atomically
from automl_ext.searcher import Proposal, State


def save(
    path: Path,
    state: State,
    told: int,
    pending: Mapping[int, Proposal],
    stopping: Mapping[int, Mapping[str, Any] | None] | None = None,
) -> None:
    """Save arrays, JSON, the next tell's number, and what is asked and not yet told, with its stopping rules."""
    arrays, values = state
    rows = {number: asdict(proposal) for number, proposal in pending.items()}
    facts = json.dumps({"told": told, "pending": rows, "values": values, "stopping": stopping or {}}, allow_nan=False)
    write_atomically(path, to_bytes(arrays, metadata={"automl_ext": facts}))


def load(path: Path) -> tuple[State, int, dict[int, Proposal], dict[int, Any]]:
    """(state, next tell, pending, their stopping rules) as saved. Raises safetensors' error for a damaged file."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["automl_ext"])
    pending = {int(number): Proposal(**row) for number, row in facts["pending"].items()}
    stopping = {int(number): row for number, row in facts.get("stopping", {}).items()}
    return (arrays, facts["values"]), facts["told"], pending, stopping
