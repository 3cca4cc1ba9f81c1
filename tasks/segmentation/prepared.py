"""What all trials share: a trained backbone, and its maps of the train and val images, computed once.

The backbone is trained on the train part with the plainest head, one 1x1 convolution and the decoder. Its maps are
those of evaluation mode, without augmentation: only so are they the same in every epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from automl_ext.tasks.segmentation.fit import Batches
from automl_ext.tasks.segmentation.network import Backbone, Shape
from automl_ext.tasks.segmentation.scores import Scores, judged
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from automl_ext.artefact.tensors import tensors
from automl_ext.data import Data, Split, normalise

__all__ = ["Cached", "Maps", "Reported", "Score", "load", "maps_of", "save", "score_head", "score_network"]

Score = Callable[[], Scores]
Reported = Callable[[int], bool]
"""What is called after an epoch; whether to stop."""

BACKBONE, MAPS = "backbone.safetensors", "maps.safetensors"


@dataclass(frozen=True)
class Maps:
    """features (n, wide, h, w); fine (n, channels, h', w'), the decoder's. float32."""

    features: Tensor
    fine: Tensor

    def batches(self, masks: Tensor) -> Batches:
        """Of the images at some places, with their masks (n, h, w)."""

        def batch(places: Tensor, rng: np.random.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
            return (self.features[places], self.fine[places]), masks[places]

        return batch


@dataclass(frozen=True)
class Cached:
    """backbone: in evaluation mode; nobody changes it."""

    backbone: Backbone
    train: Maps
    val: Maps


def maps_of(backbone: nn.Module, split: Split, data: Data, device: torch.device, batch: int = 32) -> Maps:
    """What the backbone (evaluation mode) makes of the images."""
    found = []
    with torch.no_grad():
        for image in split.image.split(batch):
            found.append(backbone(normalise(image, data.mean, data.std, device)))
    return Maps(*(torch.cat(maps) for maps in zip(*found, strict=True)))


def save(backbone: Backbone, data: Data, device: torch.device, folder: Path) -> None:
    """Write the weights, and the maps of train and val."""
    save_file(tensors(backbone), folder / BACKBONE)
    stored: dict[str, Tensor] = {}
    for part, split in (("train", data.train), ("val", data.val)):
        maps = maps_of(backbone, split, data, device)
        fine = maps.fine if backbone.tap >= 0 else maps.fine[:, :1, :1, :1]
        stored |= {f"{part}.features": maps.features.cpu(), f"{part}.fine": fine.cpu().contiguous()}
    save_file(stored, folder / MAPS)


def load(folder: Path, shape: Shape, device: torch.device) -> Cached:
    """What `save` wrote."""
    backbone = Backbone(shape)
    backbone.load_state_dict(load_file(folder / BACKBONE))
    backbone.to(device).eval().requires_grad_(False)
    stored = load_file(folder / MAPS, str(device))
    train, val = (Maps(stored[f"{part}.features"], stored[f"{part}.fine"]) for part in ("train", "val"))
    return Cached(backbone, train, val)


def score_head(head: nn.Module, maps: Maps, masks: Tensor, classes: int) -> Scores:
    """Of a head (put into evaluation mode) on cached maps."""
    head.eval()
    return judged(lambda places: head(maps.features[places], maps.fine[places]), masks, classes)


def score_network(network: nn.Module, split: Split, data: Data, classes: int, device: torch.device) -> Scores:
    """Of a whole network (put into evaluation mode) on images."""
    network.eval()

    def predicted(places: Tensor) -> Tensor:
        return network(normalise(split.image[places], data.mean, data.std, device))  # type: ignore[no-any-return]

    return judged(predicted, split.label, classes, 32)
