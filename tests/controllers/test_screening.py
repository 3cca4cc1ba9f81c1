"""Pools of new candidates, and candidates outside what was tried."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from automl_ext.controllers.screening import Pool, described, nearer, untried
from automl_ext.decisions import Choice, Real
from automl_ext.space import Space
from automl_ext.testing.planted import spaces, target_of

SMALL = Space(Choice("a", [1, 2, 3]), Choice("b", ["x", "y"]))


def keys(space, candidates):
    return {space.key(candidate) for candidate in candidates}


def test_nothing_comes_in_twice_nor_if_it_was_taken():
    target, rng = target_of(SMALL), np.random.default_rng(0)
    taken = keys(SMALL, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    pool = Pool(target, taken)
    pool.draw(200, rng)
    pool.mutate([{"a": 1, "b": "x"}], 200, rng)
    assert len(pool.candidates) == len(set(pool.keys)) == len(pool.rows) == 4
    assert not set(pool.keys) & taken
    for candidate, key, row in zip(pool.candidates, pool.keys, pool.rows, strict=True):
        assert key == SMALL.key(candidate) and (row == SMALL.to_vector(candidate)).all()


@pytest.mark.parametrize("name", spaces())
def test_mutations_differ_from_their_parent_in_one_change_or_two(name):
    target, rng = target_of(spaces()[name]), np.random.default_rng(0)
    parent = target.space.sample(rng)
    pool = Pool(target, keys(target.space, [parent]))
    pool.mutate([parent], 100, rng)
    assert len(pool.candidates) > 5
    for candidate in pool.candidates:
        target.space.check(candidate)
    if name == "choice":
        changes = [sum(each[path] != parent[path] for path in parent) for each in pool.candidates]
        assert set(changes) == {1, 2}


def test_parents_are_mutated_equally_often():
    target, rng = target_of(Space(*(Choice(f"c{index}", range(100)) for index in range(4)))), np.random.default_rng(0)
    parents = [{f"c{index}": value for index in range(4)} for value in range(3)]
    pool = Pool(target)
    pool.mutate(parents, 30, rng)
    nearest = [max(range(3), key=lambda p: list(each.values()).count(p)) for each in pool.candidates]
    assert [nearest.count(parent) for parent in range(3)] == [10, 10, 10]


def test_real_numbers_are_pulled_towards_their_parent():
    assert nearer({"x": 1.0, "n": 4, "a": "u"}, {"x": 2.0, "n": 9, "a": "v", "y": 3.0}, 0.25) == {
        "x": 1.25, "n": 9, "a": "v", "y": 3.0,
    }  # fmt: skip
    space = Space(Real("x", 0.0, 1.0))
    pool = Pool(target_of(space))
    pool.mutate([{"x": 0.5}], 400, np.random.default_rng(0))
    distance = np.array([abs(candidate["x"] - 0.5) for candidate in pool.candidates])
    assert len(distance) > 390 and (distance < 0.01).mean() > 0.15 and (distance > 0.2).mean() > 0.1


def test_parts_of_a_pool():
    target, rng = target_of(SMALL), np.random.default_rng(0)
    pool = Pool(target)
    pool.draw(200, rng)
    kept = pool.only([3, 1])
    assert kept.candidates == [pool.candidates[3], pool.candidates[1]]
    left = kept.without({kept.keys[0]})
    assert left.candidates == [pool.candidates[1]]
    left.draw(200, rng)
    assert len(left.candidates) == 5


def test_features_are_the_targets_own_where_it_offers_them():
    from dataclasses import replace

    target = target_of(SMALL)
    assert (described(target, {"a": 2, "b": "x"}) == [0, 1, 0, 1, 0]).all()
    own = replace(target, features=lambda candidate: [candidate["a"]])
    assert described(own, {"a": 2, "b": "x"}).tolist() == [2.0]


def test_untried_finds_the_last_candidate_that_is_left():
    target, rng = target_of(SMALL), np.random.default_rng(0)
    every = [{"a": a, "b": b} for a, b in itertools.product([1, 2, 3], ["x", "y"])]
    for left in every:
        taken = keys(SMALL, [each for each in every if each != left])
        assert untried(target, taken, rng, tries=0) == left
    assert untried(target, keys(SMALL, every), rng) in every


def test_untried_finds_a_number_between_those_tried():
    space = Space(Real("x", 0.0, 1.0), Choice("a", [1]))
    target, rng = target_of(space), np.random.default_rng(0)
    taken = keys(space, ({"x": x, "a": 1} for x in (0.0, 0.5, 1.0)))
    found = untried(target, taken, rng, tries=0)
    assert space.key(found) not in taken
