"""What a branch of a dense prediction cell can do, as text: `1x1`, `3x3 RxC` (rates), `pool RxC` (grid).

Rates and grids are rows x columns. Rates of the paper belong to maps of 49 x 49; smaller maps get their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["CONV", "GRIDS", "PAPER_RATES", "Op", "SegmentationError", "grids_for", "operations", "rates_for", "scaled"]

PAPER_RATES = (1, 3, 6, 9, 12, 15, 18, 21)
GRIDS = (1, 2, 4, 8)
Kind = Literal["1x1", "3x3", "pool", "dense", "as-is"]
PLAIN: tuple[Literal["1x1"], Literal["as-is"]] = ("1x1", "as-is")
"""Kinds without numbers."""
_WORDS = re.compile(r"(3x3|pool|dense) (\d+)x(\d+)")


class SegmentationError(ValueError):
    """An option, a candidate or a file that cannot work; one line."""


@dataclass(frozen=True, order=True)
class Op:
    """kind: 1x1 convolution; 3x3 atrous separable convolution; average pooling into a grid.

    Outside of the space, for references: dense (3x3 atrous convolution of all channels) and as-is (the input).
    rows, columns: rates or cells of the grid; 1 where there are none.
    """

    kind: Kind
    rows: int = 1
    columns: int = 1

    @property
    def text(self) -> str:
        return self.kind if self.kind in PLAIN else f"{self.kind} {self.rows}x{self.columns}"

    @classmethod
    def of(cls, text: str) -> Op:
        """The operation that `text` names. Raises SegmentationError."""
        for plain in PLAIN:
            if text == plain:
                return cls(plain)
        found = _WORDS.fullmatch(text)
        if found is None:
            raise SegmentationError(f"operation {text!r} is none of 1x1, '3x3 RxC' and 'pool RxC'")
        return cls(found[1], int(found[2]), int(found[3]))  # type: ignore[arg-type]


CONV = Op("1x1")


def rates_for(side: int) -> tuple[int, ...]:
    """The paper's rates where the map's shorter side is large enough for them; else eighths of half the side.

    A rate of the whole side or more would have its outer taps in the padding everywhere.
    """
    if side > 2 * PAPER_RATES[-1]:
        return PAPER_RATES
    return tuple(sorted({max(1, round(step * side / 16 + 1e-9)) for step in range(1, 9)}))


def scaled(rate: int, rates: Sequence[int]) -> int:
    """Which of `rates` stands for a rate of the paper: the one at the same share of the way."""
    place = PAPER_RATES.index(rate) / (len(PAPER_RATES) - 1) * (len(rates) - 1)
    return rates[round(place)]


def grids_for(side: int) -> tuple[int, ...]:
    """Grids of at most one cell a pixel."""
    return tuple(grid for grid in GRIDS if grid <= side)


def operations(rates: Sequence[int], grids: Sequence[int]) -> tuple[Op, ...]:
    """All of the space: 1 + len(rates) squared + len(grids) squared, 81 for eight rates and four grids."""
    atrous = [Op("3x3", rows, columns) for rows in rates for columns in rates]
    pools = [Op("pool", rows, columns) for rows in grids for columns in grids]
    return (CONV, *atrous, *pools)
