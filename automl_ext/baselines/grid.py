"""Grid search: every candidate once, in lexicographic order; conditional decisions only where they are active.

Differs from textbooks: 1. reals, and integers with more than `bins` values, are visited at `bins` evenly spaced values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate

Bins = Annotated[int, Field(ge=2, le=1000)]


class Grid:
    """Ends by itself when all candidates are asked. bins: how many values a number is visited at, at most."""

    finite = True

    def __init__(self, target: Target, rng: np.random.Generator, *, bins: Bins = 5) -> None:
        if bins < 2:
            raise ValueError(f"searcher.bins: at least 2, not {bins}")
        self.space = target.space
        self.bins = bins
        self.last: Candidate | None = None

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        last = pending[-1].candidate if pending else self.last
        candidate = self.space.following(last, self.bins)
        return None if candidate is None else Proposal(candidate)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Remember the place."""
        self.last = trial.candidate
