"""Levels: what it means, in any space, that candidates grow block by block.

A block is `block` consecutive decisions of the outermost space with all that they open; where that space has a single
decision (a chain, a tree), `block` consecutive steps of the walk. A candidate of level b has its first b blocks decided
and the first legal value everywhere else: in a chain whose first option ends it, that is a candidate of b blocks.
With `size`, the path of a choice of how many blocks there are, block b is what its option b opens and option b - 1
does not, and a candidate of level b takes option b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from automl_ext.decisions import Choice, SpaceError, Value
from automl_ext.space import Candidate, Space, Walk


class Levels:
    """Which block a step belongs to (from 0), and how candidates of one level are made from those of the last.

    count: number of levels with `size`. bins: values of a number that are tried. Raises
    SpaceError where `size` is no choice of growing sub-spaces.
    """

    def __init__(self, space: Space, block: int, bins: int, size: str | None = None) -> None:
        self.space, self.block, self.bins, self.size = space, block, bins, size
        self.sizes: Sequence[Value] = ()
        self.count = 0
        self.opened: dict[str, int] = {}
        if size is not None:
            self.opened = self._opened_by(size)
            self.count = len(self.sizes)
        elif len(space.decisions) > 1:
            self.opened = {decision.name: index // block for index, decision in enumerate(space.decisions)}

    def block_of(self, path: str, step: int) -> int:
        """The block of the decision at `path`, which is step number `step` of its walk."""
        if self.size is not None:
            return self.opened.get(path, 0)
        return self.opened[path.split("/")[0]] if self.opened else step // self.block

    def reach(self, candidate: Mapping[str, Value]) -> int:
        """Number of blocks up to the last in which something is decided in `candidate`."""
        last, step, walk = 0, 0, Walk(self.space)
        while not walk.done:
            last = max(last, 1 + self.block_of(walk.path, step))
            walk.choose(candidate[walk.path])
            step += 1
        return last

    def grows(self, candidate: Mapping[str, Value], decided: int) -> bool:
        """Whether there is a block behind the first `decided` ones of `candidate`."""
        return decided < self.count if self.size is not None else decided < self.reach(candidate)

    def extensions(self, parent: Mapping[str, Value], block: int) -> Iterator[Candidate]:
        """Every candidate that decides `block` freely, earlier blocks as in `parent`, later ones by first values."""
        yield from self._every({}, parent, block)

    def extension(self, parent: Mapping[str, Value], block: int, rng: np.random.Generator) -> Candidate:
        """One of `extensions`, its free decisions drawn one by one."""

        def draw(walk: Walk) -> Value:
            grid = walk.decision.grid(self.bins)
            return grid[int(rng.integers(len(grid)))]

        return self._drawn(parent, block, draw, growing=True)

    def revision(self, parent: Mapping[str, Value], block: int, rng: np.random.Generator) -> Candidate:
        """`parent` with `block` drawn anew, numbers anywhere in their range."""
        return self._drawn(parent, block, lambda walk: walk.decision.sample(rng), growing=False)

    def _every(self, made: Candidate, parent: Mapping[str, Value], block: int) -> Iterator[Candidate]:
        walk, step = Walk(self.space), 0
        while not walk.done:
            here = self.block_of(walk.path, step)
            if walk.path in made:
                walk.choose(made[walk.path])
            elif here == block and walk.path != self.size:
                before = walk.candidate
                for value in walk.decision.grid(self.bins):
                    yield from self._every({**before, walk.path: value}, parent, block)
                return
            else:
                walk.choose(self._fixed(walk, parent, first=here > block, level=block))
            step += 1
        yield walk.candidate

    def _drawn(
        self, parent: Mapping[str, Value], block: int, draw: Callable[[Walk], Value], growing: bool
    ) -> Candidate:
        walk, step = Walk(self.space), 0
        while not walk.done:
            here = self.block_of(walk.path, step)
            if here == block and walk.path != self.size:
                walk.choose(draw(walk))
            else:
                walk.choose(self._fixed(walk, parent, growing and here > block, block if growing else None))
            step += 1
        return walk.candidate

    def _fixed(self, walk: Walk, parent: Mapping[str, Value], first: bool, level: int | None) -> Value:
        """As in `parent` where that is legal, the first legal value where it is not; the size by the level."""
        value = walk.decision.first if first else parent.get(walk.path, walk.decision.first)
        if walk.path == self.size and level is not None:
            value = self.sizes[level]
        try:
            return walk.decision.nearest(value)
        except SpaceError:
            return walk.decision.first

    def _opened_by(self, size: str) -> dict[str, int]:
        found = [slot for slot in self.space.slots if slot.path == size]
        if not found or not isinstance(found[0].decisions[0], Choice):
            choices = [slot.path for slot in self.space.slots if slot.options]
            raise SpaceError(f"searcher.size: {size!r} is no choice; choices: {', '.join(choices)}")
        choice = found[0].decisions[0]
        self.sizes = choice.options
        paths = [
            {slot.path for slot in choice.branches[o].slots} if o in choice.branches else set() for o in self.sizes
        ]
        if any(not smaller < larger for smaller, larger in pairwise(paths)):
            raise SpaceError(f"searcher.size: {size} is no choice of how many blocks: each option is to open more")
        return {
            f"{size}/{path}": next(level for level, known in enumerate(paths) if path in known)
            for path in sorted(paths[-1])
        }
