"""The weights that an evaluation leaves in its folder, with what they are weights of.

A search trial with a larger budget goes on from those of its parent, where that is the same policy after fewer epochs
(successive halving promotes so): only the epochs that are missing are trained. Every other trial begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from automl_ext.artefact.tensors import tensors
from automl_ext.env import Job

__all__ = ["WEIGHTS", "Stored", "store", "to_go_on_from"]

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Stored:
    """epochs: of fine-tuning behind the weights `state`; untuned: accuracy on the reward images before, in [0, 1]."""

    epochs: int
    untuned: float
    state: Mapping[str, Tensor]


def store(network: nn.Module, counts: Mapping[str, int], epochs: int, untuned: float, folder: Path) -> None:
    """Write the weights of `network`, the policy `counts` after so many epochs, into `folder`.

    counts: channels by group, or weights by layer.
    """
    facts = {"counts": dict(counts), "epochs": epochs, "untuned": untuned}
    save_file(tensors(network), folder / WEIGHTS, metadata={"trained": json.dumps(facts, sort_keys=True)})


def to_go_on_from(job: Job, counts: Mapping[str, int], device: str) -> Stored | None:
    """The parent's weights, where a search trial may go on with them; else None."""
    file = Path(job.parent or "") / WEIGHTS
    if job.parent is None or job.stage != "search" or not job.budget or not file.is_file():
        return None
    with safe_open(file, "pt", device) as stored:
        facts = json.loads((stored.metadata() or {}).get("trained", "null"))
        if not facts or facts["counts"] != dict(counts) or not facts["epochs"] < round(job.budget):
            return None
        return Stored(facts["epochs"], facts["untuned"], {name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
