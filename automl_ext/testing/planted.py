"""Small spaces of every kind, and scores with a planted optimum: what searchers are checked on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_ext.decisions import Choice, Decision, Integer, Real, Value
from automl_ext.evolution.variation import GenericVariation
from automl_ext.objective import Objective
from automl_ext.searcher import Target
from automl_ext.space import Candidate, Space, Walk


def spaces() -> dict[str, Space]:
    """One small space a kind: choice, number, conditional, narrowed, mixed."""
    digits = Space(*(Choice(f"c{index}", list("abcde")) for index in range(4)))
    numbers = Space(
        Integer("n", 1, 40), Integer("m", 2, 64, step=2), Real("x", 0.0, 1.0), Real("rate", 1e-4, 1.0, log=True)
    )
    leaf = {
        "conv": Space(Integer("width", 1, 8), Choice("act", ["relu", "tanh"])),
        "pool": Space(Integer("size", 2, 5)),
    }
    conditional = Space(*(Choice(f"layer{index}", ["none", "conv", "pool"], branches=leaf) for index in range(3)))
    mixed = Space(Choice("a", [True, False, None]), Integer("b", 0, 9), Real("c", -1.0, 1.0))
    narrowed = Space(*(Integer(f"k{index}", 1, 16) for index in range(4)), narrow=_at_most_32)
    return {"choice": digits, "number": numbers, "conditional": conditional, "narrowed": narrowed, "mixed": mixed}


def learning_spaces() -> dict[str, Space]:
    """Where a searcher is measured against random: large enough that random does not find the optimum."""
    return {
        "number": Space(*(Integer(f"n{index}", 1, 32) for index in range(8))),
        "choice": Space(*(Choice(f"c{index}", list("abcdef")) for index in range(8))),
    }


def target_of(space: Space, *others: Objective) -> Target:
    """A target on a bare space: `score` to maximise, and further objectives."""

    def observe(walk: Walk) -> NDArray[np.float32]:
        here = [slot.path == walk.path for slot in space.slots]
        return np.concatenate([space.to_vector(walk.candidate), here]).astype(np.float32)

    return Target(space, (Objective("score"), *others), {}, observe, GenericVariation(space))


def planted_score(space: Space, seed: int) -> Callable[[Candidate], float]:
    """A score up to 0 at one planted candidate; each decision counts by its distance in the vector view."""
    goal = space.to_vector(space.sample(np.random.default_rng((seed, 99))))
    return lambda candidate: -float(np.abs(space.to_vector(candidate) - goal).mean())


def hash_of(candidate: Mapping[str, Any]) -> int:
    """A number that is the same in every process."""
    return int(hashlib.blake2b(json.dumps(candidate, sort_keys=True).encode(), digest_size=4).hexdigest(), 16)


def _at_most_32(path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
    """At most 32 in all: the rest may have at least 1 each."""
    assert isinstance(decision, Integer)
    left = 32 - sum(int(value or 0) for value in made.values()) - (3 - len(made))
    return decision.within(1, max(1, left))
