"""Cutting by indexing, against torch-pruning's removal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.cut import cut, members
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.importance import rank_by_magnitude
from automl_ext.tasks.pruning.prune import remaining, remove
from torch import nn

from automl_ext.training import lent_seed


class Joined(nn.Module):
    """Concatenation, a depthwise and a grouped layer, a norm without parameters, flatten before the classifier."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(14, 14, 3, padding=1, groups=14)
        self.point = nn.Conv2d(14, 12, 1)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.last = nn.Conv2d(12, 5, 3, stride=2, padding=1)
        self.linear = nn.Linear(5 * 16, 10)

    def forward(self, x):
        one = torch.relu(self.norm(self.first(x)))
        two = torch.sigmoid(self.second(one))
        x = torch.relu(self.depthwise(torch.cat([one, two], 1)))
        x = torch.relu(self.grouped(self.point(x)))
        return self.linear(torch.relu(self.last(x)).flatten(1))


@pytest.fixture(scope="module", params=["small", pytest.param("resnet20", marks=pytest.mark.slow), "joined"])
def case(request, small, resnet20):
    """(network, example, ranking)"""
    with lent_seed(0):
        joined = Joined().eval(), torch.zeros(1, 1, 8, 8)
    network, example = {"small": small, "resnet20": resnet20, "joined": joined}[request.param]
    return network, example, rank_by_magnitude(network, example, inspect(network, example))


def shapes(network):
    names = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "training")
    return {
        name: {key: getattr(module, key) for key in names if hasattr(module, key)}
        for name, module in network.named_modules()
    }


def test_the_same_as_removal_by_torch_pruning(case):
    network, example, ranking = case
    parts, rng = members(network, example, ranking), np.random.default_rng(0)
    drawn = [{name: int(rng.integers(1, len(order) + 1)) for name, order in ranking.items()} for _ in range(4)]
    for counts in [*drawn, {name: len(order) for name, order in ranking.items()}]:
        keep = remaining(ranking, counts)
        ours, theirs = cut(network, parts, keep), remove(network, example, keep)
        state = theirs.state_dict()
        assert ours.state_dict().keys() == state.keys() and shapes(ours) == shapes(theirs)
        assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
        owned = {value.data_ptr() for value in ours.state_dict().values()}
        assert not owned & {value.data_ptr() for value in network.state_dict().values()}
        assert all(parameter.requires_grad for parameter in ours.parameters())


def test_networks_with_other_layers_are_left_to_torch_pruning():
    with lent_seed(0):
        network = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.PReLU(6), nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )
    example = torch.zeros(1, 1, 8, 8)
    assert members(network, example, ["0", "2"]) is None
    assert members(network, example, ["2"]) is not None
