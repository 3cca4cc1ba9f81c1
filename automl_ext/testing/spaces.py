"""check_space: the four views of a space tell the same story."""

from __future__ import annotations

import numpy as np

from automl_ext.decisions import Choice, SpaceError
from automl_ext.space import Candidate, Space, Walk


def check_space(space: Space, seed: int = 0, samples: int = 50) -> None:
    """Raise AssertionError at the first rule of a space that `samples` random candidates break."""
    rng = np.random.default_rng(seed)
    paths = {slot.path for slot in space.slots}
    assert len(paths) == len(space.slots), "two slots have one path"
    for _ in range(samples):
        candidate = space.sample(rng)
        assert candidate in space, f"a sampled candidate is not in the space: {candidate}"
        assert set(candidate) <= paths, f"a candidate decides at a path that is no slot: {set(candidate) - paths}"
        _check_build(space, candidate)
        assert space.from_genes(candidate) == candidate, f"from_genes changes a legal candidate: {candidate}"
        _check_vector(space, candidate)
        _check_partial(space, candidate, rng)
        _check_repair(space, rng)
        copy = dict(reversed(candidate.items()))
        assert space.key(candidate) == space.key(copy), "the key depends on the order of a dict"


def _check_build(space: Space, candidate: Candidate) -> None:
    assert space.build(lambda walk: candidate[walk.path]) == candidate, "build does not give a candidate back"


def _check_vector(space: Space, candidate: Candidate) -> None:
    vector = space.to_vector(candidate)
    assert vector.shape == (space.dim,), f"to_vector gives {vector.shape}, dim is {space.dim}"
    assert ((vector >= 0) & (vector <= 1)).all(), "to_vector leaves [0, 1]"
    back = space.from_vector(vector)
    assert set(back) == set(candidate), "from_vector(to_vector(c)) decides elsewhere than c"
    for path, value in candidate.items():
        near = back[path] == value or (
            isinstance(value, float) and abs(float(back[path] or 0) - value) < 1e-6 * (1 + abs(value))
        )
        assert near, f"{path}: {value!r} comes back from the vector view as {back[path]!r}"


def _check_partial(space: Space, candidate: Candidate, rng: np.random.Generator) -> None:
    """A partial candidate continues to a whole one that keeps what was made."""
    cut = int(rng.integers(len(candidate) + 1))
    made = dict(list(candidate.items())[:cut])
    walk = space.walk(made)
    while not walk.done:
        assert walk.candidate.items() >= made.items(), "a partial walk forgets what was made"
        _check_narrow(walk)
        walk.choose(walk.decision.sample(rng))
    assert walk.candidate in space, f"a continued walk leaves the space: {walk.candidate}"


def _check_narrow(walk: Walk) -> None:
    value = walk.decision.first
    assert value in walk.decision, f"{walk.path}: the first legal value is not legal"
    assert value in walk.declared or not isinstance(walk.declared, Choice), f"{walk.path}: narrow adds {value!r}"


def _check_repair(space: Space, rng: np.random.Generator) -> None:
    """Random genes of every slot express a candidate; a number beyond the range goes to its nearest end."""
    genes = {slot.path: slot.decisions[0].sample(rng) for slot in space.slots}
    assert space.from_genes(genes) in space, f"genes express no candidate: {genes}"
    walk = space.walk()
    if walk.done or isinstance(walk.decision, Choice):
        return
    high = walk.decision.high
    assert walk.choose(float(high) + 1e6) == high, "a value above the range does not go to its upper end"
    try:
        space.walk().choose(float("nan"))
    except SpaceError:
        return
    raise AssertionError("NaN is accepted as a value")
