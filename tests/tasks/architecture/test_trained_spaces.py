"""Phases, parts, recipes, NAS-Bench-201: keys merge what computes the same, contracts hold; beside test_families.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture import modular, nasbench201_network, phases, training_recipe

from automl_ext import make
from automl_ext.testing import check_space, check_target
from automl_ext.training import Recipe, lent_seed

FAMILIES = {
    "phases": (phases.family, {"width": 4}),
    "nasbench201": (nasbench201_network.family, {"width": 4}),
    "training": (training_recipe.family, {"width": 2}),
    "resnet": (modular.family, {"network": "resnet"}),
    "deepconv": (modular.family, {"network": "deepconv"}),
    "tutorial": (modular.family, {"network": "tutorial"}),
}


@pytest.fixture(scope="module")
def families():
    return {name: make((1, 8, 8), 10, **options) for name, (make, options) in FAMILIES.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_views_of_the_space_agree(families, name):
    check_space(families[name].space, samples=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepconv", "tutorial"])
def test_candidates_of_the_other_parts_build_and_run(families, name):
    family, rng, images = families[name], np.random.default_rng(1), torch.zeros(2, 1, 8, 8)
    for _ in range(200):
        with lent_seed(0), torch.inference_mode():
            assert family.build(family.space.sample(rng)).eval()(images).shape == (2, 10)


@pytest.mark.parametrize("name", ["phases", "nasbench201", "resnet"])
def test_equal_keys_are_equal_networks(families, name):
    """Candidates of one key have as many parameters and layers; others exist."""
    family, rng = families[name], np.random.default_rng(3)
    variation = family.variation
    sizes: dict[str, set] = {}
    for _ in range(60):
        candidate = family.space.from_genes(variation.sample(rng)) if variation else family.space.sample(rng)
        with torch.device("meta"):
            network = family.build(candidate)
        sizes.setdefault(family.space.key(candidate), set()).add(
            tuple(sorted(tuple(weight.shape) for weight in network.parameters()))
        )
    assert all(len(found) == 1 for found in sizes.values())
    assert len(sizes) > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "options"),
    [
        ("modular", {"network": "tutorial"}),
        pytest.param("training", {"width": 2}, marks=pytest.mark.thorough),
        pytest.param("phases", {"phases": 2, "nodes": 3, "width": 2}, marks=pytest.mark.thorough),
        pytest.param("nasbench201", {"width": 2}, marks=pytest.mark.thorough),
    ],
)
def test_the_environment_keeps_its_contract(space, options):
    env = make("automl_ext/Architecture-v0", space=space, space_options=options, images=40, epochs=1).unwrapped
    check_target(env, samples=1)


def test_a_recipe_takes_what_was_decided(families):
    family = families["training"]
    candidate = {"rate": 0.5, "batch": 16, "weight_decay": 1e-3, "momentum": 0.5, "schedule": "constant"}
    recipe = family.recipe(candidate, Recipe(epochs=7))
    assert (recipe.rate, recipe.batch, recipe.momentum, recipe.schedule) == (0.5, 16, 0.5, "constant")
    assert recipe.epochs == 7
    some = training_recipe.family((1, 8, 8), 10, tune=["momentum"])
    assert [slot.path for slot in some.space.slots] == ["momentum"]
    assert some.recipe({"momentum": 0.1}, Recipe(rate=0.7)).rate == 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "training", "space_options": {"network": "resnt"}}, r"network: .*not 'resnt'"),
        ({"space": "training", "space_options": {"network": "json:loads"}}, "'json:loads' does not run on images"),
        ({"space": "training", "space_options": {"tune": []}}, r"env\.space_options\.tune"),
        ({"space": "training", "space_options": {"tune": ["rte"]}}, r"env\.space_options\.tune"),
        ({"space": "phases", "space_options": {"node": 3}}, r"env\.space_options\.node"),
        ({"space": "phases", "space_options": {"nodes": 1}}, r"env\.space_options\.nodes"),
        ({"space": "nasbench201", "space_options": {"repeats": 0}}, r"env\.space_options\.repeats"),
        ({"space": "modular", "space_options": {"network": "resnt"}}, r"network: deepconv, resnet, tutorial or your"),
        ({"space": "modular", "space_options": {"network": "json:loads"}}, "gives none for"),
        ({"space": "modular", "space_options": {"network": "operator:eq"}}, "returned bool, no part"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        make("automl_ext/Architecture-v0", **options)
    assert "\n" not in str(error.value)
