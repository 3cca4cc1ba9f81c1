"""`digits-scenes`: two to four handwritten digits of very different sizes on a canvas, and a mask of their strokes.

Made of scikit-learn's digits when it is asked for, always the same. A pixel of a stroke tells its digit only together
with pixels far off, and how far depends on the digit's size: masks that need context at several scales. Train, val
and test scenes show different digits; val's are chosen by the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from automl_ext.data import Split

__all__ = ["CLASSES", "drawn"]

CANVAS = 64
CLASSES = ("background", *(f"digit {number}" for number in range(10)))
SIDES = (12, 18, 26, 38, 54)
"""Pixels of a digit's side; a scene has at most one of the largest."""
INK = 0.45
"""What share of the full tone belongs to a stroke."""
NOISE = 12.0
"""Standard deviation of the grey noise, of 255."""
PLACES = 20


def drawn(digits: Split, count: int, seed: int) -> Split:
    """`count` scenes (1, 64, 64) made of `digits` (n, 1, 8, 8); masks 0 for background, digit + 1 for strokes."""
    import torch

    from automl_ext.data import Split

    tones, labels = digits.image.numpy()[:, 0] / 255.0, digits.label.numpy()
    images = np.empty((count, 1, CANVAS, CANVAS), np.uint8)
    masks = np.zeros((count, CANVAS, CANVAS), np.int64)
    for place in range(count):
        rng = np.random.default_rng((seed, place))
        images[place, 0] = _scene(tones, labels, masks[place], rng)
    return Split(torch.from_numpy(images), torch.from_numpy(masks))


def _scene(
    tones: NDArray[np.float64], labels: NDArray[np.int64], mask: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The image of one scene; its mask is written into `mask`."""
    canvas = np.full((CANVAS, CANVAS), rng.uniform(0.05, 0.3))
    for side in _sides(rng):
        number = int(rng.integers(len(tones)))
        tone = enlarged(tones[number], side)
        stroke = tone > INK
        for row, column in _places(side, rng):
            here = np.s_[row : row + side, column : column + side]
            if not (mask[here][stroke] > 0).any():
                bright = rng.uniform(0.6, 1.0)
                canvas[here] = np.maximum(canvas[here], tone * bright)
                mask[here][stroke] = labels[number] + 1
                break
    noisy = 255 * canvas + rng.normal(0.0, NOISE, canvas.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _sides(rng: np.random.Generator) -> list[int]:
    """Sides of two to four digits, the largest first, so that the others find room beside it."""
    chosen = [SIDES[int(rng.integers(len(SIDES)))]]
    chosen += [SIDES[int(rng.integers(len(SIDES) - 2))] for _ in range(int(rng.integers(1, 4)))]
    return sorted(chosen, reverse=True)


def _places(side: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    for _ in range(PLACES):
        row, column = rng.integers(CANVAS - side + 1, size=2)
        yield int(row), int(column)


def enlarged(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """A square image (n, n) at side x side pixels, bilinear."""
    grid = (np.arange(side) + 0.5) * len(image) / side - 0.5
    weights = np.maximum(0, 1 - np.abs(np.clip(grid, 0, len(image) - 1)[:, None] - np.arange(len(image))))
    made: NDArray[np.float64] = weights @ image @ weights.T
    return made
