"""Order: which ask or tell comes next, whatever the workers' timing.

Ask i happens after the tells of trials 0 ... i - parallel; tells come in number order; between two tells every ask that
is due is made. So decisions depend on the configuration and the seed alone. Pure: no clock, no input or output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Event = tuple[Literal["ask", "tell", "wait", "done"], int]


@dataclass
class Order:
    """The state of one stage's interleaving; numbers start at `first`.

    parallel: how many trials may be asked and not yet told. limit: number of trials of the stage, None without bound.
    """

    parallel: int
    limit: int | None = None
    first: int = 0
    asked: int = field(init=False)
    told: int = field(init=False)
    _finished: set[int] = field(default_factory=set, init=False)
    _silent: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise ValueError(f"parallel is at least 1, not {self.parallel}")
        self.asked = self.told = self.first

    def next(self) -> Event:
        """("ask", i), ("tell", j), ("wait", number of trials out), or ("done", number of trials told)."""
        full = self.limit is not None and self.asked - self.first >= self.limit
        if not full and not self._silent and self.asked - self.told < self.parallel:
            return ("ask", self.asked)
        if self.told in self._finished:
            return ("tell", self.told)
        if self.asked > self.told:
            return ("wait", self.asked - self.told)
        return ("done", self.told - self.first)

    def ask(self, number: int, proposed: bool) -> None:
        """Trial `number` was asked; not `proposed`: the searcher wants the next tell first."""
        if number != self.asked:
            raise ValueError(f"ask {number} is out of order: {self.asked} is next")
        self._silent = not proposed
        self.asked += proposed

    def finish(self, number: int) -> None:
        """Trial `number` has its result; its tell waits for its turn."""
        if not self.told <= number < self.asked or number in self._finished:
            raise ValueError(f"trial {number} is not out: {self.told} to {self.asked - 1} are")
        self._finished.add(number)

    def tell(self, number: int) -> None:
        """Trial `number` was told."""
        if number != self.told or number not in self._finished:
            raise ValueError(f"tell {number} is out of order: {self.told} is next")
        self._finished.discard(number)
        self.told += 1
        self._silent = False

    def continue_at(self, told: int, asked: int) -> None:
        """Start behind trials that need no repeating: the next tell is `told`, the next ask is `asked`."""
        if not self.first <= told <= asked <= told + self.parallel:
            raise ValueError(f"cannot continue at tell {told} and ask {asked}")
        self.told, self.asked = told, asked

    def stop(self) -> None:
        """No new trials: what is out may finish."""
        self.limit = self.asked - self.first
