"""Operations that move pixels or cover them, a group of uint8 images at a time; equal to their albumentations forms.

albumentations calls OpenCV's warp, too, and spends most of its time around the call. Here are the same matrices and
the same call: about the centre, positions between pixels by `interpolation`, uncovered ground in the fill colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["linear", "nearest"]
Matrix = NDArray[np.float64]

FLAGS = {"linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}


def matrix(operation: str, value: float, height: int, width: int) -> Matrix | None:
    """(2, 3) where each pixel goes, (x, y) to (x', y'); None where nothing moves. Translations are whole pixels."""
    linear, shift = np.eye(2), np.zeros(2)
    if operation == "Rotate":
        cosine, sine = math.cos(math.radians(value % 360)), math.sin(math.radians(value % 360))
        linear = np.array([[cosine, sine], [-sine, cosine]])
    elif operation == "ShearX":
        linear[0, 1] = -value
    elif operation == "ShearY":
        linear[1, 0] = -value
    elif operation == "TranslateX":
        shift[0] = int(value * width)
    else:
        shift[1] = int(value * height)
    centre = np.array([width / 2 - 0.5, height / 2 - 0.5])
    moved = np.column_stack([linear, centre - linear @ centre + shift])
    return None if np.array_equal(moved, np.eye(2, 3)) else moved


def warped(
    images: NDArray[np.uint8],
    matrices: Sequence[Matrix | None],
    fill: Sequence[int],
    interpolation: Interpolation,
) -> NDArray[np.uint8]:
    """Images (k, h, w, c), or masks (k, h, w) of 8 bits, moved by a matrix each."""
    out = np.empty_like(images)
    size, flags = (images.shape[2], images.shape[1]), FLAGS[interpolation]
    for image, moved, made in zip(images, matrices, out, strict=True):
        if moved is None:
            made[...] = image
        else:
            cv2.warpAffine(image, moved, size, dst=made, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    return out


def side(value: float, height: int, width: int) -> int:
    """Pixels along a side of Cutout's square."""
    return int(value * min(height, width))


def cut_out(
    images: NDArray[np.uint8], values: NDArray[np.float64], spots: NDArray[np.float64], fill: Sequence[int]
) -> NDArray[np.uint8]:
    """Images (k, h, w, c) with a square of the fill colour each. spots: (k, 2) in [0, 1), where it is, down and across.

    Every place wholly inside the image is as likely as any other.
    """
    out = images.copy()
    height, width = images.shape[1:3]
    for made, value, (down, across) in zip(out, values, spots, strict=True):
        edge = side(float(value), height, width)
        top, left = int(down * (height - edge + 1)), int(across * (width - edge + 1))
        made[top : top + edge, left : left + edge] = fill
    return out
