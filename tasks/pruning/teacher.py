"""Fine-tuning with the dense network as a teacher (distillation).

Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531. The pruned network
follows the teacher's softened outputs on the same augmented images, beside the labels. What that is worth stands in the
README's ledger. AMC tunes without one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.artefact.tensors import tensors
from automl_ext.data import Data
from automl_ext.training import Recipe, train

__all__ = ["Taught", "load_teacher", "make_teacher", "taught_loss"]

FILE = "teacher.safetensors"
SHARE, TEMPERATURE = 0.9, 4.0
"""Of the loss, what follows the teacher; by what outputs are divided before the softmax."""


@final
class Taught(nn.Module):
    """A student and its teacher, which stays as it is. (n, c, h, w) -> the student's logits (n, classes); in training
    both, (n, 2 * classes), for `taught_loss`.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> Taught:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.student(x)
        return torch.cat((logits, self.teacher(x)), 1) if self.training else logits


def taught_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Scalar. outputs: (n, 2 * classes), the student's logits before the teacher's. labels: (n,)."""
    student, teacher = outputs.chunk(2, 1)
    soft = functional.softmax(teacher / TEMPERATURE, 1)
    follow = functional.kl_div(functional.log_softmax(student / TEMPERATURE, 1), soft, reduction="batchmean")
    return (1 - SHARE) * functional.cross_entropy(student, labels) + SHARE * TEMPERATURE**2 * follow


def make_teacher(
    network: nn.Module, data: Data, recipe: Recipe, epochs: int, seed: int, device: torch.device, folder: Path
) -> None:
    """Tune the dense `network` in place for `epochs` and leave its weights in `folder`."""
    train(network, data.train, data, replace(recipe, epochs=epochs), seed=seed, device=device)
    save_file(tensors(network), folder / FILE)


def load_teacher(network: nn.Module, device: torch.device, folder: Path) -> nn.Module:
    """The dense `network` with the weights that `make_teacher` left, in eval mode."""
    network.load_state_dict(load_file(folder / FILE))
    return network.to(device).eval()
