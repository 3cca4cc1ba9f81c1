"""Bracket: one run of successive halving. A rung is finished before the next one starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from automl_ext.baselines.newcomers import Newcomers
from automl_ext.baselines.rungs import Entry, best_first, entry_of
from automl_ext.objective import Objective
from automl_ext.searcher import Proposal, Trial


@dataclass
class Bracket:
    """`candidates` start at the first of `budgets`; the best 1/reduction of each rung go on to the next.

    level: the rung that is open. told: how many of its trials are told. starters: whom it promotes, nobody on the
    lowest rung. entries: its results so far.
    """

    budgets: Sequence[float]
    candidates: int
    reduction: int
    level: int = 0
    told: int = 0
    starters: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    @property
    def due(self) -> int:
        """How many trials the open rung has."""
        return len(self.starters) if self.level else self.candidates

    @property
    def done(self) -> bool:
        return self.told == self.due

    def ask(self, pending: Sequence[Proposal], newcomers: Newcomers, rng: np.random.Generator) -> Proposal | None:
        """The next trial of the open rung, of which all pending ones are; None while its last results are awaited."""
        place = self.told + len(pending)
        if place >= self.due:
            return None
        budget = self.budgets[self.level]
        if self.level == 0:
            drawn = newcomers.draw(pending, rng)
            return Proposal(drawn.candidate, {**drawn.note, "rung": 0}, budget)
        entry = self.starters[place]
        return Proposal(entry.candidate, {**entry.note, "rung": self.level}, budget, entry.number)

    def tell(self, trial: Trial, newcomers: Newcomers, objectives: Sequence[Objective]) -> None:
        """Count a result of the open rung; after its last one open the next rung, if anybody goes on."""
        entry = entry_of(trial, objectives)
        newcomers.tell(entry, trial.candidate, self.budgets[self.level])
        self.told += 1
        if entry is not None:
            self.entries.append(entry)
        if self.told < self.due or self.level + 1 == len(self.budgets):
            return
        survivors = best_first(self.entries)[: self.due // self.reduction]
        if survivors:
            self.level, self.told, self.starters, self.entries = self.level + 1, 0, survivors, []

    def keep(self) -> set[int]:
        """What may still be promoted: the results of the open rung below the top, and whom it still has to start."""
        open_ = self.entries if self.level + 1 < len(self.budgets) else []
        return {entry.number for entry in (*self.starters[self.told :], *open_)}
