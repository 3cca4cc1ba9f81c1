"""What a search may follow, and what networks cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from automl_ext.tasks.segmentation.network import Segmenter, Shape
from automl_ext.tasks.segmentation.operations import SegmentationError

from automl_ext.artefact.agreement import counted_macs
from automl_ext.objective import Objective

__all__ = ["GOALS", "Traded", "costs", "objectives_of"]

Goal = Literal["max", "min"]
Traded = Literal["miou", "dice", "pixel_accuracy", "macs_m", "cell_macs_m", "params_k", "latency_ms"]
GOALS: Mapping[Traded, Goal] = {
    "miou": "max", "dice": "max", "pixel_accuracy": "max", "macs_m": "min", "cell_macs_m": "min", "params_k": "min",
    "latency_ms": "min",
}  # fmt: skip


def objectives_of(wanted: Mapping[Traded, Goal] | None) -> tuple[Objective, ...]:
    """By default miou. SegmentationError for a metric in its worse direction, and for none."""
    legal = ", ".join(f"{name}: {goal}" for name, goal in GOALS.items())
    if wanted is not None and not wanted:
        raise SegmentationError(f"objectives is empty; legal: {legal}")
    chosen: Mapping[Traded, Goal] = {"miou": "max"} if wanted is None else wanted
    for name, goal in chosen.items():
        if GOALS.get(name) != goal:
            raise SegmentationError(f"objectives: {name}: {goal} is not possible; legal: {legal}")
    return tuple(Objective(name, goal, measured=name == "latency_ms") for name, goal in chosen.items())


def costs(network: Segmenter, shape: Shape) -> dict[str, float]:
    """macs_m: millions of multiply-accumulates of one image; cell_macs_m: those of the cell with its projection;
    params_k: thousands of parameters of all.
    """
    device = next(network.parameters()).device
    image = torch.zeros(1, *shape.image, device=device)
    features = torch.zeros(1, shape.wide, *shape.map, device=device)
    return {
        "macs_m": counted_macs(network, image) / 1e6,
        "cell_macs_m": counted_macs(network.head.cell, features) / 1e6,
        "params_k": sum(parameter.numel() for parameter in network.parameters()) / 1e3,
    }
