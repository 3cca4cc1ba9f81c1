"""Starts: random ones, simple ones, references; genes that were not asked before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl_ext.decisions import Choice
from automl_ext.evolution.fresh import fresh
from automl_ext.evolution.start import Start
from automl_ext.space import Space
from automl_ext.testing.planted import spaces, target_of

SPACE = Space(*(Choice(f"c{index}", list("abcde")) for index in range(5)))
CHAIN = dict.fromkeys((f"c{index}" for index in range(5)), "c")


def target(space=SPACE):
    return replace(target_of(space), references={"chain": CHAIN})


def test_a_simple_start_is_the_first_of_everything_or_a_reference():
    rng = np.random.default_rng(0)
    assert set(Start(target(), "first").draw(rng).values()) == {"a"}
    assert Start(target(), "chain").draw(rng) == CHAIN
    assert Start(target(), "random").draw(rng) != Start(target(), "random").draw(rng)


@pytest.mark.parametrize("kind", spaces())
def test_the_first_of_everything_is_legal(kind):
    space = spaces()[kind]
    assert space.from_genes(Start(target_of(space), "first").draw(np.random.default_rng(0))) in space


def test_mutations_lead_away_from_it():
    rng = np.random.default_rng(0)

    def changed(start, more=0):
        return sum(value != "c" for value in start.draw(rng, more).values())

    assert all(changed(Start(target(), "chain", 1)) == 1 for _ in range(20))
    assert all(changed(Start(target(), "chain"), more=1) == 1 for _ in range(20))
    assert Start(target(), "chain").draw(rng) == CHAIN


@pytest.mark.slow
def test_a_thousand_mutations_are_a_uniform_candidate():
    """1,000 initial mutations on a small genome just give a uniform random genotype."""
    space = Space(*(Choice(f"c{index}", list("abc")) for index in range(3)))
    rng = np.random.default_rng(0)
    drawn = [Start(target_of(space), "first", 100).draw(rng) for _ in range(300)]
    for path in ("c0", "c1", "c2"):
        assert all(60 < sum(genes[path] == value for genes in drawn) < 140 for value in "abc")


def test_an_unknown_start_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"searcher\.start: no reference 'chains'; known: random, first, chain"):
        Start(target(), "chains")


def test_fresh_is_made_again_then_mutated_and_at_last_old():
    made, rng = [], np.random.default_rng(0)

    def make(rng):
        made.append(1)
        return dict(CHAIN)

    old = {SPACE.key(CHAIN)}
    genes = fresh(target(), make, old.__contains__, rng, again=20)
    assert sum(value != "c" for value in genes.values()) == 1 and len(made) == 21
    genes = fresh(target(), make, old.__contains__, rng)
    assert sum(value != "c" for value in genes.values()) == 1 and len(made) == 22
    assert fresh(target(), lambda rng: {**CHAIN, "c0": "a"}, old.__contains__, rng) == {**CHAIN, "c0": "a"}
    assert SPACE.from_genes(fresh(target(), make, lambda key: True, rng)) in SPACE
