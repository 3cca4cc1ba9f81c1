"""Which weights stay, and that zeros stay zero."""

from __future__ import annotations

import pytest
import torch
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.sparsity import held, masks_of, nonzero, rank_weights, weight_of, zero
from torch import nn

from automl_ext.data import Data, Split
from automl_ext.training import Recipe, lent_seed, train


@pytest.fixture
def network():
    with lent_seed(0):
        layers = [nn.Conv2d(1, 4, 3, groups=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_the_largest_stay_and_ties_go_by_index():
    layer = nn.Sequential(nn.Linear(5, 1, bias=False))
    with torch.no_grad():
        layer[0].weight.copy_(torch.tensor([[-2.0, 1.0, 0.0, -1.0, 1.0]]))
    ranking = rank_weights(layer, ["0"])
    assert ranking["0"].tolist() == [0, 1, 3, 4, 2]
    zero(layer, masks_of(layer, ranking, {"0": 3}))
    assert layer[0].weight.tolist() == [[-2.0, 1.0, 0.0, -1.0, 0.0]] and nonzero(layer, ["0"]) == {"0": 3}


@pytest.mark.parametrize("kept", [(36, 20, 12), (17, 5, 1)])
def test_masks_are_nested_and_counts_exact(network, kept):
    names = ["0", "3", "6"]
    ranking = rank_weights(network, names)
    larger = masks_of(network, ranking, dict(zip(names, kept, strict=True)))
    smaller = masks_of(network, ranking, {name: count // 2 for name, count in zip(names, kept, strict=True)})
    assert [int(larger[name].sum()) for name in names] == list(kept)
    assert not any(bool((smaller[name] & ~larger[name]).any()) for name in names)
    zero(network, larger)
    again = masks_of(
        network, rank_weights(network, names), {name: count // 2 for name, count in zip(names, kept, strict=True)}
    )
    assert all(torch.equal(smaller[name], again[name]) for name in names)


@pytest.mark.parametrize("keeping", [True, False])
def test_zeros_stay_exactly_zero_in_training(network, keeping):
    """under momentum, weight decay and clipping; without `held` they do not, so that this could fail"""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 8, 8), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 3, (40,), generator=generator))
    data = Data(split, split, split, 3, (0.5,), (0.5,))
    masks = masks_of(network, rank_weights(network, ["0", "6"]), {"0": 10, "6": 5})
    zero(network, masks)
    before = {name: weight_of(network, name).detach().clone() for name in ("0", "3", "6")}
    recipe = Recipe(epochs=2, batch=10, rate=0.3, momentum=0.9, weight_decay=0.1, clip=0.5)
    if keeping:
        with held(network, masks):
            train(network, split, data, recipe, seed=0, device=torch.device("cpu"))
    else:
        train(network, split, data, recipe, seed=0, device=torch.device("cpu"))
    after = {name: weight_of(network, name).detach() for name in before}
    assert all(not torch.equal(before[name], after[name]) for name in before)
    gone = torch.cat([after[name][~masks[name]] for name in masks])
    assert bool((gone == 0).all()) is keeping
    assert not any(weight_of(network, name)._backward_hooks for name in masks)


def test_a_weight_that_is_computed_is_refused(network):
    nn.utils.parametrizations.weight_norm(network[6])
    with pytest.raises(PruningError, match="6: its weight is made of other parameters"):
        rank_weights(network, ["6"])
