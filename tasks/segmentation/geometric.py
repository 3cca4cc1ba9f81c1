"""How images and their masks are moved about in end-to-end training, by albumentations.

Not on cached maps: they are of the images as they are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from automl_ext.tasks.segmentation.scores import VOID
from torch import Tensor

if TYPE_CHECKING:
    import albumentations as A  # noqa: N812

__all__ = ["Moves"]


@dataclass(frozen=True)
class Moves:
    """flip: mirror half of the images. scale: by a factor of 1 - scale to 1 + scale. rotate: by up to so many degrees.
    shift: by up to that share of the side. What comes into view is black, and void in the mask.
    """

    flip: bool = False
    scale: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0

    @property
    def idle(self) -> bool:
        return not (self.flip or self.scale or self.rotate or self.shift)

    def __call__(self, image: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """image: (n, c, h, w) uint8; mask: (n, h, w) int64. New ones; each image has draws of its own."""
        if self.idle:
            return image, mask
        self._pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        images, masks = [], []
        for one, its in zip(image.permute(0, 2, 3, 1).numpy(), mask.numpy().astype(np.uint8), strict=True):
            moved = self._pipeline(image=np.ascontiguousarray(one), mask=its)
            images.append(moved["image"].reshape(one.shape))
            masks.append(moved["mask"])
        made = torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))
        return made, torch.from_numpy(np.stack(masks).astype(np.int64))

    @cached_property
    def _pipeline(self) -> A.Compose:
        import albumentations as A  # noqa: N812
        import cv2

        cv2.setNumThreads(0)
        steps: list[A.BasicTransform] = [A.HorizontalFlip(p=0.5)] if self.flip else []
        if self.scale or self.rotate or self.shift:
            affine = A.Affine(
                scale=(1 - self.scale, 1 + self.scale), rotate=(-self.rotate, self.rotate),
                translate_percent=(-self.shift, self.shift), shear=0, interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST, border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=VOID, p=1.0,
            )  # fmt: skip
            steps.append(affine)
        return A.Compose(steps, p=1.0)
