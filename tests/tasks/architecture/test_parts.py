"""DeepArchitect's language: counts, lazily revealed decisions, tied copies, residuals, what the user wrote wrongly."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture.modular import family
from automl_ext.tasks.architecture.parts import (
    Chain,
    Hyperparameters,
    Layer,
    Maybe,
    Or,
    PartError,
    Permutation,
    Repeat,
    Residual,
    affine,
    average_pool,
    batch_norm,
    conv,
    dropout,
    empty,
    max_pool,
    relu,
    separable_conv,
    sigmoid,
    tanh,
)
from automl_ext.tasks.architecture.parts_network import PartsNetwork
from automl_ext.tasks.architecture.parts_space import parts_space, plan, tuned
from torch import nn

from automl_ext.training import lent_seed

FIVE, THREE = conv([1, 2, 3, 4, 5], [3]), dropout([0.1, 0.2, 0.3])


def count(part):
    return len(list(parts_space(part).candidates(2)))


def keys(part):
    space = parts_space(part)
    return {space.key(candidate) for candidate in space.candidates(2)}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (FIVE, 5),
        (Chain(FIVE, THREE), 15),
        (Or(FIVE, THREE), 8),
        (Or(FIVE, FIVE, THREE), 13),
        (Maybe(FIVE), 6),
        (Repeat(THREE, [1, 2]), 3 + 9),
        (Repeat(THREE, [1, 2], tied=True), 2 * 3),
        (Residual(THREE), 3),
        (Permutation(THREE, relu()), 2 * 3),
        (Permutation(relu(), batch_norm(), FIVE), 6 * 5),
        (Chain(Hyperparameters({"rate": [0.1, 0.2]}), Repeat(Or(THREE, relu()), [1, 3])), 2 * (4 + 64)),
    ],
)
def test_a_space_has_as_many_candidates_as_its_parts_imply(part, expected):
    assert count(part) == expected


def test_equal_networks_have_equal_keys():
    assert len(keys(Or(FIVE, FIVE, THREE))) == 8
    assert len(keys(Maybe(empty()))) == 1
    assert len(keys(Permutation(relu(), relu()))) == 1
    assert len(keys(Repeat(relu(), [1, 2]))) == 2
    assert len(keys(Residual(relu())) | keys(relu())) == 2


def test_decisions_open_one_behind_the_other():
    space = parts_space(Chain(Maybe(FIVE), Repeat(THREE, [1, 2])))
    walk, seen = space.walk(), []
    while not walk.done:
        assert walk.decision.count >= 2
        seen.append(walk.path)
        walk.choose(walk.decision.options[-1])
    assert seen == ["net/1", "net/1/filters", "net/2", "net/2/1/keep", "net/2/2/keep"]
    assert walk.candidate["net/1/size"] == 3  # settled, and written down


def test_slots_stay_few_where_branches_share_them():
    assert len(parts_space(Repeat(THREE, [1, 2, 4, 8])).slots) == 2 + 2 * 8 - 1
    assert len(parts_space(Repeat(THREE, [1, 32], tied=True)).slots) == 1 + 2


def built(part, candidate, shape=(1, 8, 8)):
    with lent_seed(0):
        return PartsNetwork(plan(part, candidate), shape, 3)


def test_tied_copies_have_equal_sizes_and_weights_of_their_own():
    part = Repeat(conv([2, 3], [3, 5]), [3], tied=True)
    candidate = {**parts_space(part).from_genes({}), "net/each/filters": 3, "net/each/size": 5}
    body = built(part, candidate).body
    assert [module.kernel_size for module in body] == [(5, 5)] * 3 and body[2].out_channels == 3
    assert body[1].weight.shape == body[2].weight.shape and not torch.equal(body[1].weight, body[2].weight)


def test_a_permutation_puts_its_parts_in_the_order_chosen():
    part = Permutation(relu(), batch_norm(), sigmoid())
    candidate = {**parts_space(part).from_genes({}), "net": "3 1 2"}
    assert [type(module).__name__ for module in built(part, candidate).body] == ["Sigmoid", "ReLU", "BatchNorm2d"]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("layer", [partial(conv, [4]), partial(separable_conv, [4]), max_pool, average_pool])
def test_windows_of_any_size_keep_height_and_width_but_for_the_stride(layer, size, stride):
    part = Chain(layer([size], [stride]))
    (module,) = built(part, parts_space(part).from_genes({}), (2, 8, 7)).body
    images = torch.ones(1, 2, 8, 7)
    found = module(images)
    assert found.shape[2:] == (-(-8 // stride), -(-7 // stride))
    if layer in (max_pool, average_pool):
        assert torch.allclose(found, torch.ones_like(found))
        assert torch.allclose(module(-images), -torch.ones_like(found))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate": 0.1}, "rate needs a list of values, not 0.1"),
        ({"rate": []}, "rate needs a list of values"),
        ({"rate": ["fast"]}, "rate takes numbers above 0 up to 10, not 'fast'"),
        ({"batch": [1.5]}, "batch takes whole numbers from 2, not 1.5"),
        ({"schedule": ["cosine"]}, "schedule takes one-cycle or constant, not 'cosine'"),
        ({"momentum": [float("nan")]}, "momentum takes numbers from 0, below 1, not nan"),
    ],
)
def test_hyperparameters_that_cannot_be_are_refused(values, said):
    with pytest.raises(PartError, match=said):
        Hyperparameters(values)


@pytest.mark.parametrize(
    ("inner", "shape"),
    [
        (conv([5], [3]), (5, 8, 8)),
        (conv([1], [3], [2]), (2, 8, 8)),
        (max_pool([3]), (2, 8, 8)),
        (affine([7]), (128,)),
        (affine([200]), (200,)),
    ],
)
def test_a_residual_is_as_large_as_the_larger_of_its_two_ways(inner, shape):
    part = Residual(inner)
    network = built(part, parts_space(part).from_genes({}), (2, 8, 8))
    images = torch.rand(3, 2, 8, 8)
    found = network.body[0](images)
    assert tuple(found.shape[1:]) == shape
    way = network.body[0].inner(images)
    assert found.sum().item() == pytest.approx(images.sum().item() + way.sum().item(), rel=1e-4)
    assert network(images).shape == (3, 3)


@pytest.mark.parametrize("layer", [conv, separable_conv])
def test_shapes_are_those_that_come_out(layer):
    for size in (1, 2, 3, 5):
        part = Chain(layer([4], [size], [2]), average_pool([size], [1]), tanh(), affine([6]), batch_norm())
        assert built(part, parts_space(part).from_genes({}), (1, 5, 7)).classifier.in_features == 6


def test_the_last_hyperparameter_of_a_name_counts():
    part = Chain(Hyperparameters({"rate": [0.1]}), Maybe(Hyperparameters({"rate": [0.2]})))
    first, second = parts_space(part).candidates(2)
    assert (tuned(part, first), tuned(part, second)) == ({"rate": 0.1}, {"rate": 0.2})
    assert parts_space(part).key(first) != parts_space(part).key(second)


def shifted(shape, classes):
    """As a user would write it: a layer of one's own among the rest."""

    def scale(shape, values):
        layer = nn.Conv2d(shape[0], shape[0], 1, bias=False)
        nn.init.constant_(layer.weight, values["by"])
        return layer

    return Chain(conv([4], [3]), Layer("scale", scale, {"by": [1.0, 2.0]}), relu())


def broken(shape, classes):
    return Chain(Maybe(affine([4])), conv([4], [3]))


def wordy(shape, classes):
    return Chain(Layer("two words", lambda shape, values: nn.ReLU()))


@pytest.fixture
def own_module(monkeypatch):
    """This module, importable by name as a user's is."""
    import sys

    monkeypatch.setitem(sys.modules, "own_parts", sys.modules[__name__])
    return "own_parts"


def test_a_users_own_layer_is_built(own_module):
    found = family((1, 8, 8), 3, network=f"{own_module}:shifted")
    candidate = found.space.sample(np.random.default_rng(0))
    with lent_seed(0):
        network = found.build(candidate)
    assert (network.body[1].weight == candidate["net/2/by"]).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "has candidates that do not build: layer conv .* on \\(4,\\): needs images"),
        ("wordy", "a layer's name is a word, not 'two words'"),
        ("missing", "has no attribute 'missing'"),
    ],
)
def test_what_a_user_wrote_wrongly_is_one_line(own_module, name, message):
    with pytest.raises(PartError, match=message) as error:
        family((1, 8, 8), 3, network=f"{own_module}:{name}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Chain(), "Chain needs at least one part"),
        (lambda: Or(relu(), "relu"), "Or takes parts, not 'relu'"),
        (lambda: Repeat(relu(), []), "Repeat needs a list of whole numbers"),
        (lambda: Repeat(relu(), [0]), "Repeat needs a list of whole numbers"),
        (lambda: Permutation(*[relu()] * 6), "up to 5 parts"),
        (lambda: conv([], [3]), "filters needs a list of values"),
        (lambda: Hyperparameters({"rat": [1]}), "no hyperparameter 'rat'; legal: rate, batch"),
        (lambda: Maybe(3), "Maybe takes parts, not 3"),
    ],
)
def test_parts_that_cannot_be(make, message):
    with pytest.raises(PartError, match=message):
        make()
