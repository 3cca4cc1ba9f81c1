"""Images on which operations differ, and a generator whose draws are told."""

from __future__ import annotations

import numpy as np
import pytest


class Told:
    """Instead of a NumPy generator: the first sub-policy, every step happens, the rest alike for all images."""

    def __init__(self, sign=0.2, other=0.0, spot=(0.0, 0.0)):
        self.rows = np.array([0.0, sign, other, *spot])[:, None, None]

    def random(self, size):
        return np.zeros(size) if isinstance(size, int) else np.broadcast_to(self.rows, size)


@pytest.fixture(scope="session")
def told():
    return Told


@pytest.fixture(scope="session")
def pictures():
    """pictures(height, width, channels) -> (5, h, w, c): noise twice, smooth, flat, white and black."""

    def make(height, width, channels):
        rng = np.random.default_rng(0)
        shape = (height, width, channels)
        noise = rng.integers(0, 256, (2, *shape))
        rise = np.linspace(0, 200, height)[:, None, None] + rng.integers(0, 50, channels)
        halves = np.where(np.arange(width)[None, :, None] < width // 3, 255, 0)
        return np.stack([*noise, *(np.broadcast_to(part, shape) for part in (rise, 77, halves))]).astype(np.uint8)

    return make
