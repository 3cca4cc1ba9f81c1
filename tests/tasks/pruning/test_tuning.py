"""Options of fine-tuning -> a recipe."""

from __future__ import annotations

import math

import pytest
from automl_ext.tasks.pruning.tuning import tuning


def test_the_cosine_falls_from_the_peak():
    """the paper's schedule for MobileNet: rate 0.05, cosine, batch 256, weight decay 4e-5"""
    recipe = tuning(0.05, 256, 4e-5, "cosine", True, 2)
    assert (recipe.batch, recipe.weight_decay, recipe.flip, recipe.shift) == (256, 4e-5, True, 2)
    for progress in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert recipe.rate_at(progress) == pytest.approx(0.025 * (1 + math.cos(math.pi * progress)))


def test_other_schedules_are_the_trainers():
    climbing, flat = (tuning(0.1, 64, 0.0, schedule, False, 0) for schedule in ("one-cycle", "constant"))
    assert climbing.rate_at(0) < climbing.rate_at(0.1) < climbing.rate_at(0.25) == pytest.approx(0.1)
    assert flat.rate_at(0) == flat.rate_at(0.5) == 0.1 > flat.rate_at(0.9)
