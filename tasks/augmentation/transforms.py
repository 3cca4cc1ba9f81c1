"""What albumentations 2.0.8 lacks of AutoAugment's operations, as transforms of its classes.

This file needs albumentations, OpenCV and NumPy only: it is copied beside an exported policy that uses it, and has to
be imported before `albumentations.from_dict` reads that policy.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from albumentations.core.transforms_interface import ImageOnlyTransform
from numpy.typing import NDArray


class Sharpness(ImageOnlyTransform):  # type: ignore[misc]
    """Pillow's sharpness by `factor` from 0 up: 0 smooth, 1 unchanged. The border is mirrored."""

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        factor: float

    def __init__(self, factor: float = 1.0, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.factor = factor

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:
        """The sharpened (h, w) or (h, w, c) image: a blend of it and of its smooth version."""
        kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) * ((1 - self.factor) / 13)
        kernel[1, 1] += self.factor
        return cv2.filter2D(img, -1, kernel.astype(np.float32)).reshape(img.shape)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ("factor",)


class SamplePairing(ImageOnlyTransform):  # type: ignore[misc]
    """Blend with a random image of a bank, `weight` of it (Inoue 2018, arXiv 1801.02929).

    bank: an npz file with `image` (n, h, w, c) uint8, of the size of the images; relative paths are to this file's
    folder.
    """

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        weight: float
        bank: str

    def __init__(self, weight: float = 0.5, bank: str = "bank.npz", p: float = 0.5) -> None:
        super().__init__(p=p)
        self.weight, self.bank = weight, bank

    @cached_property
    def images(self) -> NDArray[Any]:
        """The bank, read when it is needed first."""
        with np.load(Path(__file__).parent / self.bank, allow_pickle=False) as arrays:
            return np.asarray(arrays["image"])

    def get_params(self) -> dict[str, Any]:
        """Which image it is."""
        return {"other": self.py_random.randrange(len(self.images))}

    def apply(self, img: NDArray[Any], other: int = 0, **params: Any) -> NDArray[Any]:
        """The blended (h, w) or (h, w, c) image."""
        partner = self.images[other].reshape(img.shape)
        return cv2.addWeighted(img, 1 - self.weight, partner, self.weight, 0).reshape(img.shape)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        return ("weight", "bank")
