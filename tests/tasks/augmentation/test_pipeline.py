"""Policies as a transform of batches, and which weights a training may go on from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.augmentation.apply import Ground
from automl_ext.tasks.augmentation.pipeline import PolicyTransform, store, stored, to_go_on_from
from automl_ext.tasks.augmentation.policy import Policy, of
from automl_ext.tasks.augmentation.reference import Pipeline
from torch import nn

INVERT, NOTHING = of([[("Invert", 1.0, None)]]), Policy()
ROTATE = of([[("Rotate", 0.5, 20.0)], [("TranslateX", 1.0, 0.3)]])
GROUND = Ground((7,))


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8))


def made(transform, images, progress=0.0, seed=0, label=None):
    label = torch.arange(len(images)) if label is None else label
    return transform(images, label, progress, np.random.default_rng(seed))


def test_the_same_seed_makes_the_same_pixels(images):
    first, label = made(PolicyTransform([ROTATE], GROUND), images)
    assert first.shape == images.shape and first.dtype == torch.uint8 and (label == torch.arange(12)).all()
    assert torch.equal(first, made(PolicyTransform([ROTATE], GROUND), images)[0])
    assert not torch.equal(first, made(PolicyTransform([ROTATE], GROUND), images, seed=1)[0])


@pytest.mark.parametrize(
    ("progress", "inverted"), [(0.0, False), (0.49, False), (0.5, True), (0.999, True), (1.0, True)]
)
def test_each_share_of_a_training_has_its_policy(images, progress, inverted):
    out, _ = made(PolicyTransform([NOTHING, INVERT], GROUND), images, progress)
    assert torch.equal(out, 255 - images if inverted else images)


def test_a_training_that_ends_early_stays_in_the_first_parts(images):
    half = PolicyTransform([NOTHING, INVERT], GROUND, whole=0.5)
    assert torch.equal(made(half, images, 0.99)[0], images)


def test_masks_move_with_their_images(images):
    masks = (images[:, 0] > 128).long()
    out, moved = made(PolicyTransform([of([[("TranslateY", 1.0, 0.25)]])], Ground((0,))), images, label=masks)
    assert moved.dtype == torch.int64 and torch.equal(moved, (out[:, 0] > 128).long())
    assert torch.equal(made(PolicyTransform([INVERT], GROUND), images, label=masks)[1], masks)


def test_weights_know_what_they_were_trained_with(tmp_path):
    network = nn.Linear(2, 3)
    past, other = Pipeline((INVERT, ROTATE)), Pipeline((INVERT, NOTHING))
    store(network, past, 5, tmp_path)
    known = stored(str(tmp_path))
    assert known.epochs == 5 and torch.equal(known.state["weight"], network.weight)
    assert stored(None) is None and stored(str(tmp_path / "none")) is None
    assert to_go_on_from(str(tmp_path), past, 8, whole=10).epochs == 5
    assert to_go_on_from(str(tmp_path), other, 8, whole=10).epochs == 5  # only the first half lies behind
    assert to_go_on_from(str(tmp_path), other, 8, whole=8) is None  # five of eight epochs were in both halves
    assert to_go_on_from(str(tmp_path), past, 5, whole=10) is None
    assert to_go_on_from(str(tmp_path), Pipeline((INVERT, ROTATE), base=False), 8, whole=10) is None
    assert to_go_on_from(str(tmp_path), Pipeline((INVERT,)), 8, whole=10) is None
