"""Local search: the first improvement among the single-decision changes in random order; a new start when stuck.

Known as a strong baseline of architecture search: C. White, S. Nolen, Y. Savani, "Exploring the Loss Landscape in
Neural Architecture Search", UAI 2021, arXiv 2005.02960.

Differs from the paper:
1. The first improvement is taken, not the best of the whole neighbourhood (the paper names this as a variant).
2. Several neighbours may be out at once (`parallel`). One that is told after the search moved on counts only if it is
   better than the new centre; then the search moves there. One at a time it is the sequential algorithm.
3. Numbers step to the values next to the current one, and to `bins` values over the range.
4. A start that fails is drawn anew. Candidates that miss a limit are ranked by how far they miss it, below all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_ext.baselines.grid import Bins
from automl_ext.decisions import Choice, Decision, Integer, Value, same
from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate, Space, Walk

WORST = rank(None, ())


class Local:
    """bins: how many values over its range a number may jump to, beside the two next to it."""

    def __init__(self, target: Target, rng: np.random.Generator, *, bins: Bins = 5) -> None:
        one_objective(target.objectives, "local")
        if bins < 2:
            raise ValueError(f"searcher.bins: at least 2, not {bins}")
        self.target = target
        self.bins = bins
        self.centre: Candidate | None = None
        self.standing = WORST
        self.move = 0
        self.around: list[tuple[str, Value]] = []
        self.seen = 0

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        place = self.seen + sum(proposal.note.get("move") == self.move for proposal in pending)
        if self.centre is None or place >= len(self.around):
            return Proposal(self.target.space.sample(rng), {"move": -1})
        path, value = self.around[place]
        return Proposal(self.target.space.from_genes({**self.centre, path: value}), {"move": self.move})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Move to an improvement; count a neighbour that is none; forget the centre when all are counted."""
        standing = rank(trial.metrics, self.target.objectives)
        start = self.centre is None and trial.note["move"] == -1
        if (start or self.centre is not None) and standing > self.standing:
            self.centre, self.standing, self.seen = trial.candidate, standing, 0
            self.move += 1
            found = changes(self.target.space, trial.candidate, self.bins)
            self.around = [found[index] for index in rng.permutation(len(found))]
        elif trial.note["move"] == self.move:
            self.seen += 1
        if self.centre is not None and self.seen >= len(self.around):
            self.centre, self.standing, self.around, self.seen = None, WORST, [], 0
            self.move += 1


def changes(space: Space, candidate: Candidate, bins: int) -> list[tuple[str, Value]]:
    """Every other value of every active decision, as (path, value); `Space.from_genes` makes it a candidate."""
    found: list[tuple[str, Value]] = []
    walk = Walk(space)
    while not walk.done:
        path, value = walk.path, candidate[walk.path]
        found += [(path, other) for other in _others(walk.declared, walk.decision, value, bins)]
        walk.choose(value)
    return found


def _others(declared: Decision, decision: Decision, value: Value, bins: int) -> list[Value]:
    values: list[Value] = list(decision.grid(bins))
    if isinstance(decision, Integer):
        values += [decision.nearest(int(value or 0) + step) for step in (-decision.step, decision.step)]
    elif not isinstance(decision, Choice):
        place = declared.to_unit(value)
        values += [decision.nearest(declared.from_unit(place + shift)) for shift in (-0.05, 0.05)]
    return [option for option in dict.fromkeys(values) if not same(option, value)]
