"""Networks, groups, MACs, removal and masking against independent oracles.

Properties of the AMC specification that are quoted here and in test_space.py, test_reconstruct.py, test_env.py:
left out are those of the agent (truncated normal, moving baseline: tests of the DDPG searcher), of fine-grained
pruning ("for any actions, final removed fraction >= alpha ... exactly, up to one weight per layer") and of the
accuracy-guaranteed reward ("reward monotone"), neither of which exists yet.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.evaluate import Recovery, slim
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.importance import rank_by_magnitude
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError, build, load_weights
from automl_ext.tasks.pruning.prepared import make
from automl_ext.tasks.pruning.prune import mask, remaining, remove
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_ext.training import lent_seed


class Dense(nn.Module):
    """Concatenation, a depthwise layer, a grouped layer, flatten before the classifier."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.depthwise = nn.Conv2d(14, 14, 3, padding=1, groups=14)
        self.point = nn.Conv2d(14, 12, 1)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.last = nn.Conv2d(12, 5, 3, stride=2, padding=1)
        self.linear = nn.Linear(5 * 16, 10)

    def forward(self, x):
        one = torch.relu(self.first(x))
        two = torch.sigmoid(self.second(one))
        x = torch.relu(self.depthwise(torch.cat([one, two], 1)))
        x = torch.relu(self.grouped(self.point(x)))
        return self.linear(torch.relu(self.last(x)).flatten(1))


def dense_network():
    return Dense()


class Inception(nn.Module):
    """Two branches of 4 and 8 channels, concatenated and added to the 12 that both read."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 6, 3, padding=1)
        self.thin, self.wide = nn.Conv2d(6, 4, 1), nn.Conv2d(12, 8, 3, padding=1)
        self.linear = nn.Linear(12, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = torch.cat([self.thin(torch.relu(self.inner(x))), self.wide(x)], 1)
        return self.linear(torch.relu(x + y).mean((2, 3)))


def flops(network, example):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return counter.get_total_flops()


@pytest.fixture(scope="module", params=["small", pytest.param("resnet20", marks=pytest.mark.slow), "dense"])
def case(request, small, resnet20):
    """(network, example, plan, ranking)"""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = Dense().eval(), torch.zeros(1, 1, 8, 8)
    network, example = {"small": small, "resnet20": resnet20, "dense": other}[request.param]
    plan = inspect(network, example)
    return network, example, plan, rank_by_magnitude(network, example, plan)


def policies(plan, count=6):
    rng = np.random.default_rng(0)
    drawn = [{group.name: int(rng.integers(1, group.channels + 1)) for group in plan.groups} for _ in range(count)]
    return [*drawn, {group.name: 1 for group in plan.groups}, {group.name: group.channels for group in plan.groups}]


def test_the_groups_of_the_small_network(small):
    groups = {group.name: group for group in inspect(*small).groups}
    assert list(groups) == [
        "conv1", "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.0.conv2", "layer2.1.conv1",
    ]  # fmt: skip
    assert groups["conv1"].writers == ("conv1", "layer1.0.conv2", "layer1.1.conv2")
    assert groups["layer2.0.conv2"].writers == ("layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv2")
    assert groups["layer2.0.conv2"].readers == ("layer2.1.conv1", "linear")


@pytest.mark.slow
def test_padded_shortcuts_keep_the_residual_stream_whole(resnet20):
    plan = inspect(*resnet20)
    assert [group.name for group in plan.groups] == [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in (0, 1, 2)]
    assert [group.channels for group in plan.groups] == [16] * 3 + [32] * 3 + [64] * 3
    stream = [f"layer{s}.{b}.conv2" for s in (1, 2, 3) for b in (0, 1, 2)]
    assert list(plan.skipped) == ["conv1", *stream, "linear"]
    assert all(plan.skipped[name] == f"coupled with conv1: {plan.skipped['conv1']}" for name in stream)


def test_grouped_layers_and_outputs_are_left_alone_with_a_reason(case):
    _, _, plan, _ = case
    assert "output" in plan.skipped["linear"]
    if "grouped" in {layer.name for layer in plan.layers}:
        assert [group.name for group in plan.groups] == ["first", "second", "last"]
        assert "grouped" in plan.skipped["point"]
        assert plan.layer("depthwise").reads.keys() == {"first", "second"}


@pytest.mark.slow
def test_counted_macs_equal_the_flop_counter_of_the_pruned_network(case):
    network, example, plan, ranking = case
    for counts in policies(plan):
        smaller = remove(network, example, remaining(ranking, counts))
        assert total_macs(plan, counts) * 2 == flops(smaller, example)


def test_masked_and_pruned_networks_agree(case):
    """masked (search) model and exported (really pruned) model give equal logits to 1e-5"""
    network, example, plan, ranking = case
    images = torch.randn((4, *example.shape[1:]), generator=torch.Generator().manual_seed(1))
    for counts in policies(plan):
        keep = remaining(ranking, counts)
        with torch.no_grad():
            pruned, masked = remove(network, example, keep)(images), mask(network, example, keep)(images)
        assert torch.allclose(pruned, masked, atol=1e-5, rtol=1e-5)


def test_kept_channels_hold_the_dense_weights(case):
    network, example, plan, ranking = case
    dense = dict(network.named_modules())
    for counts in policies(plan, 2):
        keep = remaining(ranking, counts)
        slim = dict(remove(network, example, keep).named_modules())
        for layer in plan.layers:
            wanted = dense[layer.name].weight[layer.kept_outputs(keep)]
            if layer.groups == 1:
                wanted = wanted[:, layer.kept_inputs(keep)]
            assert torch.equal(slim[layer.name].weight, wanted)


def test_no_layer_ends_with_no_channels_and_residual_shapes_stay_equal(small):
    plan = inspect(*small)
    ranking = rank_by_magnitude(*small, plan)
    smaller = dict(remove(*small, remaining(ranking, {group.name: 1 for group in plan.groups})).named_modules())
    for group in plan.groups:
        assert {smaller[name].out_channels for name in group.writers} == {1}


def test_groups_that_a_layer_has_only_a_part_of_are_left_alone():
    """with few of the 12 channels left, `thin` would have none"""
    with lent_seed(0):
        plan = inspect(Inception().eval(), torch.zeros(1, 1, 8, 8))
    assert [group.name for group in plan.groups] == ["inner"]
    assert plan.skipped["stem"] == "thin has a part of its channels only, and might be left with none"
    assert plan.skipped["thin"] == plan.skipped["wide"] == f"coupled with stem: {plan.skipped['stem']}"


def test_convolutions_that_are_not_counted_are_left_alone_with_what_is_coupled_to_them():
    with lent_seed(0):
        layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.ReLU(), nn.Conv2d(6, 4, 3)]
        network = nn.Sequential(*layers, nn.Flatten(2), nn.Conv1d(4, 5, 1), nn.Flatten(), nn.Linear(500, 10)).eval()
        with pytest.raises(PruningError, match=r"nothing to prune .* 6: a Conv1d; only 2-d"):
            inspect(network, torch.zeros(1, 1, 8, 8))
        network.insert(5, nn.Conv2d(4, 4, 1))
        plan = inspect(network, torch.zeros(1, 1, 8, 8))
    assert [group.name for group in plan.groups] == ["4"] and list(plan.skipped) == ["0", "5", "9", "2", "7"]
    assert plan.skipped["2"].startswith("a ConvTranspose2d; only 2-d")
    assert plan.skipped["0"] == f"coupled with 2, {plan.skipped['2']}"
    assert plan.skipped["5"] == f"coupled with 7, {plan.skipped['7']}"


def test_all_ones_preserve_is_the_dense_network_bit_for_bit(case):
    network, example, plan, ranking = case
    images = torch.randn((4, *example.shape[1:]), generator=torch.Generator().manual_seed(1))
    whole = remove(network, example, remaining(ranking, {group.name: group.channels for group in plan.groups}))
    with torch.no_grad():
        assert torch.equal(whole(images), network(images))


def test_pruning_leaves_the_dense_network_as_it_was_and_shares_no_state(case):
    """two pruners in one process share no state; reset restores all weights"""
    network, example, plan, ranking = case
    before = copy.deepcopy(network.state_dict())
    some, other = policies(plan, 2)[:2]
    first = remove(network, example, remaining(ranking, some)).state_dict()
    remove(network, example, remaining(ranking, other))
    again = remove(network, example, remaining(ranking, some)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not {value.data_ptr() for value in first.values()} & {value.data_ptr() for value in before.values()}


def test_the_ranking_is_by_summed_magnitude(small):
    network, example = copy.deepcopy(small[0]), small[1]
    with torch.no_grad():
        network.layer1[0].conv1.weight[5] *= 100
        network.layer1[1].conv2.weight[:, 7] *= 100
    ranking = rank_by_magnitude(network, example, inspect(network, example))
    assert ranking["layer1.0.conv1"][0] == 5
    assert ranking["layer1.1.conv1"][0] == 7
    assert sorted(ranking["conv1"]) == list(range(16))


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 17, -1, 2.5, True, None])
def test_illegal_counts_are_refused(small, count):
    plan = inspect(*small)
    ranking = rank_by_magnitude(*small, plan)
    counts = {group.name: group.channels for group in plan.groups}
    with pytest.raises(PruningError, match=r"conv1: .* legal: 1 to 16"):
        remaining(ranking, {**counts, "conv1": count})
    with pytest.raises(PruningError, match="no such group"):
        remaining(ranking, {**counts, "conv9": 3})


class Named(nn.Module):
    """Layers and norms that are called with their input by name."""

    def __init__(self):
        super().__init__()
        self.one, self.norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.two, self.linear = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.norm(input=self.one(input=x)))
        return self.linear(input=torch.relu(self.two(input=x) + x).mean((2, 3)))


def test_layers_may_be_called_by_name():
    with lent_seed(0):
        network, images = Named().eval(), torch.randn(12, 1, 8, 8)
    plan, labels = inspect(network, images[:1]), torch.zeros(12, dtype=torch.long)
    assert [group.name for group in plan.groups] == ["one"] and plan.layer("one").size == (8, 8)
    options = {"importance": "magnitude", "points": 4, "ridge": 0.1, "generator": torch.Generator().manual_seed(0)}
    made = make(network, plan, images, labels, **options)
    assert made.flow.sums.keys() == {"two"}
    smaller = slim(made, {"one": 4}, Recovery("sequential", True, 0.1, False))
    assert smaller.one.bias is None and smaller(images).shape == (12, 10)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.linear = nn.Linear(4, 10)

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        return self.linear(x) if x.sum() > 1e9 else self.linear(x * 2)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(self.conv(x))


def test_networks_that_cannot_be_pruned_are_refused_in_one_line():
    cases = [
        (nn.Linear(64, 10), torch.zeros(1, 64), "nothing to prune"),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), torch.zeros(1, 1, 8, 8), "does not trace|nothing to prune"),
        (nn.Conv2d(3, 8, 3), torch.zeros(1, 1, 8, 8), "does not run"),
        (Twice(), torch.zeros(1, 1, 8, 8), "more than once"),
    ]
    for network, example, message in cases:
        with pytest.raises(PruningError, match=message) as caught:
            inspect(network, example)
        assert "\n" not in str(caught.value)


def test_names_that_lead_nowhere_are_refused_in_one_line():
    for name, message in {
        "resnet21": "unknown: give one of mobilenet-v1, .*, small, vgg16-bn, package.module:function, or an exp",
        "no.such:thing": "cannot be imported",
        "math:nothing": "cannot be imported",
        "math:pi": "could not be built",
        "os:getcwd": "gave a str",
    }.items():
        with pytest.raises(PruningError, match=message) as caught:
            build(name, 1, 10)
        assert "\n" not in str(caught.value)


def test_weights_load_from_both_formats_and_wrong_ones_are_refused(tmp_path, small):
    from safetensors.torch import save_file

    network = small[0]
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in state.items()})
    for file in ("w.safetensors", "w.npz"):
        fresh = build("small", 1, 10)
        load_weights(fresh, str(tmp_path / file))
        assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in state.items())
    save_file({**state, "linear.weight": torch.zeros(7, 32)}, tmp_path / "shape.safetensors")
    save_file({**state, "extra": torch.zeros(1)}, tmp_path / "extra.safetensors")
    save_file({name: value for name, value in state.items() if name != "linear.bias"}, tmp_path / "less.safetensors")
    (tmp_path / "junk.npz").write_bytes(b"\x00junk")
    (tmp_path / "junk.safetensors").write_bytes(b"\x00junk")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    for file, message in {
        "shape.safetensors": r"linear.weight has shape \(7, 32\), the network wants \(10, 32\)",
        "extra.safetensors": "has no extra",
        "less.safetensors": "linear.bias is missing",
        "junk.npz": "not readable",
        "junk.safetensors": "not readable",
        "objects.npz": "not readable",
        "none.npz": "no such file",
    }.items():
        with pytest.raises(PruningError, match=message) as caught:
            load_weights(build("small", 1, 10), str(tmp_path / file))
        assert "\n" not in str(caught.value)
