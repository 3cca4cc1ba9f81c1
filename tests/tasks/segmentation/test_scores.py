"""IoU and Dice by hand; void, absent classes."""

from __future__ import annotations

import math

import pytest
import torch
from automl_ext.tasks.segmentation.scores import VOID, confusion, judged, scores

TRUTH = torch.tensor([[[0, 0, 1], [1, VOID, 2]]])
SAID = torch.tensor([[[0, 1, 1], [1, 2, 0]]])


def test_by_hand():
    found = scores(confusion(SAID, TRUTH, 4))
    assert found.iou[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 0]) and math.isnan(found.iou[3])
    assert found.dice[:3].tolist() == pytest.approx([2 / 4, 4 / 5, 0])
    assert found.metrics() == pytest.approx({"miou": 1 / 3, "dice": 1.3 / 3, "pixel_accuracy": 3 / 5})
    assert [*found.by_class("abcd")] == ["a", "b", "c"]


def test_perfect_predictions_have_1_and_batches_are_pooled():
    logits = torch.nn.functional.one_hot(TRUTH.clamp(max=3), 4).permute(0, 3, 1, 2).float()
    assert scores(confusion(TRUTH.clamp(max=3), TRUTH, 4)).miou == 1
    masks = torch.cat([TRUTH, SAID])
    one = judged(lambda places: logits[[0] * len(places)], masks, 4, batch=1)
    both = scores(confusion(TRUTH.clamp(max=3).expand(2, -1, -1), masks, 4))
    assert one.metrics() == both.metrics() and both.miou < 1
