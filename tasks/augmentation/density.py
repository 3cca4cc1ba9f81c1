"""Density matching: a policy is good if networks trained without it still know the images that it makes.

Lim, Kim, Kim, Kim, Kim: "Fast AutoAugment", NeurIPS 2019, arXiv 1905.00397. K stratified splits; one network a split is
trained on one part, with flips and crops only; a policy is scored on the other part, without any training.

Differs from the paper:

1. The score is the mean over an image's draws; the published code takes the best of the sub-policies for each image,
   which favours policies that hold one sub-policy near identity.
2. Policies are scored on all splits together, so that a search is one search; the paper searches once a split and
   merges what was best in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from automl_ext.tasks.augmentation.pipeline import PolicyTransform
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.data import Data, Split, normalise, split_off
from automl_ext.training import Recipe, mode, train

FOLD = "fold-{}.safetensors"


@dataclass(frozen=True)
class Folds:
    """count: splits. held_out: share of the images that a network does not see. draws: of the policy an image."""

    count: int
    held_out: float
    draws: int

    def parts(self, split: Split, seed: int) -> list[tuple[Split, Split]]:
        """(seen, held out) a split. Raises DataError where one of them would be empty."""
        return [split_off(split, self.held_out, seed + 1000 * (fold + 1)) for fold in range(self.count)]


def prepare(
    folds: Folds, made: list[nn.Module], data: Data, recipe: Recipe, seed: int, device: torch.device, folder: Path
) -> None:
    """Train one of the fresh networks `made` a split, and leave their weights in `folder`."""
    for fold, ((seen, _), network) in enumerate(zip(folds.parts(data.train, seed), made, strict=True)):
        train(network, seen, data, recipe, seed=seed + fold, device=device)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        save_file(state, folder / FOLD.format(fold))


def load(made: list[nn.Module], folder: Path, device: torch.device) -> list[nn.Module]:
    """The fresh networks `made` with the weights that `prepare` left."""
    for fold, network in enumerate(made):
        network.load_state_dict(load_file(folder / FOLD.format(fold)))
        network.to(device).eval()
    return made


def score(
    networks: list[nn.Module],
    folds: Folds,
    data: Data,
    transform: PolicyTransform | None,
    seed: int,
    device: torch.device,
) -> dict[str, float]:
    """`accuracy`, in [0, 1], and `loss` on the held-out images under the policy; means over splits and draws."""
    right, loss, count = 0.0, 0.0, 0
    for fold, (network, (_, held)) in enumerate(zip(networks, folds.parts(data.train, seed), strict=True)):
        rng = np.random.default_rng((seed, fold))
        for _ in range(folds.draws):
            image, label = held.image, held.label
            if transform is not None:
                image, label = transform(image, label, 0.0, rng)
            outputs = _outputs(network, image, data, device)
            label = label.to(device)
            right += float((outputs.argmax(1) == label).float().mean()) * len(image)
            loss += float(functional.cross_entropy(outputs, label)) * len(image)
            count += len(image)
    return {"accuracy": right / count, "loss": loss / count}


def _outputs(network: nn.Module, image: Tensor, data: Data, device: torch.device) -> Tensor:
    with mode(network, training=False), torch.inference_mode():
        return torch.cat([network(normalise(part, data.mean, data.std, device)) for part in image.split(256)])
