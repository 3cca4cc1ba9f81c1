"""Chain: a chain-shaped Bayesian network over the phases of good candidates, NSGA-Net's model for exploitation.

Z. Lu et al., "NSGA-Net: Neural Architecture Search using Multi-Objective Genetic Algorithm", GECCO 2019, arXiv
1810.03522: phase 1 ~ P(phase 1), phase 2 ~ P(phase 2 | phase 1), ..., all estimated by counting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from automl_ext.decisions import Value
from automl_ext.space import Candidate

Part = tuple[tuple[str, Value], ...]
"""What a candidate decides in one phase."""


class Chain:
    """Phases are equal consecutive parts of `paths`; a phase without any decision is one value like another."""

    def __init__(self, paths: Sequence[str], phases: int) -> None:
        self.phase_of = {path: index * phases // len(paths) for index, path in enumerate(paths)}
        self.phases = phases
        self.following: list[dict[Part, list[Part]]] = []

    @property
    def ready(self) -> bool:
        return bool(self.following)

    def fit(self, candidates: Sequence[Candidate]) -> None:
        """Count, over `candidates`, which part follows which; the first follows the empty one."""
        self.following = [defaultdict(list) for _ in range(self.phases)]
        for candidate in candidates:
            before: Part = ()
            for phase, part in enumerate(self._parts(candidate)):
                self.following[phase][before].append(part)
                before = part

    def draw(self, rng: np.random.Generator) -> Candidate:
        """Genes put together from parts, each drawn as often as it followed the one before."""
        genes: Candidate = {}
        before: Part = ()
        for followers in self.following:
            parts = followers[before]
            before = parts[int(rng.integers(len(parts)))]
            genes.update(before)
        return genes

    def _parts(self, candidate: Candidate) -> list[Part]:
        parts: list[list[tuple[str, Value]]] = [[] for _ in range(self.phases)]
        for path, value in candidate.items():
            parts[self.phase_of[path]].append((path, value))
        return [tuple(part) for part in parts]
