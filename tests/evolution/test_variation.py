"""The generic variation: mutations that change something, legal crossover, twins; DEAP's generator is given back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from automl_ext.evolution.variation import GenericVariation
from automl_ext.testing.searchers import spaces


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
