"""A candidate's way into training: policies as a transform of batches, weights that know what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from automl_ext.tasks.augmentation.apply import Applier, Ground
from automl_ext.tasks.augmentation.policy import Policy
from automl_ext.tasks.augmentation.reference import Pipeline
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

WEIGHTS = "weights.safetensors"


@final
class PolicyTransform:
    """What `automl_ext.training.train` takes as transform: the policy of the part of the training that it is in.

    whole: how much of a whole training this one is, for one that ends ahead of it.
    """

    def __init__(self, schedule: Sequence[Policy], ground: Ground, whole: float = 1.0) -> None:
        self._appliers = [Applier(policy, ground) for policy in schedule]
        self._whole = whole

    def __call__(
        self, image: Tensor, label: Tensor, progress: float, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Images (b, c, h, w) uint8; labels (b,) stay, masks (b, h, w) move along."""
        place = int(progress * self._whole * len(self._appliers))
        applier = self._appliers[min(place, len(self._appliers) - 1)]
        pixels = np.ascontiguousarray(image.permute(0, 2, 3, 1).cpu().numpy())
        masks = None if label.ndim == 1 else label.cpu().numpy().astype(np.uint8)
        made, moved = applier(pixels, rng, masks)
        if moved is not None:
            label = torch.from_numpy(moved.astype(np.int64)).to(label.device)
        return torch.from_numpy(made).permute(0, 3, 1, 2).to(image.device), label


@dataclass(frozen=True)
class Trained:
    """Weights, and the epochs behind them."""

    epochs: int
    state: Mapping[str, Tensor]


def store(network: nn.Module, pipeline: Pipeline, epochs: int, folder: Path) -> None:
    """Leave weights in `folder`, with what they were trained under."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    facts = {"epochs": epochs, "schedule": prints(pipeline)}
    save_file(state, folder / WEIGHTS, metadata={"trained": json.dumps(facts)})


def stored(folder: str | None) -> Trained | None:
    """The weights in `folder`, if any."""
    found = _read(folder)
    return None if found is None else found[0]


def to_go_on_from(folder: str | None, pipeline: Pipeline, epochs: int, whole: int) -> Trained | None:
    """Weights in `folder` that a training under `pipeline` goes through on its way to `epochs`; None for others.

    whole: epochs of a whole training; the schedule's parts are shares of it.
    """
    found = _read(folder)
    if found is None or not found[0].epochs < epochs:
        return None
    own, (trained, past) = prints(pipeline), found
    behind = -(-trained.epochs * len(own) // whole)
    return trained if len(past) == len(own) and past[:behind] == own[:behind] else None


def prints(pipeline: Pipeline) -> list[str]:
    """A fingerprint of each part of a schedule."""
    rows = [json.dumps([pipeline.base, policy.to_json()]) for policy in pipeline.schedule]
    return [hashlib.blake2b(row.encode(), digest_size=8).hexdigest() for row in rows]


def _read(folder: str | None) -> tuple[Trained, list[str]] | None:
    file = Path(folder or "") / WEIGHTS
    if folder is None or not file.is_file():
        return None
    with safe_open(file, "pt") as opened:
        facts = json.loads(opened.metadata()["trained"])
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return Trained(facts["epochs"], state), facts["schedule"]
