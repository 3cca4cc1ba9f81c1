"""digits-scenes: always the same, strokes of several sizes, no digit in two parts."""

from __future__ import annotations

import numpy as np
import torch

from automl_ext.data import Split, load
from automl_ext.scenes import CLASSES, SIDES, drawn, enlarged


def digits(fill=255):
    image = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    image[:, :, 2:6, 2:6] = fill
    return Split(image, torch.arange(4))


def test_scenes_are_the_same_again_and_masks_lie_on_their_strokes():
    one, same, other = drawn(digits(), 12, 0), drawn(digits(), 12, 0), drawn(digits(), 12, 1)
    assert torch.equal(one.image, same.image) and torch.equal(one.label, same.label)
    assert not torch.equal(one.image, other.image)
    assert one.image.shape == (12, 1, 64, 64) and set(one.label.unique().tolist()) <= {0, 1, 2, 3, 4}
    for image, mask in zip(one.image[:, 0].float(), one.label, strict=True):
        assert image[mask > 0].mean() > image[mask == 0].mean() + 30
    areas = {int((mask == label).sum()) for mask in one.label for label in mask.unique() if label}
    assert max(areas) > 8 * min(areas)  # the largest side is 4.5 times the smallest


def test_enlarging_keeps_flat_images_and_linear_ones():
    assert np.allclose(enlarged(np.full((8, 8), 0.3), 20), 0.3)
    rising = enlarged(np.tile(np.arange(8.0), (8, 1)), 16)
    assert np.allclose(np.diff(rising[:, 1:-1]), 0.5) and all(
        enlarged(np.eye(8), side).shape == (side, side) for side in SIDES
    )


def test_the_data_set_has_every_class_in_every_part():
    data = load("digits-scenes")
    assert [len(part) for part in (data.train, data.val, data.test)] == [600, 200, 400]
    assert data.classes == len(CLASSES) == 11
    for part in (data.train, data.val, data.test):
        assert part.label.unique().tolist() == [*range(11)]
    assert torch.equal(load("digits-scenes", seed=1).test.image, data.test.image)
    assert not torch.equal(load("digits-scenes", seed=1).val.image, data.val.image)
