"""A cell of pairs as a value, read from a candidate, and the one form of all cells that are isomorphic.

A cell has two inputs, the outputs of the last cell and of the one before. Each block applies two operations to two
earlier states and joins the results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from automl_ext.tasks.architecture.isomorphism import Names, smallest

from automl_ext.space import Candidate, Value

__all__ = ["BEFORE", "LAST", "Block", "CellPlan", "Cells", "canonical", "input_name", "plans", "written"]

LAST, BEFORE = -1, -2
"""States that a cell gets: the output of the last cell, and of the one before; blocks count from 0."""
_PART = re.compile(r"(?:.*/)?(normal|reduction)_(\d+)_(left|right|left_op|right_op|join)")


@dataclass(frozen=True)
class Block:
    """left, right: states. join: add or concat."""

    left: int
    right: int
    left_op: str
    right_op: str
    join: str = "add"


@dataclass(frozen=True)
class CellPlan:
    """output: concat of the `unused` blocks, or of `all`."""

    blocks: tuple[Block, ...]
    output: str = "unused"

    @property
    def used(self) -> frozenset[int]:
        """States that a block takes."""
        return frozenset(state for block in self.blocks for state in (block.left, block.right))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Blocks that the cell's output is made of; at least one, since no block takes the last one."""
        used = self.used if self.output == "unused" else frozenset[int]()
        return tuple(index for index in range(len(self.blocks)) if index not in used)


@dataclass(frozen=True)
class Cells:
    """reduction is None where the normal cell stands for it, with stride 2 (PNAS)."""

    normal: CellPlan
    reduction: CellPlan | None

    @property
    def halving(self) -> CellPlan:
        return self.reduction or self.normal


def input_name(state: int) -> str:
    """cell-1: the last cell, cell-2: the one before, block-1: the first block."""
    return f"cell{state}" if state < 0 else f"block-{state + 1}"


def plans(candidate: Mapping[str, Value]) -> Cells:
    """What `candidate` says, whatever number of blocks it has."""
    parts: dict[str, dict[int, dict[str, str]]] = {"normal": {}, "reduction": {}}
    for path, value in candidate.items():
        found = _PART.fullmatch(path)
        if found:
            parts[found[1]].setdefault(int(found[2]), {})[found[3]] = str(value)
    output = str(candidate.get("output", "unused"))
    normal, reduction = (_plan(parts[kind], output) for kind in ("normal", "reduction"))
    if normal is None:
        raise ValueError("a candidate of the cell space has at least one block of a normal cell")
    return Cells(normal, reduction)


def written(kind: str, blocks: Iterable[Block], prefix: str = "", join: bool = False) -> Candidate:
    """The decisions of a cell, in the order of the space."""
    made: Candidate = {}
    for index, block in enumerate(blocks):
        start = f"{prefix}{kind}_{index + 1}_"
        made[start + "left"], made[start + "right"] = input_name(block.left), input_name(block.right)
        made[start + "left_op"], made[start + "right_op"] = block.left_op, block.right_op
        if join:
            made[start + "join"] = block.join
    return made


def canonical(candidate: Candidate, kinds: Sequence[bool] = ()) -> Candidate:
    """The smallest listing of each cell: equal for cells that differ by the order of blocks, or of a block's halves.

    kinds: of `kinds_of`; a reduction cell that nothing depends on is left out.
    """
    cells = plans(candidate)
    alive = [kind for kind, used in zip(kinds, live(stacked(cells, kinds)), strict=True) if used]
    reduction = cells.reduction if any(alive) or not kinds else None
    made: Candidate = {"normal": _listed(cells.normal), "output": cells.normal.output}
    return made if reduction is None else {**made, "reduction": _listed(reduction)}


def _listed(plan: CellPlan) -> str:
    def encode(node: int, names: Names) -> tuple[object, ...]:
        block = plan.blocks[node]
        halves = [(block.left, block.left_op), (block.right, block.right_op)]
        return (block.join, *sorted((names.get(state, state), operation) for state, operation in halves))

    needs = [[state for state in (block.left, block.right) if state >= 0] for block in plan.blocks]
    return str(smallest(needs, encode)[0])


def _plan(parts: Mapping[int, Mapping[str, str]], output: str) -> CellPlan | None:
    if not parts:
        return None
    return CellPlan(tuple(_block(parts[number]) for number in sorted(parts)), output)


def _block(part: Mapping[str, str]) -> Block:
    left, right = (_state(part[half]) for half in ("left", "right"))
    return Block(left, right, part["left_op"], part["right_op"], part.get("join", "add"))


def _state(name: str) -> int:
    kind, _, number = name.partition("-")
    return -int(number) if kind == "cell" else int(number) - 1


def kinds_of(side: int, repeats: int) -> list[bool]:
    """Whether each cell of a network for images of that side, behind the stem, is a reduction cell.

    repeats: normal cells a stack.
    """
    while side > 40:
        side = -(-side // 2)
    halvings = 0 if side < 4 else min(2, side.bit_length() - 2)
    return [False] * repeats + ([True] + [False] * repeats) * halvings


def stacked(cells: Cells, kinds: Sequence[bool]) -> list[CellPlan]:
    """The plan of each cell."""
    return [cells.halving if halving else cells.normal for halving in kinds]


def live(cells: Sequence[CellPlan]) -> list[bool]:
    """Which cells of a stack the last one depends on."""
    alive = [False] * len(cells)
    for index in range(len(cells) - 1, -1, -1):
        later = [(index + 1, LAST), (index + 2, BEFORE)]
        wanted = any(at < len(cells) and alive[at] and state in cells[at].used for at, state in later)
        alive[index] = index == len(cells) - 1 or wanted
    return alive
