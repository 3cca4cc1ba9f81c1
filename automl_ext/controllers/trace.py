"""A walk as a recurrent network reads it: rows of tables in place of paths, values and options.

Rows are shared by decisions of one `kind`: an option that all of them declare has one row for its score and one for
its embedding. Without a kind every slot has its own rows. An option that `refers` to an earlier decision is no row but
a pointer: all pointers of a decision share one row, and what they are scored by is where they point.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from automl_ext.decisions import Choice, Decision, Integer, Number, Value, position
from automl_ext.space import Candidate, Space, Walk

STATIC, ABSENT = -2, -1
LEAST = 1e-9
Before = tuple[int, int, float]
"""The value decided last: its row, a second row to add in proportion, and that proportion."""


@dataclass(frozen=True)
class Options:
    """A choice that is open at place `at` of a trace: the legal options, and a row for each.

    pointers: for each option the decision that it points at, as a place of the trace; STATIC for one that does not
    point; ABSENT where that decision was not made. chosen: which option was taken, -1 before.
    """

    at: int
    legal: tuple[Value, ...]
    rows: tuple[int, ...]
    pointers: tuple[int, ...]
    chosen: int = -1

    def taking(self, value: Value) -> Options:
        """The same once `value`, a legal one, is taken."""
        return Options(self.at, self.legal, self.rows, self.pointers, position(self.legal, value))


@dataclass(frozen=True)
class Interval:
    """A number that is open at place `at`: legal from `low` to `low + span` in the unit range that is declared.

    row: of its centre; row + 1: of its width. left, size: the cell of the value that was taken, size 0 for a Real.
    """

    at: int
    row: int
    declared: Number
    decision: Number
    low: float
    span: float
    left: float = math.nan
    size: float = 0.0

    def taking(self, value: Value) -> Interval:
        """The same once `value`, a legal one, is taken."""
        own = cell(self.declared, self.decision, float(value or 0))
        return Interval(self.at, self.row, self.declared, self.decision, self.low, self.span, *own)

    def nearest(self, place: float) -> Value:
        """The legal value at `place` of the declared unit range."""
        return self.decision.nearest(number_at(self.declared, place))


@dataclass
class Trace:
    """One walk. slots: the slot of each decision, settled ones included. before: what was decided in front of each.

    open: the decisions that were steps of the walk.
    """

    slots: list[int] = field(default_factory=list)
    before: list[Before] = field(default_factory=list)
    open: list[Options | Interval] = field(default_factory=list)


class Layout:
    """Rows for every slot, value and option of a space. rows: how many; slots: how many."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.places = {slot.path: index for index, slot in enumerate(space.slots)}
        self.slots = len(self.places)
        self._rows: dict[str, int] = {"": 0}
        self._scopes: dict[tuple[str, int], str] = {}
        self._tables: dict[str, dict[tuple[type, Value], tuple[int, int]]] = {}
        for slot in space.slots:
            for number, decision in enumerate(slot.decisions):
                self._scopes[slot.path, id(decision)] = self._allot(slot.path, number, decision)
        self.rows = len(self._rows)

    def trace(self, candidate: Candidate) -> Trace:
        """A whole candidate, read."""
        walk, trace = Walk(self.space), Trace()
        self.read(walk, trace)
        while not walk.done:
            self.decide(walk, trace, candidate[walk.path])
        return trace

    def decide(self, walk: Walk, trace: Trace, value: Value) -> None:
        """Take one step of `walk` and read it; `trace` had been read up to it."""
        trace.open[-1] = trace.open[-1].taking(walk.choose(value))
        self.read(walk, trace)

    def read(self, walk: Walk, trace: Trace) -> None:
        """Add what was settled since, and the decision that is open now."""
        made = walk.candidate
        taken = list(made)
        for at in range(len(trace.slots), len(taken) + (not walk.done)):
            path = taken[at] if at < len(taken) else walk.path
            trace.slots.append(self.places[path])
            trace.before.append(self._before(walk, taken[at - 1], made) if at else (0, 0, 0.0))
        if not walk.done:
            trace.open.append(self._asked(walk, {path: at for at, path in enumerate(taken)}))

    def _allot(self, path: str, number: int, decision: Decision) -> str:
        """Give a decision its rows, and return the scope that it shares them in."""
        scope = json.dumps([path, number] if decision.kind is None else [decision.kind])
        if isinstance(decision, Choice):
            plain = [option for option in decision.declared if option not in decision.refers]
            scope += json.dumps(plain)
            table = self._tables.setdefault(scope, {})
            for option in decision.declared:
                own = self._row(scope + json.dumps(option))
                scored = self._row(scope + "points") if option in decision.refers else own
                table[type(option), option] = (own, scored)
        else:
            bounds = [type(decision).__name__, decision.low, decision.high, decision.log]
            scope += json.dumps(bounds)
            self._row(scope + "centre")
            self._row(scope + "width")
        return scope

    def _row(self, key: str) -> int:
        return self._rows.setdefault(key, len(self._rows))

    def _before(self, walk: Walk, path: str, made: Mapping[str, Value]) -> Before:
        declared = walk.taken[path]
        scope = self._scopes[path, id(declared)]
        if isinstance(declared, Choice):
            return (self._tables[scope][type(made[path]), made[path]][0], 0, 0.0)
        centre = self._rows[scope + "centre"]
        return (centre, centre + 1, declared.to_unit(made[path]))

    def _asked(self, walk: Walk, places: Mapping[str, int]) -> Options | Interval:
        declared, decision, at = walk.declared, walk.decision, len(places)
        scope = self._scopes[walk.path, id(declared)]
        if isinstance(declared, Choice):
            table, options = self._tables[scope], tuple(cast(Choice, decision).options)
            pointers = tuple(_pointer(walk.path, declared, option, places) for option in options)
            return Options(at, options, tuple(table[type(option), option][1] for option in options), pointers)
        number = cast(Number, decision)
        return Interval(at, self._rows[scope + "centre"], declared, number, *legal_range(declared, number))


def _pointer(path: str, declared: Choice, option: Value, places: Mapping[str, int]) -> int:
    """Where `option` points, its path looked up in the decision's own space and then in each that encloses it."""
    if option not in declared.refers:
        return STATIC
    prefix = path[: -len(declared.name)]
    while True:
        wanted = prefix + declared.refers[option]
        if wanted in places:
            return places[wanted]
        if not prefix:
            return ABSENT
        prefix = prefix[: prefix[:-1].rfind("/") + 1]


def unit(declared: Number, number: float) -> float:
    """Where `number` lies in the declared range, which is [0, 1]; beyond it where it is outside."""
    if declared.log:
        return math.log(number / declared.low) / math.log(declared.high / declared.low)
    return (number - declared.low) / (declared.high - declared.low)


def number_at(declared: Number, place: float) -> float:
    """The inverse of `unit`."""
    if declared.log:
        return float(declared.low * math.exp(place * math.log(declared.high / declared.low)))
    return declared.low + place * (declared.high - declared.low)


def cell(declared: Number, decision: Number, value: float) -> tuple[float, float]:
    """(left end, size) of the places that `decision.nearest` takes to `value`; size 0 for a Real."""
    if not isinstance(decision, Integer):
        return unit(declared, value), 0.0
    left, right = value - decision.step / 2, value + decision.step / 2
    if not declared.log:
        return unit(declared, left), unit(declared, right) - unit(declared, left)
    low = max(0.0, unit(declared, left)) if left > 0 else 0.0
    return low, min(1.0, unit(declared, right)) - low


def legal_range(declared: Number, decision: Number) -> tuple[float, float]:
    """(low end, length) of the places that are legal: the cells of all legal values together. Length > 0."""
    low, _ = cell(declared, decision, decision.low)
    left, size = cell(declared, decision, decision.high)
    return low, max(left + size - low, LEAST)
