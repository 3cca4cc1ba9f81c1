"""Random search that now and then changes one of the best a little.

The search of L.-C. Chen, M. Collins, Y. Zhu, G. Papandreou, B. Zoph, F. Schroff, H. Adam, J. Shlens, "Searching for
Efficient Multi-Scale Architectures for Dense Image Prediction", NeurIPS 2018, arXiv 1809.04184 (a mode of Vizier's).

Differs from the paper:
1. How often it perturbs, and how many best ones it keeps, is not published: half of the proposals, and five.
2. The small change is the target's own mutation; the generic one changes one decision.
3. Failed trials are never changed. Candidates that miss a limit are ranked by how far they miss it, below all others.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial


class Perturbed:
    """random: share of proposals drawn anew. best: from how many of the best, evenly, the others start."""

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        random: Annotated[float, Field(ge=0, le=1)] = 0.5,
        best: Annotated[int, Field(ge=1, le=100_000)] = 5,
    ) -> None:
        one_objective(target.objectives, "perturbed")
        if not 0 <= random <= 1:
            raise ValueError(f"searcher.random: from 0 to 1, not {random}")
        if best < 1:
            raise ValueError(f"searcher.best: at least 1, not {best}")
        self.target, self.random, self.most = target, random, best
        self.best: list[tuple[tuple[float, float], int, dict[str, Any]]] = []

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        if not self.best or rng.random() < self.random:
            genes = self.target.variation.sample(rng)
        else:
            _, _, parent = self.best[int(rng.integers(len(self.best)))]
            genes = self.target.variation.mutate(parent, rng)
        return Proposal(self.target.space.from_genes(genes), {"genes": genes})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Enters if it is one of the best; of equals the earlier stays."""
        if trial.metrics is None:
            return
        violation, value = rank(trial.metrics, self.target.objectives)
        insort(self.best, ((-violation, -value), trial.number, dict(trial.note["genes"])), key=lambda each: each[:2])
        del self.best[self.most :]
