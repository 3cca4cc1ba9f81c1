"""The training loop: batches without anything to learn from, and numbers of images that batches do not divide."""

from __future__ import annotations

import math

import pytest
import torch
from automl_ext.tasks.segmentation.cell import operation
from automl_ext.tasks.segmentation.fit import Recipe, fit
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.scores import VOID
from torch import nn

from automl_ext.training import lent_seed


def trained(masks, batch, weights=None, op=None, epochs=3):
    """A small network's losses, its state, and the sizes of batches that it got."""
    images = torch.randn(len(masks), 3, 4, 4, generator=torch.Generator().manual_seed(0))
    sizes = []

    def batches(places, rng):
        sizes.append(len(places))
        return (images[places],), masks[places]

    with lent_seed(0):
        network = nn.Sequential(operation(op or Op("1x1"), 3, 4, (4, 4)), nn.Conv2d(4, 2, 1))
    done = fit(network, batches, len(masks), Recipe(epochs=epochs, batch=batch), seed=0, weights=weights)
    return done.losses, network.state_dict(), sizes


def noise(count):
    return torch.randint(0, 2, (count, 4, 4), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("nothing", "weights"), [(VOID, None), (0, torch.tensor([0.0, 1.0]))])
def test_a_batch_without_a_pixel_that_counts_changes_nothing(nothing, weights):
    masks = noise(6)
    masks[:4] = nothing
    losses, state, sizes = trained(masks, 2, weights)
    assert sizes == [2] * 9 and all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert all(bool(value.isfinite().all()) for value in state.values())
    none = torch.full_like(masks, nothing)
    losses, state, _ = trained(none, 2, weights)
    _, untouched, _ = trained(none, 2, weights, epochs=0)
    assert losses == (0.0, 0.0, 0.0) and all(torch.equal(state[name], untouched[name]) for name in state)


@pytest.mark.parametrize(("count", "batch", "wanted"), [(5, 2, [3, 2]), (3, 2, [3]), (7, 3, [3, 2, 2]), (4, 9, [4])])
def test_no_batch_has_one_image(count, batch, wanted):
    losses, _, sizes = trained(noise(count), batch, op=Op("pool", 1, 1), epochs=1)
    assert sizes == wanted and math.isfinite(losses[0])
