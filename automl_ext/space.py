"""Space: one definition of what can be chosen, and the four views that searchers take of it.

    walk            reinforcement learning: one decision at a time, possibly continuing a partial candidate
    build, sample   random search, trees: a whole candidate from a choosing function
    from_genes      evolution: a value for every slot, of which the unreached stay silent
    to/from_vector  Bayesian optimisation and predictors: (dim,) in [0, 1]

A candidate is a dict from path to value in the order decided. A path goes by position (`op/left`), not by option.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from automl_ext.decisions import Choice, Decision, Integer, Real, SpaceError, Value, narrowed, position, same

__all__ = ["Candidate", "Choice", "Decision", "Integer", "Real", "Slot", "Space", "SpaceError", "Value", "Walk"]

Candidate = dict[str, Value]
"""Decision path -> value, in the order decided."""
Genes = Mapping[str, Value]
"""Slot path -> value, silent ones included."""
Narrow = Callable[[str, Decision, Mapping[str, Value]], Decision]
"""(path, decision, made so far) -> the same decision with fewer options or tighter bounds; paths from this space."""


@dataclass(frozen=True, eq=False)
class Slot:
    """A path at which a decision can stand, and the decisions that can stand there (one, unless branches differ)."""

    path: str
    decisions: tuple[Decision, ...]

    @cached_property
    def options(self) -> tuple[Value, ...]:
        """All options of all choices that can stand here, in order of first appearance; () for numbers only."""
        seen: list[Value] = []
        for decision in self.decisions:
            if isinstance(decision, Choice):
                seen += [option for option in decision.options if position(seen, option) < 0]
        return tuple(seen)

    @property
    def width(self) -> int:
        """Places in the vector view: one an option, and one if a number can stand here."""
        return len(self.options) + any(not isinstance(decision, Choice) for decision in self.decisions)


class Space:
    """Immutable, ordered decisions. `narrow` carries hard constraints into every view; `canonical` merges equals.

    Raises SpaceError for two decisions of one name.
    """

    def __init__(
        self,
        *decisions: Decision,
        narrow: Narrow | None = None,
        canonical: Callable[[Candidate], Candidate] | None = None,
    ) -> None:
        self.decisions = decisions
        self.narrow = narrow
        self.canonical = canonical
        names = [decision.name for decision in decisions]
        for name in names:
            if names.count(name) > 1:
                raise SpaceError(f"{name}: two decisions of one space have this name")

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every decision there could be, by path, in order of first appearance.

        Collected over distinct (path, sub-space) pairs, so that chains of shared sub-spaces stay linear.
        """
        found: dict[str, list[Decision]] = {}
        visited: set[tuple[str, int]] = set()

        def collect(space: Space, prefix: str) -> None:
            if (prefix, id(space)) in visited:
                return
            visited.add((prefix, id(space)))
            for decision in space.decisions:
                path = prefix + decision.name
                here = found.setdefault(path, [])
                if not any(decision is other for other in here):
                    here.append(decision)
                if isinstance(decision, Choice):
                    for branch in decision.branches.values():
                        collect(branch, path + "/")

        collect(self, "")
        return tuple(Slot(path, tuple(decisions)) for path, decisions in found.items())

    @cached_property
    def dim(self) -> int:
        """Length of the vector view."""
        return sum(slot.width for slot in self.slots)

    @cached_property
    def _places(self) -> dict[str, tuple[int, Slot]]:
        places, offset = {}, 0
        for slot in self.slots:
            places[slot.path] = (offset, slot)
            offset += slot.width
        return places

    def walk(self, made: Mapping[str, Value] = MappingProxyType({})) -> Walk:
        """A walk that has taken the values of `made` (repaired to legal ones) as far as they reach without a gap."""
        walk = Walk(self)
        while not walk.done and walk.path in made:
            walk.choose(made[walk.path])
        return walk

    def build(self, choose: Callable[[Walk], Value]) -> Candidate:
        """The candidate that `choose`, asked at every step of a walk, decides on."""
        walk = Walk(self)
        while not walk.done:
            walk.choose(choose(walk))
        return walk.candidate

    def sample(self, rng: np.random.Generator) -> Candidate:
        """Each decision in its turn uniformly among what is legal then."""
        return self.build(lambda walk: walk.decision.sample(rng))

    def check(self, candidate: Mapping[str, Value]) -> None:
        """SpaceError naming the first path at which `candidate` leaves the space, and what is legal there."""
        walk = Walk(self)
        while not walk.done:
            if walk.path not in candidate:
                raise SpaceError(f"{walk.path}: no value; legal: {walk.decision.legal}")
            if candidate[walk.path] not in walk.decision:
                raise SpaceError(f"{walk.path}: {candidate[walk.path]!r} is not legal; legal: {walk.decision.legal}")
            walk.choose(candidate[walk.path])
        made = walk.candidate
        for path, value in candidate.items():
            if path not in made:
                raise SpaceError(f"{path}: nothing is decided here; legal paths: {', '.join(made)}")
            if not same(made[path], value):
                raise SpaceError(f"{path}: {value!r} is not legal; legal: only {made[path]!r}")
        if len(made) > len(candidate):
            missing = next(path for path in made if path not in candidate)
            raise SpaceError(f"{missing}: no value; legal: only {made[missing]!r}")

    def __contains__(self, candidate: object) -> bool:
        if not isinstance(candidate, Mapping):
            return False
        try:
            self.check(candidate)
        except SpaceError:
            return False
        return True

    def key(self, candidate: Candidate) -> str:
        """Hash of the canonical form, 32 hexadecimal digits: equal for candidates that mean the same."""
        form = self.canonical(dict(candidate)) if self.canonical else candidate
        text = json.dumps(form, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def from_genes(self, genes: Genes) -> Candidate:
        """The candidate that `genes` express: repaired where illegal, the first legal value where none fits."""

        def express(walk: Walk) -> Value:
            value = genes.get(walk.path, walk.decision.first)
            try:
                return walk.decision.nearest(value)
            except SpaceError:
                return walk.decision.first

        return self.build(express)

    def to_vector(self, candidate: Mapping[str, Value]) -> NDArray[np.float64]:
        """(dim,) in [0, 1], also of a partial candidate: one-hot choices, numbers by position, silent numbers 0.5.

        Raises SpaceError for a value that is no option.
        """
        vector = np.zeros(self.dim)
        active = self._active(candidate)
        for path, (offset, slot) in self._places.items():
            if path not in candidate:
                if slot.width > len(slot.options):
                    vector[offset + slot.width - 1] = 0.5
                continue
            decision = active.get(path, slot.decisions[0])
            if isinstance(decision, Choice):
                place = position(slot.options, candidate[path])
                if place < 0:
                    raise SpaceError(f"{path}: {candidate[path]!r} is not legal; legal: {decision.legal}")
                vector[offset + place] = 1.0
            else:
                vector[offset + slot.width - 1] = decision.to_unit(candidate[path])
        return vector

    def from_vector(self, vector: NDArray[np.float64]) -> Candidate:
        """The candidate nearest to `vector` (dim,): the largest legal option, the nearest legal number."""
        if len(vector) != self.dim:
            raise SpaceError(f"a vector of this space has {self.dim} numbers, not {len(vector)}")

        def decode(walk: Walk) -> Value:
            offset, slot = self._places[walk.path]
            decision = walk.decision
            if isinstance(decision, Choice):
                return max(decision.options, key=lambda option: vector[offset + position(slot.options, option)])
            return walk.declared.from_unit(float(vector[offset + slot.width - 1]))

        return self.build(decode)

    def _active(self, candidate: Mapping[str, Value]) -> dict[str, Decision]:
        """Which decision stands at each path of `candidate`, where a slot leaves that open."""
        if all(len(slot.decisions) == 1 for slot in self.slots):
            return {}
        walk = Walk(self)
        while not walk.done and walk.path in candidate:
            walk.choose(candidate[walk.path])
        return walk.taken

    def candidates(self, bins: int) -> Iterator[Candidate]:
        """Every candidate, numbers on grids of at most `bins` values, in lexicographic order."""
        candidate: Candidate | None = self.following(None, bins)
        while candidate is not None:
            yield candidate
            candidate = self.following(candidate, bins)

    def following(self, candidate: Candidate | None, bins: int) -> Candidate | None:
        """The candidate behind `candidate` in the order of `candidates`, the first for None, None behind the last."""
        if candidate is None:
            return self.build(lambda walk: walk.decision.grid(bins)[0])
        steps: list[tuple[dict[str, Value], str, Value]] = []
        walk = Walk(self)
        while not walk.done:
            grid = list(walk.decision.grid(bins))
            index = position(grid, candidate[walk.path])
            if index + 1 < len(grid):
                steps.append((walk.candidate, walk.path, grid[index + 1]))
            walk.choose(candidate[walk.path])
        if not steps:
            return None
        made, path, value = steps[-1]
        walk = self.walk({**made, path: value})
        while not walk.done:
            walk.choose(walk.decision.grid(bins)[0])
        return walk.candidate


@dataclass
class _Frame:
    space: Space
    prefix: str
    index: int = 0


class Walk:
    """One candidate in the making. `decision` is narrowed by what was decided; `declared` is the same one unnarrowed.

    A decision with one legal value is settled and recorded, and is not a step.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.done = False
        self.path = ""
        self.taken: dict[str, Decision] = {}
        self._made: Candidate = {}
        self._frames = [_Frame(space, "")]
        self.declared: Decision
        self.decision: Decision
        self._advance()

    @property
    def candidate(self) -> Candidate:
        """What has been decided so far, settled decisions included (a copy)."""
        return dict(self._made)

    def choose(self, value: Value) -> Value:
        """Decide the current step; an illegal value goes to the nearest legal one. Returns what was realised.

        Raises SpaceError for a value that no rule can repair (unknown option, NaN) and for a walk that is done.
        """
        if self.done:
            raise SpaceError("the walk is done: nothing is left to choose")
        try:
            realised = self.decision.nearest(value)
        except SpaceError as error:
            raise SpaceError(f"{self.path}: {value!r} is not legal; legal: {self.decision.legal}") from error
        self._record(realised)
        self._advance()
        return realised

    def _record(self, value: Value) -> None:
        self._made[self.path] = value
        self.taken[self.path] = self.declared
        if isinstance(self.declared, Choice) and value in self.declared.branches:
            self._frames.append(_Frame(self.declared.branches[value], self.path + "/"))

    def _advance(self) -> None:
        while self._frames:
            frame = self._frames[-1]
            if frame.index == len(frame.space.decisions):
                self._frames.pop()
                continue
            self.declared = frame.space.decisions[frame.index]
            frame.index += 1
            self.path = frame.prefix + self.declared.name
            self.decision = self._narrow()
            if self.decision.count != 1:
                return
            self._record(self.decision.first)
        self.done, self.path = True, ""

    def _narrow(self) -> Decision:
        """Shrink by every enclosing space's rule, the innermost first; each sees paths as its own space has them."""
        decision = self.declared
        for frame in reversed(self._frames):
            if frame.space.narrow is None:
                continue
            cut = len(frame.prefix)
            made = {path[cut:]: value for path, value in self._made.items() if path.startswith(frame.prefix)}
            shrunk = frame.space.narrow(self.path[cut:], decision, made)
            decision = narrowed(self.path, decision, shrunk)
        return decision
