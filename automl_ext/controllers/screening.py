"""Screening: the candidates among which an acquisition chooses, none of them told or pending."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_ext.searcher import Target
from automl_ext.space import Candidate

Floats = NDArray[np.float64]


class Pool:
    """Candidates with their keys and features, none of them twice, and none of those whose keys are in `taken`."""

    def __init__(self, target: Target, taken: Set[str] = frozenset()) -> None:
        self.target = target
        self.taken = taken
        self.candidates: list[Candidate] = []
        self.keys: list[str] = []
        self.rows: list[Floats] = []

    def add(self, candidate: Candidate) -> None:
        """Takes it in if it is new."""
        key = self.target.space.key(candidate)
        if key not in self.taken and key not in self.keys:
            self._append(candidate, key, described(self.target, candidate))

    def only(self, places: Iterable[int]) -> Pool:
        """Those at `places` alone."""
        kept = Pool(self.target)
        for place in places:
            kept._append(self.candidates[place], self.keys[place], self.rows[place])
        return kept

    def without(self, taken: Set[str]) -> Pool:
        """Those that `taken` lacks, and it lets none of them in."""
        kept = self.only(place for place, key in enumerate(self.keys) if key not in taken)
        kept.taken = taken
        return kept

    def _append(self, candidate: Candidate, key: str, row: Floats) -> None:
        self.candidates.append(candidate)
        self.keys.append(key)
        self.rows.append(row)

    def draw(self, count: int, rng: np.random.Generator) -> None:
        """Up to `count` random candidates."""
        for _ in range(count):
            self.add(self.target.space.sample(rng))

    def mutate(self, parents: Sequence[Candidate], count: int, rng: np.random.Generator) -> None:
        """Up to `count` mutations of `parents`, each taken as often as the others: one change, or two as often.

        Of those that change real numbers, every other one stays nearer to its parent, by up to a factor of 1000.
        """
        if not parents:
            return
        for index in range(count):
            parent = parents[index % len(parents)]
            genes = self.target.variation.mutate(parent, rng)
            if rng.random() < 0.5:
                genes = self.target.variation.mutate(genes, rng)
            if rng.random() < 0.5:
                genes = nearer(parent, genes, 10.0 ** (-3.0 * rng.random()))
            self.add(self.target.space.from_genes(genes))


def nearer(parent: Candidate, genes: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The genes, with real numbers that differ from the parent's at this share of the way from the parent's."""
    pulled = {}
    for path, value in genes.items():
        before = parent.get(path)
        if isinstance(value, float) and isinstance(before, float):
            pulled[path] = before + share * (value - before)
    return {**genes, **pulled}


def described(target: Target, candidate: Candidate) -> Floats:
    """(d,) features of a candidate: the target's, or the vector view."""
    features: Callable[[Candidate], Floats] = target.features or target.space.to_vector
    return np.asarray(features(candidate), dtype=np.float64)


def untried(target: Target, taken: Set[str], rng: np.random.Generator, tries: int = 200) -> Candidate:
    """A random candidate outside `taken`; where many draws find none, the first one of the space in its order.

    Any random candidate where the space has nothing else left (or hides it behind thousands that are taken).
    """
    space = target.space
    for _ in range(tries):
        candidate = space.sample(rng)
        if space.key(candidate) not in taken:
            return candidate
    bins = max(2, len(taken) + 1)
    found = space.following(None, bins)
    for _ in range(2 * len(taken) + 1000):
        if found is None:
            break
        if space.key(found) not in taken:
            return found
        found = space.following(found, bins)
    return space.sample(rng)
