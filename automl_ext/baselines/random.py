"""Random search: every candidate drawn from the space, independent of all before (Bergstra & Bengio, JMLR 2012).

Differs from the paper: 1. each decision is uniform among what is legal at its turn, so a narrowed space is not uniform
over its candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_ext.searcher import Proposal, Target, Trial


class Random:
    """The baseline beside every result."""

    def __init__(self, target: Target, rng: np.random.Generator) -> None:
        self.space = target.space

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        return Proposal(self.space.sample(rng))

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Nothing is learned."""
