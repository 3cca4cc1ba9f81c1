"""Pictures for the report: the cell, and what its branches see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from automl_ext.tasks.segmentation.drawing import INK, KINDS, MUTED, RULE, SMALL, Drawing
from automl_ext.tasks.segmentation.fields import Map, field_of, reach
from automl_ext.tasks.segmentation.network import Shape
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.space import FEATURES, Branch, depths_of
from numpy.typing import NDArray

__all__ = ["draw_cell", "draw_fields", "said"]

BOX, GAP, ROW = (74, 30), 22, 42
EDGE = 6
LEGEND = "atrous: separable 3x3, rates rows x columns; pool: grid rows x columns"
UNSEEN = (243, 245, 248)
SEEN = "What the middle pixel of each branch sees of the features; darker: along more ways."


def said(op: Op) -> str:
    """An operation in a word or two."""
    words = {"1x1": "conv 1x1", "3x3": "atrous", "dense": "dense atrous", "pool": "pool", "as-is": "as it is"}[op.kind]
    return words if op.kind in ("1x1", "as-is") else f"{words} {op.rows}x{op.columns}"


def draw_cell(cell: Sequence[Branch], shape: Shape, file: Path) -> None:
    """The cell from left to right: features, branches by depth, and what all of them are concatenated to."""
    rows, depths = _rows(cell), depths_of(tuple(cell))
    columns = max(depths) + 2
    step = (490 - 2 * EDGE - BOX[0]) / (columns - 1)
    wide, high = min(BOX[0], step - 12), BOX[1]
    drawing = Drawing()
    middle = EDGE + 16 + (max(rows) * ROW) / 2
    spots = {FEATURES: (float(EDGE), middle)}
    for number, (row, depth) in enumerate(zip(rows, depths, strict=True), 1):
        spots[number] = (EDGE + depth * step, EDGE + 16 + row * ROW)
    end = EDGE + (columns - 1) * step
    for number, branch in enumerate(cell, 1):
        drawing.path(_wire(spots[branch.source], spots[number], wide, high), KINDS[branch.op.kind])
        drawing.path(_wire(spots[number], (end, middle), wide, high), RULE)
    _node(drawing, spots[FEATURES], wide, "features", f"{shape.wide} ch, {shape.map[0]}x{shape.map[1]}", INK)
    for number, branch in enumerate(cell, 1):
        _node(drawing, spots[number], wide, said(branch.op), f"branch {number}", KINDS[branch.op.kind])
    _node(drawing, (end, middle), wide, "concat", f"1x1 to {shape.filters} ch", INK)
    height = EDGE + 16 + (max(rows) + 1) * ROW
    drawing.text(EDGE, height + 4, LEGEND, SMALL, MUTED)
    drawing.save(height + 10, file)


def draw_fields(cell: Sequence[Branch], shape: Shape, file: Path) -> None:
    """For each branch, where on the map the middle pixel of its output looks, and how far that is in the image."""
    drawing = Drawing()
    across = min(max(len(cell), 3), 5)
    step = (490 - 2 * EDGE) / across
    side = (step - 10) / max(shape.map)
    tall = side * shape.map[0]
    y = float(EDGE)
    for number, branch in enumerate(cell, 1):
        place = (number - 1) % across
        y += (tall + 48) if number > 1 and not place else 0
        x = EDGE + place * step
        field = field_of(cell, number, shape.map)
        drawing.text(x, y + 10, f"{number}: {said(branch.op)}", 10, KINDS[branch.op.kind], weight="bold")
        drawing.image(x, y + 16, side * shape.map[1], tall, _shaded(field, KINDS[branch.op.kind]))
        drawing.box(x, y + 16, side * shape.map[1], tall, line=RULE)
        seen = [min(places * shape.stride, most) for places, most in zip(reach(field), shape.image[1:], strict=True)]
        drawing.text(x, y + tall + 28, f"{seen[0]} x {seen[1]} pixels", SMALL, MUTED)
    y += tall + 46
    drawing.text(EDGE, y, SEEN, SMALL, MUTED)
    drawing.text(
        EDGE,
        y + 12,
        f"The backbone's own field comes on top. Image: {shape.image[1]} x {shape.image[2]}.",
        SMALL,
        MUTED,
    )
    drawing.save(y + 18, file)


def _rows(cell: Sequence[Branch]) -> list[float]:
    """The height of each branch, in rows: leaves one below the other, others in the middle of their children."""
    children: dict[int, list[int]] = {number: [] for number in range(len(cell) + 1)}
    for number, branch in enumerate(cell, 1):
        children[branch.source].append(number)
    rows: dict[int, float] = {}
    used = [0]

    def place(number: int) -> float:
        below = [place(child) for child in children[number]]
        if not below:
            below = [float(used[0])]
            used[0] += 1
        rows[number] = sum(below) / len(below)
        return rows[number]

    place(FEATURES)
    return [rows[number] for number in range(1, len(cell) + 1)]


def _wire(source: tuple[float, float], target: tuple[float, float], wide: float, high: float) -> str:
    """A smooth line from the right end of one box to the left end of another."""
    x, y, right, down = source[0] + wide, source[1] + high / 2, target[0], target[1] + high / 2
    bend = (right - x) / 2
    return f"M{x:g} {y:g} C{x + bend:g} {y:g} {right - bend:g} {down:g} {right:g} {down:g}"


def _node(drawing: Drawing, spot: tuple[float, float], wide: float, above: str, below: str, colour: str) -> None:
    drawing.box(*spot, wide, BOX[1], "#ffffff", colour, 4)
    drawing.text(spot[0] + wide / 2, spot[1] + 13, above, 10, colour, "middle", "bold")
    drawing.text(spot[0] + wide / 2, spot[1] + 25, below, 8, MUTED, "middle")


def _shaded(field: Map, colour: str) -> NDArray[np.uint8]:
    """(h, w, 3) the colour on white, the stronger the more weight a place has; grey where there is none."""
    share = (0.25 + 0.75 * field / field.max())[..., None]
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    made: NDArray[np.uint8] = np.rint(255 - share * (255 - parts)).astype(np.uint8)
    made[field == 0] = UNSEEN
    return made
