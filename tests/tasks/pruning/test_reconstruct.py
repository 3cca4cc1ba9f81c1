"""Calibration, least squares, rankings, batch-norm re-estimation."""

from __future__ import annotations

import copy

import pytest
import torch
from automl_ext.tasks.pruning.calibration import patches, sampled
from automl_ext.tasks.pruning.evaluate import Recovery, slim
from automl_ext.tasks.pruning.flow import read, run
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.prepared import load, make, save
from automl_ext.tasks.pruning.prune import remaining, remove
from automl_ext.tasks.pruning.reconstruct import fit, reconstruct, reconstruct_by_gram, reestimate_norms, solve
from torch.nn import functional

from automl_ext.training import lent_seed

NOTHING = Recovery("none", False, 0.1, False)


@pytest.fixture(scope="module", params=["small", pytest.param("resnet20", marks=pytest.mark.slow)])
def prepared(request, small, resnet20):
    network, example = {"small": small, "resnet20": resnet20}[request.param]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((32, *example.shape[1:]), generator=generator)
    options = {"importance": "reconstruction", "points": 10, "ridge": 0.1, "generator": generator}
    return make(network, inspect(network, example), images, torch.zeros(32, dtype=torch.long), **options)


def half(plan):
    return {group.name: group.channels // 2 for group in plan.groups}


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (1, 2, 0, 1), (3, 2, 0, 2)])
def test_patches_times_weights_are_the_convolution(kernel, stride, padding, dilation):
    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Conv2d(5, 7, kernel, stride, padding, dilation, bias=True)
    inputs = torch.randn(3, 5, 9, 11, generator=generator)
    with torch.no_grad():
        maps = module(inputs)
        places = torch.randint(maps[0, 0].numel(), (3, 6), generator=generator)
        rows = patches(inputs, module, places)
        outputs = functional.linear(rows, module.weight.flatten(1), module.bias)
    assert rows.shape == (18, 5 * kernel * kernel)
    assert torch.allclose(outputs, sampled(maps, places), atol=1e-5)


def test_solve_is_ordinary_least_squares_without_ridge():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 12, generator=generator, dtype=torch.float64)
    wanted = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    change = solve(rows.T @ rows, rows.T @ wanted, 0.0)
    assert torch.allclose(change, torch.linalg.lstsq(rows, wanted).solution, atol=1e-8)
    twins = torch.cat([rows, rows], 1)  # dependent columns
    assert torch.isfinite(solve(twins.T @ twins, twins.T @ wanted, 0.0)).all()


@pytest.mark.parametrize("ridge", [0.0, 0.1, 10.0])
def test_fewer_points_than_inputs_are_solved_by_their_own_products(ridge):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 12, generator=generator, dtype=torch.float64)
    rows = rows - rows.mean(0)
    wanted = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    wanted = wanted - wanted.mean(0)
    change = fit(rows, wanted, ridge)
    assert torch.allclose(change, solve(rows.T @ rows, rows.T @ wanted, ridge), atol=1e-8)
    if not ridge:
        assert torch.allclose(rows @ change, wanted, atol=1e-8)


@pytest.mark.slow
def test_gram_matrices_are_only_made_where_they_are_needed(small):
    network, example = small
    images = torch.randn((8, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    made = []
    for importance, wanted in (("magnitude", False), ("reconstruction", False), ("magnitude", True)):
        options = {"points": 4, "ridge": 0.1, "generator": torch.Generator().manual_seed(0), "with_grams": wanted}
        made.append(
            make(
                network,
                inspect(network, example),
                images,
                torch.zeros(8, dtype=torch.long),
                importance=importance,
                **options,
            )
        )
    assert not made[0].grams and not made[1].grams and made[2].grams.keys() == made[2].dense.outputs.keys() - {"conv1"}
    assert made[0].ranking == made[2].ranking != made[1].ranking


@pytest.mark.slow
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.1, 10.0])
@pytest.mark.parametrize("refit", [False, True])
def test_no_layer_gets_worse_than_by_plain_zeroing(prepared, ridge, refit):
    """reconstruction never raises the layer's squared error compared with plain zeroing on the calibration points"""
    keep = remaining(prepared.ranking, half(prepared.plan))
    plain = dict(remove(prepared.network, prepared.example, keep).named_modules())
    smaller = remove(prepared.network, prepared.example, keep)
    reconstruct(smaller, prepared.flow, prepared.plan, keep, prepared.dense, ridge=ridge, refit=refit)
    modules = dict(smaller.named_modules())
    solved = []

    def before(name, module, inputs, values):
        outputs = prepared.plan.layer(name).kept_outputs(keep)
        places, wanted = prepared.dense.places[name], prepared.dense.outputs[name][:, outputs]
        scale, owed = torch.ones(len(outputs)), 0.0
        if name in prepared.flow.sums:  # the error of the whole sum is what counts there
            end = prepared.flow.sums[name]
            scale = modules[end.norm].weight / (modules[end.norm].running_var + modules[end.norm].eps).sqrt()
            owed = prepared.dense.partners[name][:, outputs] - sampled(values[end.partner], places)
        rows = patches(inputs, module, places)
        errors = []
        for layer in (module, plain[name]):
            got = functional.linear(rows, layer.weight.flatten(1), layer.bias)
            errors.append(float((((got - wanted) * scale - owed) ** 2).sum()))
        assert errors[0] <= errors[1] * (1 + 1e-4) + 1e-6
        if not torch.equal(module.weight, plain[name].weight):
            solved.append(name)

    run(smaller, prepared.flow, prepared.dense.images, before)
    readers = [layer.name for layer in prepared.plan.layers if layer.reads]
    assert set(solved) >= set(readers) and (refit or set(solved) == set(readers))


def test_gram_never_raises_the_error_on_the_dense_inputs(prepared):
    keep = remaining(prepared.ranking, half(prepared.plan))
    plain = dict(remove(prepared.network, prepared.example, keep).named_modules())
    smaller = remove(prepared.network, prepared.example, keep)
    reconstruct_by_gram(smaller, prepared.plan, keep, prepared.grams, ridge=0.1)
    solved = dict(smaller.named_modules())
    better = []

    def before(name, module, inputs, values):
        if name not in prepared.grams:
            return
        layer = prepared.plan.layer(name)
        wanted = prepared.dense.outputs[name][:, layer.kept_outputs(keep)]
        rows = patches(inputs, module, prepared.dense.places[name])
        rows = rows.view(len(rows), layer.inputs, -1)[:, layer.kept_inputs(keep)].flatten(1)
        errors = []
        for way in (solved[name], plain[name]):
            errors.append(float(((functional.linear(rows, way.weight.flatten(1), way.bias) - wanted) ** 2).sum()))
        assert errors[0] <= errors[1] * (1 + 1e-4)
        better.append(errors[0] < 0.9 * errors[1])

    run(prepared.network, prepared.flow, prepared.dense.images, before)
    assert all(better)


def test_reconstruction_brings_the_outputs_nearer_to_the_dense_ones(prepared):
    counts = {group.name: max(1, group.channels * 3 // 4) for group in prepared.plan.groups}
    with torch.no_grad():
        wanted = prepared.network(prepared.dense.images)
        errors = {}
        for name, recovery in {
            "none": NOTHING,
            "gram": Recovery("gram", False, 0.1, False),
            "sequential": Recovery("sequential", False, 0.1, False),
            "refit": Recovery("sequential", True, 0.1, False),
        }.items():
            errors[name] = float((slim(prepared, counts, recovery)(prepared.dense.images) - wanted).square().mean())
    assert max(errors["refit"], errors["sequential"], errors["gram"]) < errors["none"]


def test_nothing_changes_where_everything_is_kept(prepared):
    whole = {group.name: group.channels for group in prepared.plan.groups}
    state = slim(prepared, whole, Recovery("sequential", True, 0.1, True)).state_dict()
    assert state.keys() == prepared.network.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in prepared.network.state_dict().items())


def test_an_evaluation_is_repeatable_and_leaves_the_shared_state_alone(prepared):
    before = copy.deepcopy(prepared.network.state_dict())
    recovery = Recovery("sequential", True, 0.1, True)
    first = slim(prepared, half(prepared.plan), recovery).state_dict()
    slim(prepared, dict.fromkeys(half(prepared.plan), 1), recovery)
    second = slim(prepared, half(prepared.plan), recovery).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(value, before[name]) for name, value in prepared.network.state_dict().items())


def test_sums_are_found_with_what_they_need_ahead_of_them(prepared):
    flow = read(prepared.network)
    assert set(flow.sums) >= {"layer1.0.conv2", "layer2.1.conv2"}
    with torch.no_grad():
        same = run(prepared.network, flow, prepared.dense.images, lambda *_: None)
        assert torch.allclose(same, prepared.network(prepared.dense.images), atol=1e-5)


class Broadcasting(torch.nn.Module):
    """Sums of a map and a number a channel, a map and the same for all images, a map and a number, and of two maps."""

    def __init__(self):
        super().__init__()
        self.first, self.gate = torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 1)
        self.inner = torch.nn.ModuleList(torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(4))
        self.place = torch.nn.Parameter(torch.ones(1, 8, 1, 1))
        self.linear = torch.nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.inner[0](x) + self.gate(x.mean((2, 3), keepdim=True)))
        x = torch.relu(self.inner[1](x) + self.place.expand(-1, -1, 8, 8))
        x = torch.relu(self.inner[2](x) + 0 * x.shape[0])
        return self.linear(torch.relu(self.inner[3](x) + x).mean((2, 3)))


@pytest.mark.parametrize("reconstruction", ["sequential", "gram", "none"])
def test_sums_that_broadcast_are_recovered_by_the_layer_alone(reconstruction):
    images = torch.randn((24, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    with lent_seed(0):
        network = Broadcasting().eval()
    plan, labels = inspect(network, images[:1]), torch.zeros(24, dtype=torch.long)
    options = {"importance": "magnitude", "points": 4, "ridge": 0.1, "generator": torch.Generator().manual_seed(0)}
    made = make(network, plan, images, labels, **options)
    assert set(made.flow.sums) == {"gate", "inner.1", "inner.2", "inner.3"}
    assert set(made.dense.partners) == {"inner.3"}
    counts = {group.name: group.channels - 1 for group in plan.groups}
    with torch.no_grad():
        wanted = network(images)
        errors = [float((slim(made, counts, Recovery(kind, True, 0.1, False))(images) - wanted).square().mean())
                  for kind in (reconstruction, "none")]  # fmt: skip
    assert errors[0] < errors[1] or reconstruction == "none"


@pytest.mark.slow
def test_rankings_by_reconstruction_put_copies_last(small):
    """A channel that another one can stand in for is dispensable, however large its weights are."""
    network, example = copy.deepcopy(small[0]), small[1]
    block = network.layer1[0]
    with torch.no_grad():
        for tensor in (block.conv1.weight, block.bn1.weight, block.bn1.bias, block.bn1.running_mean):
            tensor[3] = tensor[9]
        block.bn1.running_var[3] = block.bn1.running_var[9]
        block.conv2.weight[:, 3] *= 3
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 1, 8, 8, generator=generator), torch.zeros(64, dtype=torch.long)
    options = {"points": 10, "ridge": 1e-4, "generator": generator}
    made = [
        make(network, inspect(network, example), images, labels, importance=kind, **options)
        for kind in ("magnitude", "reconstruction")
    ]
    assert made[0].ranking["layer1.0.conv1"].index(3) < 4
    assert made[1].ranking["layer1.0.conv1"][-1] in (3, 9)
    for group in made[1].plan.groups:
        assert sorted(made[1].ranking[group.name]) == list(range(group.channels))


def test_norms_are_estimated_anew(prepared):
    network = copy.deepcopy(prepared.network)
    images = prepared.dense.images
    reestimate_norms(network, images, batch=len(images))
    with torch.no_grad():
        maps = network.conv1(images)
    assert torch.allclose(network.bn1.running_mean, maps.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(network.bn1.running_var, maps.var((0, 2, 3)), rtol=1e-4)
    assert not network.training and not network.bn1.training and network.bn1.momentum == 0.1


def test_norms_of_all_dimensions_are_estimated_from_no_single_image():
    """101 images on 1x1 maps: a last batch of one would have no variance"""
    with lent_seed(0):
        layers = [
            torch.nn.Conv2d(1, 4, 8),
            torch.nn.BatchNorm2d(4),
            torch.nn.Unflatten(1, (4, 1)),
            torch.nn.BatchNorm3d(4),
        ]
        network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.BatchNorm1d(4)).eval()
        images = torch.randn(101, 1, 8, 8) + 3
    with torch.no_grad():
        maps = network[0](images)[:, :, 0, 0]
        reestimate_norms(network, images)
        assert torch.allclose(network[1].running_mean, maps.mean(0), atol=1e-5)
        for norm in (network[3], network[5]):
            assert torch.allclose(norm.running_var, torch.tensor(101 / 100), rtol=1e-2) and not norm.training
        assert torch.allclose(network(images).std(0), torch.tensor(1.0), rtol=1e-2)


def test_what_is_saved_is_what_is_loaded(prepared, tmp_path, small, resnet20):
    save(prepared, tmp_path, {"accuracy": 0.5})
    original = small[0] if prepared.example.shape[1] == 1 else resnet20[0]
    again = load(tmp_path, copy.deepcopy(original), prepared.plan, torch.device("cpu"))
    assert again.ranking == prepared.ranking
    for recovery in (Recovery("sequential", True, 0.1, False), Recovery("gram", True, 0.1, False)):
        first = slim(prepared, half(prepared.plan), recovery).state_dict()
        second = slim(again, half(prepared.plan), recovery).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)
