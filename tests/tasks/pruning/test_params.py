"""Parameters counted by the plan, and Algorithm 1 on them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.macs import most, uniform
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.params import total_params, with_params
from automl_ext.tasks.pruning.prune import remove
from automl_ext.tasks.pruning.reference import global_magnitude, references
from automl_ext.tasks.pruning.space import keep_space, options
from automl_ext.tasks.pruning.variation import ExchangeVariation
from torch import nn


class Mixed(nn.Module):
    """A sum that one layer reads and writes, a depthwise convolution, a concatenation under one norm, a flatten."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 4, 3, padding=1)
        self.two = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.side = nn.Conv2d(4, 3, 1)
        self.norm = nn.BatchNorm2d(7)
        self.linear = nn.Linear(7 * 4, 5)
        self.last = nn.Linear(5, 10)

    def forward(self, x):
        x = self.one(x)
        x = self.depth(x + self.two(x))
        x = self.norm(torch.cat([x, self.side(x)], dim=1)).relu()
        return self.last(self.linear(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)).relu())


@pytest.fixture(scope="module")
def mixed():
    torch.manual_seed(0)
    network = Mixed().eval()
    example = torch.zeros(1, 1, 6, 6)
    return network, example, with_params(inspect(network, example), network, example)


def real(network, example, counts):
    smaller = remove(network, example, {name: range(count) for name, count in counts.items()})
    return sum(parameter.numel() for parameter in smaller.parameters())


def policies(plan):
    names = [group.name for group in plan.groups]
    for counts in product(*(range(1, group.channels + 1) for group in plan.groups)):
        yield dict(zip(names, counts, strict=True))


def test_the_count_is_that_of_the_network_with_the_channels_removed(mixed):
    network, example, plan = mixed
    assert [group.name for group in plan.groups] == ["one", "side", "linear"]
    every = list(policies(plan))
    for index in np.random.default_rng(0).choice(len(every), 15, replace=False):
        assert total_params(plan, every[index]) == real(network, example, every[index])
    assert total_params(plan, {}) == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "resnet20"])
def test_the_count_holds_for_residual_networks(name, small, resnet20):
    network, example = {"small": small, "resnet20": resnet20}[name]
    plan = with_params(inspect(network, example), network, example)
    rng = np.random.default_rng(1)
    for _ in range(5):
        counts = {group.name: int(rng.integers(1, group.channels + 1)) for group in plan.groups}
        assert total_params(plan, counts) == real(network, example, counts)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_the_space_is_just_the_policies_within_the_target(mixed, share):
    """brute force: what Algorithm 1 lets through, over all walks, is what stays within the target, no less, no more"""
    plan = mixed[2]
    target = share * total_params(plan, {})
    space = keep_space(plan, options(plan, 1, 1), target, total_params, "params_kept")
    inside = [counts for counts in policies(plan) if total_params(plan, counts) <= target]
    assert 0 < len(inside) < len(list(policies(plan)))
    assert [counts for counts in policies(plan) if counts in space] == inside
    rng = np.random.default_rng(0)
    assert all(space.sample(rng) in inside for _ in range(50))


def test_a_target_out_of_reach_says_what_can_be_reached(mixed):
    plan = mixed[2]
    legal = options(plan, 1, 0.5)
    reachable = total_params(plan, {name: counts[0] for name, counts in legal.items()})
    share = reachable / total_params(plan, {})
    with pytest.raises(PruningError, match=f"params_kept .* cannot be reached: .* {share:.4g} remain"):
        keep_space(plan, legal, reachable - 1, total_params, "params_kept")
    only = keep_space(plan, legal, reachable, total_params, "params_kept")
    assert total_params(plan, only.sample(np.random.default_rng(0))) == reachable


def test_mutation_and_references_keep_the_target(mixed):
    network, example, plan = mixed
    legal = options(plan, 1, 1)
    target = 0.5 * total_params(plan, {})
    space = keep_space(plan, legal, target, total_params, "params_kept")
    variation = ExchangeVariation(space, plan, legal, target, total_params)
    rng = np.random.default_rng(2)
    genes = variation.sample(rng)
    for _ in range(40):
        child = variation.mutate(genes, rng)
        assert child in space
        for name in child:  # what grew takes all that the target allows
            if child[name] > genes[name]:
                assert child[name] == most(plan, child, name, legal[name], target, total_params)
        genes = child
    known = references(network, example, plan, legal, target, total_params)
    assert known["uniform"] == uniform(plan, legal, target, total_params)
    assert known["global-magnitude"] == global_magnitude(network, example, plan, legal, target, total_params)
    assert all(total_params(plan, known[name]) <= target for name in ("uniform", "global-magnitude"))
