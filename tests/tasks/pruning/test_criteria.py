"""Rankings by torch-pruning's criteria against scores computed by hand."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from automl_ext.tasks.pruning.criteria import CRITERIA, check_criterion, rank_by_criterion
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.network import NETWORKS, PruningError
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from automl_ext.data import normalise

EXAMPLE = torch.zeros(1, 1, 8, 8)


class Tiny(nn.Module):
    """Two convolutions, with batch norms where `norm` says so, and a classifier behind a flatten."""

    def __init__(self, norm=True, wide=12, narrow=8):
        super().__init__()
        self.first = nn.Conv2d(1, wide, 3, padding=1)
        self.norm = nn.BatchNorm2d(wide) if norm else nn.Identity()
        self.second = nn.Conv2d(wide, narrow, 3, stride=4, padding=1)
        self.last = nn.BatchNorm2d(narrow) if norm else nn.Identity()
        self.drop = nn.Dropout(0.5)
        self.linear = nn.Linear(narrow * 4, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.linear(self.drop(torch.relu(self.last(self.second(x))).flatten(1)))


def seeded(**sizes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Tiny(**sizes).eval()
        for norm in (network.norm, network.last):
            nn.init.normal_(norm.weight)
            norm.running_mean.normal_(0, 0.1)
    return network


@pytest.fixture
def tiny():
    return seeded()


@pytest.fixture(scope="module")
def images():
    return torch.randn(150, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def labels():
    return torch.randint(10, (150,), generator=torch.Generator().manual_seed(2))


def order(score):
    return score.argsort(descending=True, stable=True).tolist()


def rank(name, network, images, labels, example=EXAMPLE):
    return rank_by_criterion(name, network, example, inspect(network, example), images, labels)


def test_l2_is_the_norm_of_all_weights_of_a_channel(tiny, images, labels):
    first, second, linear = (layer.weight.detach() for layer in (tiny.first, tiny.second, tiny.linear))
    wanted = {
        "first": [torch.cat([first[c].flatten(), second[:, c].flatten()]).norm() for c in range(12)],
        "second": [torch.cat([second[c].flatten(), linear[:, 4 * c : 4 * c + 4].flatten()]).norm() for c in range(8)],
    }
    assert rank("l2", tiny, images, labels) == {name: order(torch.stack(score)) for name, score in wanted.items()}


def test_l2_weighs_one_large_weight_more_than_l1_does(tiny, images, labels):
    with torch.no_grad():
        for layer in (tiny.first.weight, tiny.second.weight.transpose(0, 1)):
            layer[:] = 0.1
        tiny.first.weight[4] = 0
        tiny.first.weight[4, 0, 1, 1] = 0.8  # L1 0.8 beside 0.9, squares 0.64 beside 0.09
    assert rank("l2", tiny, images, labels)["first"][0] == 4
    from automl_ext.tasks.pruning.importance import rank_by_magnitude

    assert rank_by_magnitude(tiny, EXAMPLE, inspect(tiny, EXAMPLE))["first"][-1] == 4


def test_bn_scale_is_the_absolute_gamma(tiny, images, labels):
    wanted = {"first": order(tiny.norm.weight.detach().abs()), "second": order(tiny.last.weight.detach().abs())}
    assert float(tiny.norm.weight.detach().min()) < 0
    assert rank("bn-scale", tiny, images, labels) == wanted


@pytest.mark.slow
def test_coupled_layers_are_ranked_by_the_mean_of_their_gammas(small, images, labels):
    network = small[0]
    norms = [network.bn1, network.layer1[0].bn2, network.layer1[1].bn2]
    wanted = order(sum(norm.weight.detach().abs() for norm in norms))
    assert rank("bn-scale", network, images, labels)["conv1"] == wanted


@pytest.mark.slow
def test_taylor_is_weight_times_gradient_of_the_mean_loss(images, labels):
    """The gradients are central differences of the loss, in float64, each weight on its own."""
    tiny, images, labels = seeded(wide=5, narrow=2), images[:110], labels[:110]  # two batches
    twin = copy.deepcopy(tiny).double()

    def loss():
        with torch.no_grad():
            return float(functional.cross_entropy(twin(images.double()), labels))

    def terms(weight):
        flat, found = weight.data.view(-1), []
        for place in range(len(flat)):
            value = float(flat[place])
            flat[place] = value + 1e-5
            above = loss()
            flat[place] = value - 1e-5
            found.append(abs(value * (above - loss()) / 2e-5))
            flat[place] = value
        return torch.tensor(found, dtype=torch.float64).view_as(weight)

    first, second = terms(twin.first.weight), terms(twin.second.weight)
    wanted = order(first.sum((1, 2, 3)) + second.sum((0, 2, 3)))
    assert rank("taylor", tiny, images, labels)["first"] == wanted


@pytest.mark.slow
def test_taylor_depends_on_the_labels_and_puts_dead_channels_last(tiny, images, labels):
    found = rank("taylor", tiny, images, labels)
    assert found != rank("taylor", tiny, images, labels.flip(0))
    with torch.no_grad():
        tiny.norm.weight[5] = 0
        tiny.norm.bias[5] = -1  # its relu is shut: no gradient, however large its weights are
        tiny.first.weight[5] = tiny.second.weight[:, 5] = 9
    assert rank("taylor", tiny, images, labels)["first"][-1] == 5
    assert rank("l2", tiny, images, labels)["first"][0] == 5


def test_geometric_median_is_the_sum_of_distances_between_filters(tiny, images, labels):
    first, second = tiny.first.weight.detach().flatten(1), tiny.second.weight.detach().transpose(0, 1).flatten(1)
    score = [
        sum((layer[c] - layer[other]).norm() for layer in (first, second) for other in range(12)) for c in range(12)
    ]
    assert rank("geometric-median", tiny, images, labels)["first"] == order(torch.stack(score))


def test_geometric_median_puts_copies_last_and_negatives_first(tiny, images, labels):
    with torch.no_grad():
        for layer in (tiny.first.weight, tiny.second.weight.transpose(0, 1)):
            layer[3:10] = layer[2].clone()  # eight of twelve the same: that is where the median lies
            layer[0] = -layer[2]
    found = rank("geometric-median", tiny, images, labels)["first"]
    assert sorted(found[-8:]) == list(range(2, 10)) and 0 in found[:4]


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITERIA)
def test_rankings_are_permutations_that_repeat_and_leave_the_network_alone(name, small, images, labels):
    network, example = copy.deepcopy(small[0]), small[1]
    plan = inspect(network, example)
    network.conv1.weight.grad = torch.ones_like(network.conv1.weight)
    network.linear.weight.requires_grad_(False)
    network.train()
    before = copy.deepcopy(network.state_dict())
    found = rank_by_criterion(name, network, example, plan, images, labels)
    assert {group.name: list(range(group.channels)) for group in plan.groups} == {
        name: sorted(ranked) for name, ranked in found.items()
    }
    assert rank_by_criterion(name, network, example, plan, images, labels) == found
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert torch.equal(network.conv1.weight.grad, torch.ones_like(network.conv1.weight))
    assert [key for key, value in network.named_parameters() if value.grad is not None] == ["conv1.weight"]
    assert [key for key, value in network.named_parameters() if not value.requires_grad] == ["linear.weight"]


@pytest.mark.parametrize("name", ["l2", "taylor", "geometric-median"])
def test_channels_are_followed_through_a_concatenation(name, images, labels):
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(1, 6, 3, padding=1)
            self.two = nn.Conv2d(6, 5, 3, padding=1)
            self.linear = nn.Linear(11, 10)

        def forward(self, x):
            one = torch.relu(self.one(x))
            return self.linear(torch.cat([one, torch.relu(self.two(one))], 1).mean((2, 3)))

    network = Joined().eval()
    with torch.no_grad():  # what reads a channel decides alone
        network.two.weight[:] = 0
        network.two.bias[:] = 0.1
        network.one.weight[:] = network.one.weight[:1].abs()
        network.one.bias[:] = 0
        scale = torch.tensor([2.0, 5, 1, 4, 6, 3, 50, 10, 40, 20, 30])
        network.linear.weight[:] = torch.linspace(-1, 1, 10)[:, None] * scale
    found = rank(name, network, images.abs(), labels)
    if name != "geometric-median":
        assert found == {"one": [4, 1, 3, 5, 0, 2], "two": [0, 2, 4, 3, 1]}
    else:  # furthest from the others: the largest; nearest to them: the middle ones
        assert found["one"][0] in (4, 2) and found["two"][-1] == 4


def test_groups_without_batch_norm_are_named_before_anything_is_trained(tiny):
    check_criterion("bn-scale", tiny, EXAMPLE, inspect(tiny, EXAMPLE))
    tiny.last = nn.BatchNorm2d(8, affine=False).eval()
    plan = inspect(tiny, EXAMPLE)
    with pytest.raises(PruningError, match=r"no batch norm with a scale in second; give another .*magnitude") as caught:
        check_criterion("bn-scale", tiny, EXAMPLE, plan)
    assert "\n" not in str(caught.value)
    bare = Tiny(norm=False).eval()
    with pytest.raises(PruningError, match="in first, second; "):
        check_criterion("bn-scale", bare, EXAMPLE, inspect(bare, EXAMPLE))
    with pytest.raises(PruningError, match=r"importance must be one of magnitude, .*, not 'l3'"):
        check_criterion("l3", tiny, EXAMPLE, plan)


def test_scores_that_are_not_finite_are_refused(tiny, images, labels):
    with torch.no_grad():
        tiny.first.weight[3] = torch.inf
    with pytest.raises(PruningError, match="scores of group first are not finite"):
        rank_by_criterion("l2", tiny, EXAMPLE, inspect(Tiny().eval(), EXAMPLE), images, labels)


@pytest.mark.slow
def test_the_environment_refuses_or_stores_the_ranking(tmp_path, monkeypatch):
    (tmp_path / "bare_networks.py").write_text(
        "from torch import nn\n"
        "def network():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))\n"
    )
    monkeypatch.setitem(NETWORKS, "tiny", lambda channels, classes: seeded())
    monkeypatch.syspath_prepend(str(tmp_path))
    save_file(seeded().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(PruningError, match="scale in 0; "):
        PruningEnv("bare_networks:network", importance="bn-scale")
    stored = {}
    for name in ("bn-scale", "taylor"):
        env = PruningEnv("tiny", str(tmp_path / "w.safetensors"), importance=name)
        env.prepare(tmp_path)
        stored[name] = json.loads((tmp_path / "prepared.json").read_text())["ranking"]
    assert stored["bn-scale"]["first"] == order(seeded().norm.weight.detach().abs())
    chosen = torch.randperm(len(env.data.train), generator=torch.Generator().manual_seed(0))[:500]
    some = normalise(env.data.train.image[chosen], env.data.mean, env.data.std)
    assert rank("taylor", seeded(), some, env.data.train.label[chosen]) == stored["taylor"]
