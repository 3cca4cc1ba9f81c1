"""Names beside points that do not cover each other, and axes on which points do not crowd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from automl_ext.report.drawing import PAPER
from automl_ext.report.reading import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

__all__ = ["annotate", "spread_out"]

_PLATE: Any = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.6, "pad": 0.4}
"""Behind a name, so that lines do not strike it out."""
_SIDES: Sequence[tuple[str, str, int, int]] = (
    ("left", "bottom", 6, 4), ("left", "top", 6, -4), ("right", "bottom", -6, 4), ("right", "top", -6, -4),
    ("center", "bottom", 0, 6), ("center", "top", 0, -6),
)  # fmt: skip
"""Where a name can stand: alignments, and the offset in points. The first one that is free is taken."""
_MARK = 5
"""Pixels from the middle of a point's mark to its edge."""


def spread_out(axes: Axes, values: Numbers) -> None:
    """A logarithmic x axis, with plain numbers, for positive values of which the largest is ten times the smallest."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if values.min() <= 0 or values.max() < 10 * values.min():
        return
    axes.set_xscale("log")
    steps = (1.0, 2.0, 5.0) if values.max() < 500 * values.min() else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def annotate(axes: Axes, names: Sequence[str], points: Numbers) -> None:
    """Names beside marks at points (n, 2), each on the side where it hides least. Call it when all else is drawn."""
    from matplotlib.transforms import Bbox

    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    marks = [Bbox.from_extents(x, y, x, y).padded(_MARK) for x, y in axes.transData.transform(points)]
    taken: list[Bbox] = []
    for place, (name, point) in enumerate(zip(names, points, strict=True)):
        note = axes.annotate(name, point, (0, 0), textcoords="offset points", bbox=_PLATE, fontsize=8.5, zorder=8)
        others = [*taken, *marks[:place], *marks[place + 1 :]]

        def hidden(side: tuple[str, str, int, int], note: Any = note, others: Sequence[Bbox] = others) -> float:
            box = _put(note, side)
            outside = box.width * box.height - _shared(box, axes.bbox)
            return outside + sum(_shared(box, other) for other in others)

        taken.append(_put(note, min(_SIDES, key=hidden)))


def _put(note: Any, side: tuple[str, str, int, int]) -> Bbox:
    """Move a name there; the pixels that it covers."""
    note.set(horizontalalignment=side[0], verticalalignment=side[1])
    note.xyann = side[2:]
    return note.get_window_extent()  # type: ignore[no-any-return]


def _shared(one: Bbox, other: Any) -> float:
    """Pixels that both cover."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))
