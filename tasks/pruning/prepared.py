"""What all evaluations share: the dense network, its ranking of channels, and what it does on calibration images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from automl_ext.tasks.pruning.calibration import Dense, Grams, calibrate
from automl_ext.tasks.pruning.criteria import CRITERIA, rank_by_criterion
from automl_ext.tasks.pruning.cut import Member, members
from automl_ext.tasks.pruning.flow import Flow, read
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.importance import rank_by_magnitude, rank_by_reconstruction
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from automl_ext.artefact.tensors import tensors

__all__ = ["Prepared", "load", "make", "save"]

NETWORK, CALIBRATION, FACTS = "network.safetensors", "calibration.safetensors", "prepared.json"


@dataclass(frozen=True)
class Prepared:
    """Nothing in here is changed by an evaluation. example: one image (1, c, h, w) of zeros, normalised.

    members: what cut.py needs, None where torch-pruning has to remove channels.
    """

    network: nn.Module
    example: Tensor
    plan: Plan
    flow: Flow
    ranking: Mapping[str, list[int]]
    dense: Dense
    grams: Mapping[str, Grams]
    members: Mapping[str, tuple[Member, ...]] | None


def make(
    network: nn.Module,
    plan: Plan,
    images: Tensor,
    labels: Tensor,
    *,
    importance: str,
    points: int,
    ridge: float,
    generator: torch.Generator,
    with_grams: bool = True,
) -> Prepared:
    """From a trained network (eval mode). images: calibration images (n, c, h, w), normalised, on the device.

    labels: (n,), of the images. importance: `magnitude`, `reconstruction` or a key of criteria.CRITERIA.
    with_grams: make Gram matrices, which reconstruction by gram needs, even where the importance needs none.
    """
    example = torch.zeros_like(images[:1])
    flow = read(network)
    wanted = with_grams or importance == "reconstruction"
    dense, grams = calibrate(network, flow, plan, images, points, generator, wanted)
    if importance in CRITERIA:
        ranking = rank_by_criterion(importance, network, example, plan, images, labels)
    else:
        ranking = rank_by_magnitude(network, example, plan)
    if importance == "reconstruction":
        ranking = rank_by_reconstruction(plan, grams, ranking, ridge)
    parts = members(network, example, ranking)
    return Prepared(network, example, plan, flow, ranking, dense, grams if with_grams else {}, parts)


def save(prepared: Prepared, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `network.safetensors`, `calibration.safetensors`, `prepared.json` (ranking, and `facts` for the reader)."""
    save_file(tensors(prepared.network), folder / NETWORK)
    stored = {"images": prepared.dense.images}
    for kind in ("places", "outputs", "partners"):
        stored |= {f"{kind}:{name}": value for name, value in getattr(prepared.dense, kind).items()}
    for name, known in prepared.grams.items():
        stored |= {f"grams.{field.name}:{name}": getattr(known, field.name) for field in fields(Grams)}
    save_file({key: value.detach().cpu().contiguous() for key, value in stored.items()}, folder / CALIBRATION)
    text = json.dumps({"ranking": prepared.ranking, **facts}, indent=1)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")


def load(folder: Path, network: nn.Module, plan: Plan, device: torch.device) -> Prepared:
    """What `save` wrote. network: a fresh one, which takes the stored weights."""
    network.load_state_dict(load_file(folder / NETWORK))
    network.to(device).eval()
    kinds: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(folder / CALIBRATION, str(device)).items():
        kind, _, name = key.partition(":")
        kinds.setdefault(kind, {})[name] = value
    images = kinds["images"][""]
    dense = Dense(images, kinds.get("places", {}), kinds.get("outputs", {}), kinds.get("partners", {}))
    parts = {field.name: kinds.get(f"grams.{field.name}", {}) for field in fields(Grams)}
    grams = {
        layer.name: Grams(**{part: values[layer.name] for part, values in parts.items()})
        for layer in plan.layers
        if layer.name in parts["gram"]
    }
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    ranking, example = facts["ranking"], torch.zeros_like(images[:1])
    found = members(network, example, ranking)
    return Prepared(network, example, plan, read(network), ranking, dense, grams, found)
