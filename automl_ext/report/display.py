"""How metrics and free text are shown: labels and units from metric names, numbers with sensible digits.

The unit stands in a metric's name: `latency_ms`, `macs_m`, `params_k`. Shares such as `accuracy` show as percent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""

_UNITS = {
    "ms": "ms", "s": "s", "min": "min", "h": "h", "k": "k", "m": "M", "g": "G", "kb": "kB", "mb": "MB",
    "gb": "GB", "kib": "KiB", "mib": "MiB", "gib": "GiB", "percent": "%", "pct": "%", "us": "\N{MICRO SIGN}s",
    "mw": "mW", "mj": "mJ", "hz": "Hz",
}  # fmt: skip
_WORDS = {"macs": "MACs", "flops": "FLOPs", "iou": "IoU", "miou": "mIoU", "f1": "F1", "auc": "AUC", "cpu": "CPU"}
_SHARES = {"accuracy", "acc", "iou", "miou", "dice", "precision", "recall", "kept"}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_COSTS = ("macs", "flops", "params", "parameters", "latency", "size", "memory", "energy", "seconds", "time")


@dataclass(frozen=True)
class Column:
    """A metric as it is shown: value * `factor` with `digits` decimals (None: four significant digits)."""

    name: str
    label: str
    unit: str = ""
    factor: float = 1.0
    digits: int | None = None

    @property
    def heading(self) -> str:
        """Label with unit: "latency (ms)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def number(self, value: object) -> str:
        """A value of this metric without its unit; a dash where there is none."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return NOTHING
        if self.digits is not None:
            return f"{value * self.factor:,.{self.digits}f}"
        return plain(value * self.factor)

    def quantity(self, value: object) -> str:
        """With the unit: "96.1 %", "2.4 M MACs", "0.31 ms"."""
        number = self.number(value)
        return f"{number} {self.unit}" if self.unit and number != NOTHING else number


def column(name: str, values: Iterable[object] = ()) -> Column:
    """How metric `name` is shown, given all values to be shown together: shares as percent with enough decimals."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    words = [word for word in text(name, 60).split("_") if word] or ["?"]
    unit = _UNITS.get(words[-1], "") if len(words) > 1 else ""
    label = " ".join(_WORDS.get(word, word) for word in (words[:-1] if unit else words))
    share = not unit and _SHARES & set(words) and all(0 <= number <= 1 for number in numbers)
    if share:
        return Column(name, label, "%", 100.0, _digits([100 * number for number in numbers], 1))
    size = max(map(abs, numbers), default=0.0)
    if not 1e-3 <= size < 1e7 or all(number == int(number) for number in numbers):
        return Column(name, label, unit)
    return Column(name, label, unit, digits=_digits(numbers, max(0, 2 - math.floor(math.log10(size)))))


def _digits(numbers: list[float], least: int) -> int | None:
    """Decimals that keep different numbers apart, if at most two more than `least` do; None where some would vanish."""
    different = len(set(numbers))
    for digits in range(least, least + 3):
        if len({round(number, digits) for number in numbers}) == different:
            break
    else:
        digits = least
    small = min((abs(number) for number in numbers if number), default=1.0)
    return None if small < 0.5 * 10**-digits else digits


def cost(name: str) -> int | None:
    """Rank of a metric among those that say what a candidate costs (0: MACs, ...), None for other metrics."""
    words = name.lower().split("_")
    return next((place for place, word in enumerate(_COSTS) if word in words), None)


def plain(value: float) -> str:
    """Four significant digits, without exponents where that stays readable."""
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Such as "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds <= 0:
        return "under 1 s"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def text(value: object, limit: int = 200) -> str:
    """Any value as printable text of at most `limit` characters: control characters become blanks."""
    shown = value if isinstance(value, str) else repr(value)
    shown = _UNPRINTABLE.sub(" ", shown[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def count(number: int, noun: str, plural: str = "") -> str:
    """Such as "1 trial", "1,200 trials"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
