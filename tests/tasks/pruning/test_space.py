"""Algorithm 1 as `narrow`, the state, uniform counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.macs import layer_macs, most, total_macs, uniform
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.space import FEATURES, Observer, keep_space, options
from automl_ext.tasks.pruning.variation import ExchangeVariation
from torch import nn


@pytest.fixture(scope="module", params=["small", pytest.param("resnet20", marks=pytest.mark.slow)])
def plan(request, small, resnet20):
    return inspect(*{"small": small, "resnet20": resnet20}[request.param])


@pytest.mark.parametrize(("share", "round_to", "low"), [(0.5, 1, 1), (0.3, 2, 2), (0.5, 8, 0.2), (0.7, 4, 0.25)])
def test_no_policy_exceeds_the_target(plan, share, round_to, low):
    """channel version: final FLOPs <= target within one rounding step (here: never above it)"""
    target = share * total_macs(plan, {})
    legal = options(plan, round_to, low)
    space = keep_space(plan, legal, target)
    rng = np.random.default_rng(0)
    for _ in range(40):
        candidate = space.sample(rng)
        assert total_macs(plan, candidate) <= target
        assert all(candidate[name] in legal[name] and candidate[name] % round_to == 0 for name in candidate)
        assert candidate in space
    greedy = space.build(lambda walk: walk.decision.high)
    assert total_macs(plan, greedy) <= target


def test_the_bound_is_tight(plan):
    """The largest legal count stays within the target with all later groups at their least; one step more does not."""
    target = 0.5 * total_macs(plan, {})
    legal = options(plan, 1, 1)
    space = keep_space(plan, legal, target)
    rng = np.random.default_rng(1)
    for _ in range(20):
        walk = space.walk()
        while not walk.done:
            counts = {**{name: values[0] for name, values in legal.items()}, **walk.candidate}
            high = walk.decision.high
            assert total_macs(plan, {**counts, walk.path: high}) <= target
            if high < legal[walk.path][-1]:
                assert total_macs(plan, {**counts, walk.path: high + 1}) > target
            walk.choose(walk.decision.sample(rng))


def test_infeasible_targets_raise_at_construction(plan):
    legal = options(plan, 1, 0.5)
    least = {name: values[0] for name, values in legal.items()}
    reachable = total_macs(plan, least) / total_macs(plan, {})
    with pytest.raises(PruningError, match=f"{reachable:.4g} remain"):
        keep_space(plan, legal, (reachable - 1e-3) * total_macs(plan, {}))
    only = keep_space(plan, legal, total_macs(plan, least))
    assert only.sample(np.random.default_rng(0)) == least


def test_reduced_kept_own_and_rest_sum_to_the_total(plan):
    """reduced + rest + own FLOPs bookkeeping sums to the total at every step; state within [0,1]; shape (11,)"""
    total = total_macs(plan, {})
    space = keep_space(plan, options(plan, 1, 1), 0.5 * total)
    observer = Observer(plan)
    rng = np.random.default_rng(2)
    for _ in range(10):
        walk = space.walk()
        before = 0
        while not walk.done:
            ledger = observer.ledger(walk.path, walk.candidate)
            assert ledger.reduced + ledger.kept + ledger.own + ledger.rest == total
            assert min(ledger.reduced, ledger.kept, ledger.own, ledger.rest) >= 0
            assert ledger.reduced >= before
            before = ledger.reduced
            state = observer(walk)
            assert state.shape == (11,) == (len(FEATURES),) and state.dtype == np.float32
            assert (state >= 0).all() and (state <= 1).all()
            last = walk.path
            walk.choose(walk.decision.sample(rng))
        candidate = walk.candidate
        assert last == plan.groups[-1].name or candidate[plan.groups[-1].name] is not None


def test_the_state_tells_steps_apart(plan):
    space = keep_space(plan, options(plan, 1, 1), 0.9 * total_macs(plan, {}))
    observer = Observer(plan)
    walk = space.walk()
    states = []
    while not walk.done:
        states.append(observer(walk))
        walk.choose(1 + len(states))
    table = np.array(states)
    assert (np.diff(table[:, FEATURES.index("t")]) > 0).all()
    assert (np.diff(table[:, FEATURES.index("reduced")]) >= 0).all()
    assert (np.diff(table[:, FEATURES.index("rest")]) <= 0).all()
    assert table[0, FEATURES.index("before")] == 1
    assert table[1, FEATURES.index("before")] == pytest.approx(2 / plan.groups[0].channels)


@pytest.mark.slow
def test_options_follow_round_to_and_low(small):
    plan = inspect(*small)
    assert options(plan, 1, 1)["conv1"] == range(1, 17)
    assert options(plan, 4, 1)["conv1"] == range(4, 17, 4)
    assert options(plan, 4, 5)["conv1"] == range(8, 17, 4)
    assert options(plan, 1, 0.2)["conv1"] == range(4, 17)
    assert options(plan, 32, 1)["conv1"] == range(16, 17)
    assert options(plan, 1, 99)["conv1"] == range(16, 17)
    for round_to, low in ((0, 1), (1, 0), (1, -2), (1, float("nan"))):
        with pytest.raises(PruningError):
            options(plan, round_to, low)


def test_high_bounds_what_may_go_by_the_kind_of_layer():
    layers = [nn.Conv2d(1, 10, 3), nn.Conv2d(10, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 100)]
    plan = inspect(nn.Sequential(*layers, nn.ReLU(), nn.Linear(100, 10)).eval(), torch.zeros(1, 1, 8, 8))
    assert [plan.layer(group.name).kind for group in plan.groups] == ["conv", "conv", "linear"]
    amax = {"conv": 0.8, "linear": 0.98}
    legal = options(plan, 1, 1, amax)
    assert legal == {"0": range(2, 11), "1": range(4, 17), "4": range(2, 101)}
    assert options(plan, 1, 1, {"conv": 0.0})["1"] == range(16, 17)
    assert options(plan, 1, 1, {"linear": 1.0})["4"] == range(1, 101)
    assert options(plan, 4, 1, amax) == {"0": range(4, 11, 4), "1": range(4, 17, 4), "4": range(4, 101, 4)}
    assert options(plan, 1, 0.5, amax)["0"] == range(5, 11)  # the larger floor holds
    for high, message in (
        ({"dense": 0.8}, "high: 'dense' is no kind of layer; legal: conv, linear"),
        ({"conv": 1.2}, "high: conv must be a share from 0 to 1, not 1.2"),
    ):
        with pytest.raises(PruningError, match=message):
            options(plan, 1, 1, high)


@pytest.mark.slow
def test_protected_layers_keep_their_inputs_and_outputs(small):
    plan = inspect(*small)
    legal = options(plan, 8, 1, None, ["layer1.0.conv2"])
    for group in plan.groups:
        touched = "layer1.0.conv2" in (*group.writers, *group.readers)
        assert (legal[group.name] == range(group.channels, group.channels + 1)) == touched
    space = keep_space(plan, legal, 0.8 * total_macs(plan, {}))
    layer = plan.layer("layer1.0.conv2")
    rng = np.random.default_rng(0)
    for _ in range(5):
        counts = space.sample(rng)
        assert layer_macs(layer, counts) == layer_macs(layer, {})
    with pytest.raises(PruningError, match=r"protect: the network has no layer 'conv9'; legal: conv1, layer1.0.conv1,"):
        options(plan, 1, 1, None, ["conv1", "conv9"])
    with pytest.raises(PruningError, match="protect leaves nothing to prune"):
        options(plan, 1, 1, None, [layer.name for layer in plan.layers])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
def test_uniform_is_the_largest_common_share(plan, share):
    target = share * total_macs(plan, {})
    counts = uniform(plan, options(plan, 1, 1), target)
    assert total_macs(plan, counts) <= target
    shares = [counts[group.name] / group.channels for group in plan.groups]
    assert max(shares) - min(shares) <= 1 / min(group.channels for group in plan.groups)
    more = {group.name: min(counts[group.name] + 1, group.channels) for group in plan.groups}
    assert total_macs(plan, more) > target or share == 1.0


@pytest.mark.parametrize("round_to", [1, 3, 8])
def test_uniform_is_what_trying_every_share_gives_at_a_few_counts_of_macs(plan, round_to):
    legal = options(plan, round_to, 0.2)
    target = 0.4 * total_macs(plan, {})
    tried = []
    for share in np.linspace(0, 1, 2001):
        nearest = {
            group.name: min(legal[group.name], key=lambda count: (abs(count - share * group.channels), -count))
            for group in plan.groups
        }
        tried.append(total_macs(plan, nearest))
    calls = []
    found = uniform(plan, legal, target, lambda *given: calls.append(1) or total_macs(*given))
    assert total_macs(plan, found) == max(count for count in tried if count <= target)
    assert 0 < len(calls) <= 12  # the widest network here has hundreds of shares to choose from


@pytest.mark.slow
def test_mutation_exchanges_macs_between_two_groups(plan):
    target = 0.5 * total_macs(plan, {})
    legal = options(plan, 2, 2)
    space = keep_space(plan, legal, target)
    variation = ExchangeVariation(space, plan, legal, target)
    rng = np.random.default_rng(3)
    genes = variation.sample(rng)
    for _ in range(60):
        child = variation.mutate(genes, rng)
        assert space.from_genes(child) == child and child in space
        fewer = [name for name in child if child[name] < genes[name]]
        more = [name for name in child if child[name] > genes[name]]
        assert len(fewer) <= 1 and len(more) <= 1
        assert child != genes or min(genes.values()) == 2
        for name in more:  # it takes all that the target allows
            assert child[name] == most(plan, child, name, legal[name], target)
        genes = child
    assert variation.mutate(genes, np.random.default_rng(5)) == variation.mutate(genes, np.random.default_rng(5))


@pytest.mark.slow
def test_mutation_of_a_single_movable_group_is_the_generic_one(small):
    plan = inspect(*small)
    legal = {name: range(values[-1], values[-1] + 1) for name, values in options(plan, 1, 1).items()}
    legal["conv1"] = range(1, 17)
    space = keep_space(plan, legal, total_macs(plan, {}))
    variation = ExchangeVariation(space, plan, legal, total_macs(plan, {}))
    genes = variation.sample(np.random.default_rng(0))
    assert variation.mutate(genes, np.random.default_rng(1))["conv1"] != genes["conv1"]
