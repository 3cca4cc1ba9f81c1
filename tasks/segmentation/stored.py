"""What a trial leaves in its folder: weights, and what it was and how well each class fares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_ext.tasks.segmentation.network import Segmenter
from safetensors.torch import load_file, save_file
from torch import Tensor

from automl_ext.artefact.tensors import tensors
from automl_ext.env import Job
from automl_ext.space import Candidate

__all__ = ["alike", "facts_of", "restore", "store"]

WEIGHTS, FACTS = "network.safetensors", "trial.json"


def store(network: Segmenter, whole: bool, job: Job, classes: Mapping[str, Any]) -> None:
    """Into `job.folder`. whole: with the backbone, else the head alone. classes: scores by name."""
    if job.folder is None:
        return
    save_file(tensors(network if whole else network.head), Path(job.folder) / WEIGHTS)
    facts = {
        "candidate": job.candidate, "stage": job.stage, "seed": job.seed, "budget": job.budget, "classes": classes,
    }  # fmt: skip
    (Path(job.folder) / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def restore(network: Segmenter, backbone: Mapping[str, Tensor], folder: str | None) -> bool:
    """Load what `store` wrote; whether there was something. backbone: the state of the prepared one, for a head."""
    if folder is None or not (Path(folder) / WEIGHTS).is_file():
        return False
    stored = load_file(Path(folder) / WEIGHTS)
    if any(name.startswith("backbone.") for name in stored):
        network.load_state_dict(stored)
    else:
        network.backbone.load_state_dict(dict(backbone))
        network.head.load_state_dict(stored)
    return True


def facts_of(folder: str | None) -> dict[str, Any]:
    """What `store` wrote beside the weights; empty where there is nothing."""
    if folder is None or not (Path(folder) / FACTS).is_file():
        return {}
    facts: dict[str, Any] = json.loads((Path(folder) / FACTS).read_text(encoding="utf-8"))
    return facts


def alike(folder: str | None, candidate: Candidate) -> str | None:
    """The folder, beside `folder`, of a trial of `candidate` in the same stage, at the same budget and seed."""
    own = facts_of(folder)
    if not own or folder is None:
        return None
    for other in sorted(Path(folder).parent.iterdir()):
        facts = facts_of(str(other))
        if facts and facts["candidate"] == candidate and all(facts[k] == own[k] for k in ("stage", "seed", "budget")):
            return str(other)
    return None
