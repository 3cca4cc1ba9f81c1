"""How evolution changes a cell: one small edit, as in the paper's perturbation of the best cells seen.

The paper does not say how small; taken here, evenly: another input; another kind of operation; a rate or a grid to the
next one; rows and columns swapped. An edit that is not possible for a branch gives way to another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import numpy as np
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.space import Branch, CellSpace, candidate_of, cell_of

from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Genes, Space

__all__ = ["CellVariation"]


@final
class CellVariation:
    """Mutations of one field of one branch; crossover of whole branches."""

    def __init__(self, cells: CellSpace, space: Space) -> None:
        self.cells = cells
        self._generic = GenericVariation(space)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.sample(rng)

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.twins(genes, rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """One edit of one branch."""
        cell = cell_of(genes)
        edits: list[Callable[[int, Branch, np.random.Generator], Branch | None]]
        edits = [self._input, self._kind, self._step, self._swap]
        while True:
            place = int(rng.integers(len(cell)))
            changed = edits[int(rng.integers(len(edits)))](place + 1, cell[place], rng)
            if changed is not None:
                return dict(candidate_of((*cell[:place], changed, *cell[place + 1 :])))

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Each branch from one of the two."""
        taken = rng.random(self.cells.branches) < 0.5
        return {path: (right if taken[int(path.partition(".")[0]) - 1] else left)[path] for path in left}

    def _input(self, number: int, branch: Branch, rng: np.random.Generator) -> Branch | None:
        others = [source for source in range(number) if source != branch.source]
        return replace(branch, source=others[int(rng.integers(len(others)))]) if others else None

    def _kind(self, number: int, branch: Branch, rng: np.random.Generator) -> Branch | None:
        kinds = sorted({op.kind for op in self.cells.ops} - {branch.op.kind})
        kind = kinds[int(rng.integers(len(kinds)))]
        same = [op for op in self.cells.ops if op.kind == kind]
        return replace(branch, op=same[int(rng.integers(len(same)))])

    def _step(self, number: int, branch: Branch, rng: np.random.Generator) -> Branch | None:
        op = branch.op
        legal = {"3x3": self.cells.rates, "pool": self.cells.grids}.get(op.kind, ())
        near = []
        for way in (-1, 1):
            for rows in (True, False):
                place = legal.index(op.rows if rows else op.columns) + way if legal else -1
                if 0 <= place < len(legal):
                    sides = (legal[place], op.columns) if rows else (op.rows, legal[place])
                    near.append(Op(op.kind, *sides))
        return replace(branch, op=near[int(rng.integers(len(near)))]) if near else None

    def _swap(self, number: int, branch: Branch, rng: np.random.Generator) -> Branch | None:
        op = branch.op
        return None if op.rows == op.columns else replace(branch, op=Op(op.kind, op.columns, op.rows))
