"""Decisions: what can be chosen at one place of a space.

A decision is a `Choice` among JSON scalars, an `Integer` on a grid, or a `Real` in an interval. All three answer the
same questions: which values are legal, which legal value is nearest (the one repair rule), how a value maps to [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from automl_ext.space import Space

Value = str | int | float | bool | None
"""A JSON scalar."""
_SCALARS = (str, int, float, bool, type(None))


class SpaceError(ValueError):
    """A space, a candidate or a value that breaks the rules; the message names the path and the legal values."""


def same(left: Value, right: Value) -> bool:
    """Equal as JSON scalars: 1, 1.0 and True are three different values."""
    return type(left) is type(right) and left == right


def position(options: Sequence[Value], value: Value) -> int:
    """Index of `value` in `options`, or -1."""
    for index, option in enumerate(options):
        if type(option) is type(value) and option == value:
            return index
    return -1


@dataclass(frozen=True, eq=False)
class Choice:
    """One of `options`. Picking a key of `branches` opens that sub-space right behind this decision.

    `kind` lets a policy share its heads between decisions of one type; `refers` maps an option to the path of the
    earlier decision that it points at. `declared` holds the options before narrowing: they keep their positions.
    Raises SpaceError for no options, options that are equal, and branches or refers that are no option.
    """

    name: str
    options: Sequence[Value]
    branches: Mapping[Any, Space] = field(default_factory=dict)
    kind: str | None = None
    refers: Mapping[Any, str] = field(default_factory=dict)
    declared: Sequence[Value] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "declared", tuple(self.declared) or self.options)
        if not self.options:
            raise SpaceError(f"{self.name}: a choice needs at least one option")
        for index, option in enumerate(self.options):
            if type(option) not in _SCALARS or (isinstance(option, float) and not math.isfinite(option)):
                raise SpaceError(f"{self.name}: option {option!r} is no JSON scalar")
            if option in self.options[:index]:
                raise SpaceError(f"{self.name}: option {option!r} stands twice")
        for key in (*self.branches, *self.refers):
            if position(self.declared, key) < 0:
                raise SpaceError(f"{self.name}: {key!r} is no option; legal: {self.legal}")

    @property
    def legal(self) -> str:
        return "one of " + ", ".join(repr(option) for option in self.options)

    @property
    def count(self) -> int | None:
        """Number of legal values; None for infinitely many."""
        return len(self.options)

    @property
    def first(self) -> Value:
        return self.options[0]

    def __contains__(self, value: object) -> bool:
        return position(self.options, value) >= 0  # type: ignore[arg-type]

    def nearest(self, value: Value) -> Value:
        """The legal option whose declared position is nearest (the earlier one of two). SpaceError if undeclared."""
        if position(self.options, value) >= 0:
            return value
        wanted = position(self.declared, value)
        if wanted < 0:
            raise SpaceError(f"{self.name}: {value!r} is not legal; legal: {self.legal}")
        return min(self.options, key=lambda option: abs(position(self.declared, option) - wanted))

    def sample(self, rng: np.random.Generator) -> Value:
        return self.options[int(rng.integers(len(self.options)))]

    def to_unit(self, value: Value) -> float:
        return (position(self.declared, value) + 0.5) / len(self.declared)

    def from_unit(self, unit: float) -> Value:
        index = min(int(_clip(unit) * len(self.declared)), len(self.declared) - 1)
        return self.nearest(self.declared[index])

    def grid(self, bins: int) -> Sequence[Value]:
        """All options, whatever `bins` is."""
        return self.options

    def keep(self, options: Sequence[Value]) -> Choice:
        """Narrowed to those of `options` that are legal now, in declared order. SpaceError if none is left."""
        kept = [option for option in self.options if position(tuple(options), option) >= 0]
        if not kept:
            raise SpaceError(f"{self.name}: nothing legal is left of {self.legal}")
        return replace(self, options=kept)


@dataclass(frozen=True, eq=False)
class Integer:
    """low, low + step, ... up to high (inclusive; a high off the grid is lowered onto it)."""

    name: str
    low: int
    high: int
    step: int = 1
    log: bool = False
    kind: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        for bound in (self.low, self.high, self.step):
            if isinstance(bound, bool) or not isinstance(bound, int | np.integer):
                raise SpaceError(f"{self.name}: bounds and step are whole numbers, not {bound!r}")
        if self.step < 1 or self.low > self.high or (self.log and self.low < 1):
            raise SpaceError(f"{self.name}: needs step >= 1, low <= high, and low >= 1 where log; got {self.legal}")
        object.__setattr__(self, "low", int(self.low))
        object.__setattr__(self, "step", int(self.step))
        object.__setattr__(self, "high", int(self.high - (self.high - self.low) % self.step))

    @property
    def legal(self) -> str:
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step > 1 else "")

    @property
    def count(self) -> int | None:
        return (self.high - self.low) // self.step + 1

    @property
    def first(self) -> Value:
        return self.low

    def __contains__(self, value: object) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high and (value - self.low) % self.step == 0  # type: ignore[operator]

    def nearest(self, value: Value) -> Value:
        """Nearest grid point (half goes up). SpaceError for what is no finite number."""
        if value in self:
            return value
        number = _number(self, value)
        steps = math.floor((min(max(number, self.low), self.high) - self.low) / self.step + 0.5)
        return min(self.low + steps * self.step, self.high)

    def sample(self, rng: np.random.Generator) -> Value:
        if self.log:
            return self.from_unit(float(rng.random()))
        return self.low + self.step * int(rng.integers((self.high - self.low) // self.step + 1))

    def to_unit(self, value: Value) -> float:
        return _to_unit(self, value)

    def from_unit(self, unit: float) -> Value:
        return self.nearest(_from_unit(self, unit))

    def grid(self, bins: int) -> Sequence[Value]:
        """Every legal value where there are at most `bins`, else about `bins` evenly spaced ones."""
        return _grid(self, bins)

    def within(self, low: float, high: float) -> Integer:
        """Narrowed to the grid points in [low, high]. SpaceError if there is none."""
        lower, upper = min(max(low, self.low), self.high + 1), max(min(high, self.high), self.low - 1)
        first = lower if isinstance(lower, int) else math.ceil(lower - 1e-9)
        last = upper if isinstance(upper, int) else math.floor(upper + 1e-9)
        first, last = first + (self.low - first) % self.step, last - (last - self.low) % self.step
        if first > last:
            raise SpaceError(f"{self.name}: nothing legal between {low:g} and {high:g}; legal: {self.legal}")
        return replace(self, low=first, high=last)


@dataclass(frozen=True, eq=False)
class Real:
    """A float in [low, high]; uniform in the logarithm where `log`."""

    name: str
    low: float
    high: float
    log: bool = False
    kind: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        for bound in (self.low, self.high):
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
                raise SpaceError(f"{self.name}: bounds are finite numbers, not {bound!r}")
        if self.low > self.high or (self.log and self.low <= 0):
            raise SpaceError(f"{self.name}: needs low <= high, and low > 0 where log; got {self.legal}")
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))

    @property
    def legal(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    @property
    def count(self) -> int | None:
        return 1 if self.low == self.high else None

    @property
    def first(self) -> Value:
        return self.low

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high

    def nearest(self, value: Value) -> Value:
        return min(max(_number(self, value), self.low), self.high)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.from_unit(float(rng.random()))

    def to_unit(self, value: Value) -> float:
        return _to_unit(self, value)

    def from_unit(self, unit: float) -> Value:
        return self.nearest(_from_unit(self, unit))

    def grid(self, bins: int) -> Sequence[Value]:
        """`bins` evenly spaced values (in the logarithm where `log`), both ends included."""
        return _grid(self, bins)

    def within(self, low: float, high: float) -> Real:
        """Narrowed to [low, high]. SpaceError if nothing is left."""
        first, last = max(low, self.low), min(high, self.high)
        if first > last:
            raise SpaceError(f"{self.name}: nothing legal between {low:g} and {high:g}; legal: {self.legal}")
        return replace(self, low=first, high=last)


Decision = Choice | Integer | Real
Number = Integer | Real


def narrowed(path: str, declared: Decision, decision: Decision) -> Decision:
    """`decision` if it only shrinks `declared`, else SpaceError naming the path. This is what guards `narrow`."""
    if decision is declared:
        return declared
    if isinstance(declared, Choice) and isinstance(decision, Choice):
        if all(position(declared.options, option) >= 0 for option in decision.options):
            return replace(decision, declared=declared.declared)
    elif isinstance(declared, Integer) and isinstance(decision, Integer):
        inside = decision.low in declared and decision.high in declared and decision.step % declared.step == 0
        if inside:
            return decision
    elif isinstance(declared, Real) and isinstance(decision, Real):
        inside = decision.low in declared and decision.high in declared
        if inside:
            return decision
    raise SpaceError(f"{path}: narrow may only shrink {declared.legal}, not make it {decision.legal}")


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name or "/" in name:
        raise SpaceError(f"a decision's name is text without '/', not {name!r}")


def _clip(unit: float) -> float:
    if not math.isfinite(unit):
        raise SpaceError(f"{unit!r} is no position in [0, 1]")
    return min(max(float(unit), 0.0), 1.0)


def _number(decision: Number, value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpaceError(f"{decision.name}: {value!r} is no finite number; legal: {decision.legal}")
    return float(value)


def _to_unit(decision: Number, value: Value) -> float:
    low, high, number = float(decision.low), float(decision.high), _number(decision, value)
    if low == high:
        return 0.0
    if decision.log:
        low, high, number = math.log(low), math.log(high), math.log(max(number, low))
    return _clip((number - low) / (high - low))


def _from_unit(decision: Number, unit: float) -> float:
    low, high = float(decision.low), float(decision.high)
    if decision.log:
        return math.exp(math.log(low) + _clip(unit) * (math.log(high) - math.log(low)))
    return low + _clip(unit) * (high - low)


def _grid(decision: Number, bins: int) -> Sequence[Value]:
    count = decision.count
    if count is not None and count <= bins and isinstance(decision, Integer):
        return range(decision.low, decision.high + 1, decision.step)
    if bins < 2 or count == 1:
        return (decision.from_unit(0.5),) if count != 1 else (decision.first,)
    values = (decision.from_unit(index / (bins - 1)) for index in range(bins))
    return tuple(dict.fromkeys(values))
