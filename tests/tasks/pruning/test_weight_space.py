"""Fine-grained pruning: the space of shares, Algorithm 1 as `narrow`, the state, references, exchange.

What takes `parts` is checked twice: with a budget on weights, and with one on multiply-accumulates.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.groups import counted_layers
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.space import FEATURES
from automl_ext.tasks.pruning.sparsity import masks_of, nonzero, rank_weights, zero
from automl_ext.tasks.pruning.weight_reference import weight_references
from automl_ext.tasks.pruning.weight_space import (
    WeightObserver,
    cost_of,
    counts_of,
    parts_of,
    policy_of,
    share_space,
    target_of,
)
from automl_ext.tasks.pruning.weight_variation import WeightExchange
from torch import nn

from automl_ext.training import lent_seed


def mixed():
    """Every kind of layer: plain, grouped and depthwise convolutions, one with a multiplier, and a linear one."""
    layers = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, 12, 3, 1, 1, groups=12)]
    layers += [nn.Conv2d(12, 24, 1, groups=12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)]
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def network():
    with lent_seed(3):
        return mixed().eval()


@pytest.fixture(scope="module")
def layers(network):
    return tuple(counted_layers(network, torch.zeros(1, 1, 8, 8)).values())


@pytest.fixture(scope="module", params=[False, True], ids=["weights", "macs"])
def parts(network, layers, request):
    return parts_of(layers, nonzero(network, [layer.name for layer in layers]), None, (), request.param)


def removed(parts, candidate):
    return sum(part.cost for part in parts) - cost_of(parts, counts_of(parts, candidate))


def multiplied(network):
    """Products by weights that are not zero in one pass over an image of 8 x 8, layer by layer as it runs."""
    found = []

    def count(module, given, put):
        places = put.shape[2] * put.shape[3] if put.dim() == 4 else 1
        found.append(sum(places for value in module.weight.flatten().tolist() if value != 0))

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    network(torch.zeros(1, 1, 8, 8))
    for hook in hooks:
        hook.remove()
    return found


def test_multiply_accumulates_are_products_by_weights_that_are_not_zero(network, layers):
    """counted by brute force, for random policies within the budget and for the whole network"""
    parts = parts_of(layers, nonzero(network, [layer.name for layer in layers]), None, (), True)
    assert multiplied(network) == [part.cost for part in parts]
    space, rng, ranking = share_space(parts, 0.4, "macs_kept"), np.random.default_rng(4), rank_weights(network, "02348")
    for _ in range(10):
        counts, sparse = counts_of(parts, space.sample(rng)), copy.deepcopy(network)
        zero(sparse, masks_of(sparse, ranking, counts))
        assert multiplied(sparse) == [part.price * counts[part.name] for part in parts]
        assert sum(multiplied(sparse)) == cost_of(parts, counts) <= 0.4 * sum(multiplied(network))


def test_a_part_has_all_weights_of_its_layer(network, parts):
    modules = dict(network.named_modules())
    assert [part.name for part in parts] == ["0", "2", "3", "4", "8"]
    assert all(part.weights == modules[part.name].weight.numel() == part.most for part in parts)
    assert [part.least for part in parts] == [15, 44, 22, 5, 5]  # a fifth, 2 % of the linear one's, rounded up


@pytest.mark.parametrize("share", [0.21, 0.35, 0.5, 0.77])
def test_no_policy_removes_less_than_demanded(parts, share):
    """for any actions, final removed fraction >= alpha when feasible (fine-grained, up to one weight per layer)"""
    space, whole = share_space(parts, share), sum(part.cost for part in parts)
    rng = np.random.default_rng(0)
    for _ in range(60):
        candidate = space.sample(rng)
        assert removed(parts, candidate) >= (1 - share) * whole - 1e-6 and candidate in space
        assert all(part.least <= count for part, count in zip(parts, counts_of(parts, candidate).values(), strict=True))
    greedy = space.build(lambda walk: walk.declared.high)
    unused = removed(parts, greedy) - math.ceil((1 - share) * whole - 1e-6)
    assert 0 <= unused < max(part.price for part in parts)


def test_the_bound_is_the_papers(parts):
    """Algorithm 1 as written, in sparsity a, agrees with `narrow` to a weight a layer at every step"""
    a_max = {part.name: 1 - part.least / part.weights for part in parts}
    share, rng = 0.4, np.random.default_rng(1)
    space, total = share_space(parts, share), sum(part.cost for part in parts)
    bound = 0
    for _ in range(20):
        walk, reduced = space.walk(), 0.0
        for place, part in enumerate(parts):
            duty = (1 - share) * total - sum(a_max[later.name] * later.cost for later in parts[place + 1 :]) - reduced
            lowest = max(duty / part.cost, 0.0)
            share_now = 1 - part.least / part.weights
            if walk.path == part.name:
                assert 1 - walk.decision.high == pytest.approx(lowest, abs=1.01 / part.weights)
                bound += lowest > 0
                share_now = 1 - walk.choose(walk.decision.sample(rng))
            reduced += part.price * (part.weights - part.kept(1 - share_now))
    assert bound > 5


def test_infeasible_targets_raise_at_construction(parts):
    whole, least = sum(part.cost for part in parts), sum(part.price * part.least for part in parts)
    with pytest.raises(PruningError, match=f"weights_kept 0.1 cannot be reached: .*, {least / whole:.4g} remain"):
        share_space(parts, 0.1)
    with pytest.raises(PruningError, match=f"^macs_kept 0.1 cannot be reached: .*, {least / whole:.4g} remain"):
        share_space(parts, 0.1, "macs_kept")
    only = share_space(parts, least / whole).sample(np.random.default_rng(0))
    assert only == policy_of(parts, {part.name: part.least for part in parts})


def test_reduced_kept_own_and_rest_sum_to_the_total(parts):
    """reduced + rest + own FLOPs bookkeeping sums to the total at every step; state within [0,1]; shape (11,)"""
    space, observer = share_space(parts, 0.5), WeightObserver(parts)
    total, rng = sum(part.cost for part in parts), np.random.default_rng(2)
    for _ in range(10):
        walk, last = space.walk(), None
        while not walk.done:
            ledger = observer.ledger(walk.path, walk.candidate)
            assert ledger.reduced + ledger.kept + ledger.own + ledger.rest == total
            state = observer(walk)
            assert state.shape == (len(FEATURES),) == (11,) and (state >= 0).all() and (state <= 1).all()
            assert state[8] == np.float32(ledger.reduced / total)
            assert state[10] == np.float32(1.0 if last is None else walk.candidate[last])
            last = walk.path
            walk.choose(walk.decision.sample(rng))


def test_what_is_gone_at_the_start_cannot_be_kept(layers, network):
    present = {**nonzero(network, [layer.name for layer in layers]), "2": 60, "8": 3}
    later = parts_of(layers, present, None, ())
    assert [(part.least, part.most) for part in later] == [(15, 72), (44, 60), (22, 108), (5, 24), (3, 3)]
    space = share_space(later, 0.6)
    candidate = space.sample(np.random.default_rng(0))
    assert candidate["8"] == 3 / 240 and candidate["2"] <= 60 / 216
    assert removed(later, candidate) >= 0.4 * sum(part.weights for part in later)


def test_shares_that_mean_the_same_weights_are_one_candidate(parts):
    space = share_space(parts, 1.0)
    whole = {part.name: 1.0 for part in parts}
    assert space.key({**whole, "0": 0.5}) == space.key({**whole, "0": 36.4 / 72}) != space.key({**whole, "0": 37 / 72})


@pytest.mark.parametrize(
    ("high", "protect", "message"),
    [
        ({"conf": 0.5}, (), "high: 'conf' is no kind of layer; legal: conv, linear"),
        ({"conv": 1.5}, (), "high: conv must be a share from 0 to 1"),
        (None, ("first",), "protect: the network has no layer 'first'; legal: 0, 2, 3, 4, 8"),
        (None, ("0", "2", "3", "4", "8"), "nothing is left to prune"),
        ({"conv": 0.0, "linear": 0.0}, (), "nothing is left to prune"),
    ],
)
def test_bad_options(layers, high, protect, message):
    with pytest.raises(PruningError, match=message):
        parts_of(layers, dict.fromkeys([layer.name for layer in layers], 10**6), high, protect)


def test_protected_layers_are_left_out(layers):
    left = parts_of(layers, dict.fromkeys([layer.name for layer in layers], 10**6), {"conv": 0.5}, ("0", "4"))
    assert [(part.name, part.least) for part in left] == [("2", 108), ("3", 54), ("8", 5)]


def test_references_keep_what_the_target_allows(network, parts):
    dearest = max(part.price for part in parts)
    known = weight_references(network, parts, 0.5)
    assert list(known) == ["dense", "uniform", "global-magnitude"]
    assert known["dense"] == {part.name: 1.0 for part in parts} and known["dense"] not in share_space(parts, 0.5)
    space = share_space(parts, 0.5)
    assert known["uniform"] in space and known["global-magnitude"] in space
    assert known["uniform"] == pytest.approx({part.name: 0.5 for part in parts}, abs=0.05)
    every = torch.cat([network.get_submodule(part.name).weight.abs().flatten() for part in parts])
    counts = counts_of(parts, known["global-magnitude"])
    assert target_of(parts, 0.5) - cost_of(parts, counts) in range(3 * dearest)
    threshold = every.sort(descending=True).values[sum(counts.values()) - 1]
    above = {part.name: int((network.get_submodule(part.name).weight.abs() >= threshold).sum()) for part in parts}
    free = [part for part in parts if part.least < counts[part.name]]
    assert len(free) >= 3 and all(abs(above[part.name] - counts[part.name]) <= 12 for part in free)
    assert list(weight_references(None, parts, 1.0)) == [
        "dense",
        "uniform-0.75",
        "uniform-0.5",
        "uniform-0.25",
    ]


def test_exchange_moves_weights_and_stays_within_the_target(parts):
    space, target, dearest = share_space(parts, 0.5), target_of(parts, 0.5), max(part.price for part in parts)
    variation, rng = WeightExchange(space, parts, target), np.random.default_rng(5)
    genes = weight_references(None, parts, 0.5)["uniform"]
    changed = 0
    for _ in range(50):
        made = variation.mutate(genes, rng)
        before, after = counts_of(parts, genes), counts_of(parts, space.from_genes(made))
        moved = [name for name in before if before[name] != after[name]]
        changed += bool(moved)
        assert cost_of(parts, after) <= target and len(moved) in (1, 2)
        genes = made
    assert changed == 50 and target - cost_of(parts, after) in range(dearest)
