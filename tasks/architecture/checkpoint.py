"""What a training leaves in its trial's folder, and whether a later trial goes on from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from automl_ext.artefact.tensors import tensors

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """key: of the candidate. epochs: behind the weights. state: of the network."""

    key: str
    epochs: int
    state: Mapping[str, Tensor]


def write_checkpoint(network: nn.Module, key: str, epochs: int, folder: Path) -> None:
    """`weights.safetensors` and `trained.json`; the second last, so that half a checkpoint is none."""
    save_file(tensors(network), folder / "weights.safetensors")
    (folder / "trained.json").write_text(json.dumps({"key": key, "epochs": epochs}) + "\n")


def read_checkpoint(folder: str | None) -> Checkpoint | None:
    """What `write_checkpoint` left, None where there is nothing."""
    if folder is None or not (Path(folder) / "trained.json").is_file():
        return None
    facts = json.loads((Path(folder) / "trained.json").read_text())
    return Checkpoint(str(facts["key"]), int(facts["epochs"]), load_file(Path(folder) / "weights.safetensors"))
