"""The space of dense prediction cells: B branches, each an input and an operation; all outputs are concatenated.

Chen, Collins, Zhu, Papandreou, Zoph, Schroff, Adam, Shlens: "Searching for Efficient Multi-Scale Architectures for
Dense Image Prediction", NeurIPS 2018, arXiv 1809.04184. Branch i reads the features of the backbone or one of the i - 1
branches before it; with 5 branches and 81 operations there are 5! 81^5 = 4.18e11 cells.

An operation is one decision among 81, not a family and then its rates: drawn evenly, cells are even, too, and 1x1 has
not a third of all branches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from automl_ext.tasks.segmentation.operations import Op, SegmentationError, operations
from numpy.typing import NDArray

from automl_ext.space import Candidate, Choice, Space, Value

__all__ = ["FEATURES", "Branch", "Cell", "CellSpace", "candidate_of", "canonical", "cell_of", "depths_of"]

FEATURES = 0
"""The input that is the backbone's features; branches count from 1."""


@dataclass(frozen=True)
class Branch:
    """source: FEATURES, or the number of an earlier branch."""

    source: int
    op: Op


Cell = tuple[Branch, ...]


@dataclass(frozen=True)
class CellSpace:
    """branches: B. rates, grids: what atrous convolutions and pools can have."""

    branches: int
    rates: tuple[int, ...]
    grids: tuple[int, ...]

    @property
    def ops(self) -> tuple[Op, ...]:
        return operations(self.rates, self.grids)

    @property
    def size(self) -> int:
        """How many candidates there are, equal cells counted apart."""
        return factorial(self.branches) * int(len(self.ops) ** self.branches)

    def space(self) -> Space:
        """Paths `1.input` (settled), `1.op`, ..., `5.input`, `5.op`. An input points at the operation that it takes."""
        texts, decisions = [op.text for op in self.ops], []
        for branch in range(1, self.branches + 1):
            earlier = {source: f"{source}.op" for source in range(1, branch)}
            decisions.append(Choice(f"{branch}.input", range(branch), kind="input", refers=earlier))
            decisions.append(Choice(f"{branch}.op", texts, kind="op"))
        return Space(*decisions, canonical=lambda candidate: candidate_of(canonical(cell_of(candidate))))

    def features(self, candidate: Mapping[str, Value]) -> NDArray[np.float64]:
        """(7 a branch + 5,) for surrogate models: kind, rates, pools, depth of each; means over the canonical cell."""
        cell = canonical(cell_of(candidate))
        rows, depths = [], depths_of(cell)
        top = max(self.rates)
        for branch, depth in zip(cell, depths, strict=True):
            op = branch.op
            atrous, pool = op.kind == "3x3", op.kind == "pool"
            places = [op.rows / top, op.columns / top] if atrous else [0.0, 0.0]
            grids = [1 / op.rows, 1 / op.columns] if pool else [0.0, 0.0]
            rows.append([float(atrous), float(pool), *places, *grids, depth / self.branches])
        table = np.array(rows)
        wide = np.array([branch.source == FEATURES for branch in cell], float)
        summary = [wide.mean(), table[:, 2].max(), table[:, 3].max(), table[:, 0].mean(), table[:, 1].mean()]
        return np.concatenate([table.ravel(), summary])


def cell_of(candidate: Mapping[str, Value]) -> Cell:
    """The cell that a candidate's decisions say. Raises SegmentationError for an input that is no earlier branch."""
    cell = []
    for branch in range(1, len(candidate) // 2 + 1):
        source, text = candidate[f"{branch}.input"], candidate[f"{branch}.op"]
        if not isinstance(source, int) or not 0 <= source < branch:
            raise SegmentationError(f"{branch}.input: {source!r} is not one of 0 to {branch - 1}")
        cell.append(Branch(source, Op.of(str(text))))
    return tuple(cell)


def candidate_of(cell: Sequence[Branch]) -> Candidate:
    """The decisions that say a cell."""
    made: Candidate = {}
    for number, branch in enumerate(cell, 1):
        made |= {f"{number}.input": branch.source, f"{number}.op": branch.op.text}
    return made


def canonical(cell: Cell) -> Cell:
    """The same for all cells that differ in the numbers of their branches only.

    Each branch has one input, so that a cell is a tree with the features as its root: branches are numbered as they are
    met from there, children sorted by what they and all behind them are.
    """
    return tuple(_relabelled(cell, tree_order(cell)))


def tree_order(cell: Cell) -> list[int]:
    """The branches' numbers in the canonical order."""
    children: dict[int, list[int]] = {number: [] for number in range(len(cell) + 1)}
    for number, branch in enumerate(cell, 1):
        children[branch.source].append(number)
    codes: dict[int, tuple[object, ...]] = {}
    for number in range(len(cell), 0, -1):
        codes[number] = (cell[number - 1].op, tuple(sorted(codes[child] for child in children[number])))
    order: list[int] = []
    open_ = [FEATURES]
    while open_:
        number = open_.pop()
        order += [number] if number else []
        open_ += sorted(children[number], key=lambda child: codes[child], reverse=True)
    return order


def _relabelled(cell: Cell, order: Sequence[int]) -> list[Branch]:
    place = {FEATURES: FEATURES} | {number: index for index, number in enumerate(order, 1)}
    return [Branch(place[cell[number - 1].source], cell[number - 1].op) for number in order]


def depths_of(cell: Cell) -> list[int]:
    """How many operations lie between the features and each branch's output, its own included."""
    depths = [0]
    for branch in cell:
        depths.append(depths[branch.source] + 1)
    return depths[1:]
