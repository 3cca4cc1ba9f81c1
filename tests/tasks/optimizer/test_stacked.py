"""Layers of many networks at once."""

from __future__ import annotations

import pytest
import torch
from automl_ext.tasks.optimizer.stacked import CrossEntropy
from torch.nn import functional


@pytest.mark.parametrize(("count", "classes"), [(32, 10), (256, 64), (16, 2)])
def test_the_cross_entropy_is_that_of_torch_and_each_lane_for_itself(count, classes):
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(7, count, classes, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)

    def both(function, x):
        x = x.clone().requires_grad_()
        losses = function(x)
        weights = torch.arange(1.0, len(losses) + 1)
        return losses.detach(), torch.autograd.grad((losses * weights).sum(), x)[0]

    def of_torch(x):
        wanted = labels.expand(len(x), -1)
        return functional.cross_entropy(x.transpose(1, 2), wanted, reduction="none").mean(1)

    found = both(lambda x: CrossEntropy.apply(x, labels), logits)
    torch.testing.assert_close(found, both(of_torch, logits), rtol=1e-5, atol=1e-6)
    wild = logits.clone()
    wild[1:, 0] = torch.tensor([float("inf"), float("nan"), 1e38, -1e38, 1e20, -1e20])[:, None]
    beside = both(lambda x: CrossEntropy.apply(x, labels), wild)
    assert torch.equal(beside[0][0], found[0][0]) and torch.equal(beside[1][0], found[1][0])
    assert beside[0][1:3].isnan().all() and torch.isfinite(beside[0][3:]).all()
    for lane in range(7):
        torch.testing.assert_close(
            both(lambda x: CrossEntropy.apply(x, labels), logits[lane : lane + 1])[0], found[0][lane : lane + 1],
            rtol=0, atol=0,
        )  # fmt: skip
