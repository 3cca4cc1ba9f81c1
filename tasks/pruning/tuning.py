"""Fine-tuning after pruning: the options of the environments -> a recipe of training.

AMC's export step fine-tunes MobileNet at rate 0.05 by a cosine, 150 epochs, batch 256, weight decay 4e-5 (He et al.,
ECCV 2018, arXiv 1802.03494; released code); its iterative fine-grained pruning takes 30 epochs after each round.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from automl_ext.tasks.pruning.teacher import Taught, taught_loss
from torch import nn

from automl_ext.data import Data
from automl_ext.env import Job, Report
from automl_ext.training import Recipe, train

__all__ = ["Schedule", "tune", "tuning"]

Schedule = Literal["one-cycle", "cosine", "constant"]
"""one-cycle and constant as in `automl_ext.training.Recipe`; cosine falls from the peak at once, without a climb."""


def tuning(rate: float, batch: int, decay: float, schedule: Schedule, flip: bool, shift: int) -> Recipe:
    """The recipe, but for its epochs, which an evaluation's budget says. rate: the peak. decay: of the weights."""
    kind: Literal["one-cycle", "constant"] = "constant" if schedule == "constant" else "one-cycle"
    climb = 0.0 if schedule == "cosine" else Recipe.warmup
    return Recipe(rate=rate, batch=batch, weight_decay=decay, schedule=kind, warmup=climb, flip=flip, shift=shift)


def tune(
    network: nn.Module,
    data: Data,
    recipe: Recipe,
    job: Job,
    device: torch.device,
    report: Report,
    done: int = 0,
    teacher: nn.Module | None = None,
) -> int:
    """Train in place to `job.budget` epochs, at least one, of which `done` are behind it, reporting after each.

    How many are behind the network then; it is left in eval mode. teacher: see teacher.py.
    """
    recipe = replace(recipe, epochs=max(1, round(job.budget or 0)))
    whole, loss = (network, None) if teacher is None else (Taught(network, teacher), taught_loss)
    left = train(whole, data.train, data, recipe, seed=job.seed, device=device, report=report, loss=loss, start=done)
    network.eval()
    return left.epochs
