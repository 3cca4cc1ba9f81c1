"""The generic variation: mutations that change something, legal crossover, twins; DEAP's generator is given back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from automl_ext.baselines.local import changes
from automl_ext.decisions import Integer, Real
from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Space
from automl_ext.testing.planted import spaces


@pytest.mark.parametrize("kind", spaces())
def test_every_mutation_changes_the_candidate_and_stays_legal(kind):
    space = spaces()[kind]
    variation, rng = GenericVariation(space), np.random.default_rng(0)
    genes = variation.sample(rng)
    for _ in range(300):
        changed = variation.mutate(genes, rng)
        assert space.from_genes(changed) in space
        assert space.from_genes(changed) != space.from_genes(genes)
        genes = changed


@pytest.mark.parametrize(("local", "share"), [(0.0, 0.2), (1.0, 0.68)])
def test_numbers_move_near_by_or_anywhere(local, share):
    """Of uniform values a fifth lies within a tenth of the range, of near ones two thirds."""
    space = Space(Real("x", 0.0, 1.0), Integer("n", 0, 1000))
    variation, rng = GenericVariation(space, local), np.random.default_rng(0)
    moves = []
    for _ in range(1000):
        changed = variation.mutate({"x": 0.5, "n": 500}, rng)
        moves.append(max(abs(changed["x"] - 0.5), abs(changed["n"] - 500) / 1000))
    assert abs(np.mean(np.array(moves) < 0.1) - share) < 0.05


def test_a_mutation_reaches_every_other_value_of_every_active_gene():
    space = spaces()["conditional"]
    variation, rng = GenericVariation(space), np.random.default_rng(0)
    genes = variation.sample(rng) | {"layer0": "conv", "layer1": "pool", "layer2": "none"}
    candidate, reached = space.from_genes(genes), set()
    for _ in range(3000):
        changed = space.from_genes(variation.mutate(genes, rng))
        reached |= {(path, changed[path]) for path in candidate if path in changed and changed[path] != candidate[path]}
    assert reached == set(changes(space, candidate, 100))


def test_a_space_of_one_candidate_has_no_other():
    variation = GenericVariation(Space(Integer("n", 3, 3)))
    assert variation.mutate({"n": 3}, np.random.default_rng(0)) == {"n": 3}


@pytest.mark.parametrize("kind", spaces())
def test_crossover_takes_each_gene_from_a_parent(kind):
    space = spaces()[kind]
    variation, rng = GenericVariation(space), np.random.default_rng(1)
    for _ in range(100):
        left, right = variation.sample(rng), variation.sample(rng)
        child = variation.crossover(left, right, rng)
        assert all(child[path] in (left[path], right[path]) for path in child)
        assert space.from_genes(child) in space


def test_twins_express_the_same_candidate():
    space = spaces()["conditional"]
    variation, rng = GenericVariation(space), np.random.default_rng(2)
    differ = 0
    for _ in range(50):
        genes = variation.sample(rng)
        twin = variation.twins(genes, rng)
        assert space.from_genes(twin) == space.from_genes(genes)
        differ += twin != genes
    assert differ > 25


def test_the_global_generator_is_lent_a_seed_and_given_back():
    random.seed(5)
    before = random.getstate()
    variation = GenericVariation(spaces()["choice"])
    genes = [variation.sample(np.random.default_rng(seed)) for seed in (0, 1)]
    first = variation.crossover(*genes, np.random.default_rng(9))
    assert random.getstate() == before
    random.random()
    assert variation.crossover(*genes, np.random.default_rng(9)) == first
