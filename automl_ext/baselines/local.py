"""Local search: the first improvement among the single-decision changes in random order; a new start when stuck.

Known as a strong baseline of architecture search: C. White, S. Nolen, Y. Savani, "Exploring the Loss Landscape in
Neural Architecture Search", UAI 2021, arXiv 2005.02960 (which also takes the first improvement as a variant).

Differs from the paper: 1. trials that are pending when the search moves on still count: a better one
becomes the centre. 2. Numbers step to the values next to the current one and to `bins` values over the range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from automl_ext.decisions import Choice, Decision, Integer, Value, same
from automl_ext.objective import reward
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate, Space, Walk


class Local:
    """bins: how many values over its range a number may jump to, beside the two next to it."""

    def __init__(self, target: Target, rng: np.random.Generator, *, bins: int = 5) -> None:
        self.target = target
        self.bins = bins
        self.centre: Candidate | None = None
        self.value = -math.inf
        self.move = 0
        self.around: list[Candidate] = []
        self.seen = 0

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        out = sum(proposal.note.get("move") == self.move for proposal in pending)
        if self.centre is None or self.seen + out >= len(self.around):
            return Proposal(self.target.space.sample(rng), {"move": -1})
        return Proposal(self.around[self.seen + out], {"move": self.move})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Move to an improvement; count a neighbour that is none; forget the centre when all are counted."""
        value = reward(trial.metrics, self.target.objectives)
        fresh = self.centre is None and trial.note["move"] == -1 and value > -math.inf
        if fresh or (self.centre is not None and value > self.value):
            self.centre, self.value, self.seen = trial.candidate, value, 0
            self.move += 1
            found = neighbours(self.target.space, trial.candidate, self.bins)
            self.around = [found[index] for index in rng.permutation(len(found))]
        elif trial.note["move"] == self.move:
            self.seen += 1
        if self.centre is not None and self.seen >= len(self.around):
            self.centre, self.value, self.around, self.seen = None, -math.inf, [], 0
            self.move += 1


def neighbours(space: Space, candidate: Candidate, bins: int) -> list[Candidate]:
    """Every candidate that one other value at one active decision leads to, each once."""
    found: dict[str, Candidate] = {space.key(candidate): candidate}
    walk = Walk(space)
    while not walk.done:
        path, value = walk.path, candidate[walk.path]
        for option in _others(walk.decision, value, bins):
            changed = space.from_genes({**candidate, path: option})
            found.setdefault(space.key(changed), changed)
        walk.choose(value)
    return list(found.values())[1:]


def _others(decision: Decision, value: Value, bins: int) -> list[Value]:
    values: list[Any] = list(decision.grid(bins))
    if isinstance(decision, Integer):
        values += [decision.nearest(value + step) for step in (-decision.step, decision.step)]  # type: ignore[operator]
    elif not isinstance(decision, Choice):
        place = decision.to_unit(value)
        values += [decision.from_unit(place + shift) for shift in (-0.05, 0.05)]
    return [option for option in dict.fromkeys(values) if not same(option, value)]
