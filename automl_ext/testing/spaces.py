"""check_space: the four views of a space tell the same story."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from automl_ext.decisions import Choice, Decision, Integer, SpaceError, Value, position
from automl_ext.space import Candidate, Space, Walk
from automl_ext.testing.rule import rule


def check_space(space: Space, seed: int = 0, samples: int = 50) -> None:
    """Raise AssertionError at the first rule of a space that `samples` random candidates break."""
    rng = np.random.default_rng(seed)
    with rule("the slots"):
        paths = [slot.path for slot in space.slots]
        assert len(set(paths)) == len(paths), "two slots have one path"
    for _ in range(samples):
        with rule("a sampled walk"):
            candidate = space.sample(rng)
        _check_candidate(space, candidate, set(paths))
        with rule(f"views of {candidate}"):
            _check_vector(space, candidate)
            _check_partial(space, candidate, rng)
            _check_genes(space, rng)
            _check_walk(space, candidate, rng)
    with rule("the grid"):
        _check_grid(space)


def _check_candidate(space: Space, candidate: Candidate, paths: set[str]) -> None:
    with rule("a sampled candidate is not in the space"):
        space.check(candidate)
    assert set(candidate) <= paths, f"a candidate decides at a path that is no slot: {set(candidate) - paths}"
    assert json.loads(json.dumps(candidate)) in space, f"a candidate does not survive JSON: {candidate}"
    with rule(f"views of {candidate}"):
        assert space.build(lambda walk: candidate[walk.path]) == candidate, "build does not give a candidate back"
        assert space.from_genes(candidate) == candidate, f"from_genes changes a legal candidate: {candidate}"
        turned = dict(reversed(candidate.items()))
        assert space.key(candidate) == space.key(turned), "the key depends on the order of a dict"


def _check_vector(space: Space, candidate: Candidate) -> None:
    vector = space.to_vector(candidate)
    assert vector.shape == (space.dim,), f"to_vector gives {vector.shape}, dim is {space.dim}"
    assert ((vector >= 0) & (vector <= 1)).all(), "to_vector leaves [0, 1]"
    back = space.from_vector(vector)
    assert set(back) == set(candidate), "from_vector(to_vector(c)) decides elsewhere than c"
    for path, value in candidate.items():
        other = back[path]
        both = isinstance(value, float) and isinstance(other, float)
        near = math.isclose(other, value, rel_tol=1e-6, abs_tol=1e-6) if both else other == value  # type: ignore[arg-type]
        assert near, f"{path}: {value!r} comes back from the vector view as {other!r}"
    with rule("a random vector gives no candidate"):
        space.check(space.from_vector(1 - vector))


def _check_partial(space: Space, candidate: Candidate, rng: np.random.Generator) -> None:
    """A partial candidate continues to a whole one that keeps what was made."""
    cut = int(rng.integers(len(candidate) + 1))
    made = dict(list(candidate.items())[:cut])
    walk = space.walk(made)
    assert walk.candidate.items() >= made.items(), f"a partial walk forgets what was made: {made}"
    while not walk.done:
        walk.choose(walk.decision.sample(rng))
    assert walk.candidate.items() >= made.items(), f"a partial walk forgets what was made: {made}"
    with rule("a continued walk leaves the space"):
        space.check(walk.candidate)


def _check_genes(space: Space, rng: np.random.Generator) -> None:
    """Random genes of every slot express a candidate, and so do none."""
    genes = {slot.path: slot.decisions[0].sample(rng) for slot in space.slots}
    with rule(f"genes express no candidate: {genes}"):
        space.check(space.from_genes(genes))
        space.check(space.from_genes({}))


def _check_walk(space: Space, candidate: Candidate, rng: np.random.Generator) -> None:
    """At every step: narrow only shrinks, and what is illegal goes to the nearest legal value."""
    walk = Walk(space)
    while not walk.done:
        path, declared, decision = walk.path, walk.declared, walk.decision
        for value in (decision.first, decision.sample(rng), *itertools.islice(decision.grid(9), 9)):
            assert value in decision, f"{path}: {value!r} is drawn and not legal; legal: {decision.legal}"
            assert value in declared, f"{path}: narrow adds {value!r}; declared: {declared.legal}"
        _check_repair(path, declared, decision, rng)
        realised = walk.choose(candidate[path])
        assert realised == candidate[path], f"{path}: the legal {candidate[path]!r} becomes {realised!r}"


def _check_repair(path: str, declared: Decision, decision: Decision, rng: np.random.Generator) -> None:
    wanted: list[Any]
    if isinstance(decision, Choice) or isinstance(declared, Choice):
        wanted = list(getattr(decision, "declared", ()))
    else:
        span = 1.0 + declared.high - declared.low
        wanted = [declared.low - span, declared.high + span, float(rng.uniform(declared.low, declared.high))]
    for value in wanted:
        realised, least = decision.nearest(value), _least(decision, value)
        assert realised in decision, f"{path}: {value!r} is repaired to the illegal {realised!r}"
        far = _distance(decision, realised, value)
        assert far <= least * (1 + 1e-9) + 1e-12, f"{path}: {value!r} is repaired to {realised!r}, not to the nearest"
    for value in (math.nan, [], "no such value"):
        try:
            decision.nearest(value)  # type: ignore[arg-type]
        except SpaceError:
            continue
        raise AssertionError(f"{path}: {value!r} is accepted as a value")


def _least(decision: Decision, value: Any) -> float:
    """Distance from `value` to the nearest legal one, found by looking at all of them where they are few."""
    legal: list[Any]
    if isinstance(decision, Choice):
        legal = list(decision.options)
    elif isinstance(decision, Integer) and (decision.count or 0) <= 1000:
        legal = list(range(decision.low, decision.high + 1, decision.step))
    else:
        inside = min(max(float(value), float(decision.low)), float(decision.high))
        return abs(inside - float(value)) + (decision.step / 2 if isinstance(decision, Integer) else 0.0)
    return min(_distance(decision, option, value) for option in legal)


def _distance(decision: Decision, left: Any, right: Any) -> float:
    if isinstance(decision, Choice):
        return abs(position(decision.declared, left) - position(decision.declared, right))
    return abs(float(left) - float(right))


def _check_grid(space: Space, bins: int = 3, most: int = 50) -> None:
    """The grid's first candidates are those of a plain recursion over the decisions, each once."""
    found = list(itertools.islice(space.candidates(bins), most))
    assert found == list(itertools.islice(_every(space, {}, bins), most)), "candidates() leaves the order of the grid"
    texts = {json.dumps(candidate) for candidate in found}
    assert len(texts) == len(found), "candidates() gives one candidate twice"
    for candidate in found:
        space.check(candidate)


def _every(space: Space, made: dict[str, Value], bins: int) -> Iterator[Candidate]:
    walk = space.walk(made)
    if walk.done:
        yield walk.candidate
        return
    before = walk.candidate
    for value in walk.decision.grid(bins):
        yield from _every(space, {**before, walk.path: value}, bins)
