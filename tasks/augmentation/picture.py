"""Rows of small images with words around them, as one SVG without outside assets."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from automl_ext.tasks.augmentation.apply import Images
from numpy.typing import NDArray

WIDTH, EDGE, GAP = 490, 6, 2
"""Pixels: as wide as a report shows a picture, so that letters keep their size."""
TILE, ALONE = 44, 60
"""Pixels of an image's longer side as it is shown, beside another one and alone in its cell."""
SIZE, SMALL = 11, 9
INK, MUTED, MARK, RULE = "#1d2430", "#5b6472", "#2f6f9f", "#e3e7ec"
CAPTION_LETTERS, LABEL_LETTERS = 88, 66


@dataclass(frozen=True)
class Cell:
    """images: (n, h, w, c) uint8, side by side. marked: framed."""

    images: Images
    below: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Line:
    """A row: words above it, words at its right end, its cells; None for an empty one."""

    label: str
    aside: str
    cells: Sequence[Cell | None]


def write(headings: Sequence[str], lines: Sequence[Line], caption: str, side: int, file: Path) -> int:
    """Write the rows under their headings; returns the bytes written.

    side: pixels of an image's longer side at most, larger ones are made smaller. Small ones are shown as crisp blocks.
    """
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif"})
    step = (WIDTH - 2 * EDGE) / max(len(headings), 4)
    y = float(EDGE + SIZE)
    for place, heading in enumerate(headings):
        _text(root, EDGE + place * step, y, heading, SIZE, MUTED)
    y += 8
    for line in lines:
        y = _row(root, line, step, y, side)
    for words in textwrap.wrap(caption, CAPTION_LETTERS):
        y += SIZE + 3
        _text(root, EDGE, y, words, SIZE, MUTED)
    height = f"{y + EDGE:g}"
    root.attrib |= {"width": str(WIDTH), "height": height, "viewBox": f"0 0 {WIDTH} {height}"}
    made = ElementTree.tostring(root, encoding="utf-8")
    file.write_bytes(made)
    return len(made)


def _row(root: ElementTree.Element, line: Line, step: float, y: float, side: int) -> float:
    """A row from y on; where the next one begins."""
    rule = {"x1": EDGE, "x2": WIDTH - EDGE, "y1": y, "y2": y}
    ElementTree.SubElement(root, "line", {**{key: f"{value:g}" for key, value in rule.items()}, "stroke": RULE})
    y += SIZE + 4
    _text(root, EDGE, y, textwrap.shorten(line.label, LABEL_LETTERS, placeholder=" ..."), SIZE, INK)
    _text(root, WIDTH - EDGE, y, line.aside, SMALL, MUTED, "end")
    y += 6
    tall = 0.0
    for place, cell in enumerate(line.cells):
        if cell is not None:
            tall = max(tall, _cell(root, cell, EDGE + place * step, y, side))
    return y + tall + 6


def _cell(root: ElementTree.Element, cell: Cell, x: float, y: float, side: int) -> float:
    """The cell's images and the words below them; how high both are."""
    height, width = cell.images.shape[1:3]
    times = (TILE if len(cell.images) > 1 else ALONE) / max(height, width)
    crisp = int(times) if times >= 2 else 0
    wide, high = float(width * (crisp or times)), float(height * (crisp or times))
    for place, image in enumerate(cell.images):
        shape = {"x": x + place * (wide + GAP), "y": y, "width": wide, "height": high}
        shown = {key: f"{value:.4g}" for key, value in shape.items()}
        look = {"style": "image-rendering:pixelated"} if crisp else {}
        href = f"data:image/png;base64,{base64.b64encode(_png(image, crisp, side)).decode('ascii')}"
        ElementTree.SubElement(root, "image", {**shown, **look, "href": href})
    if cell.marked:
        all_ = len(cell.images) * (wide + GAP) - GAP
        frame = {"x": x - 1, "y": y - 1, "width": all_ + 2, "height": high + 2}
        drawn = {key: f"{value:.4g}" for key, value in frame.items()}
        ElementTree.SubElement(root, "rect", {**drawn, "fill": "none", "stroke": MARK, "stroke-width": "2"})
    if cell.below:
        _text(root, x, y + high + SMALL + 3, cell.below, SMALL, MARK if cell.marked else MUTED)
    return high + SMALL + 4


def _png(image: NDArray[np.uint8], crisp: int, side: int) -> bytes:
    """The image (h, w, c), each pixel so many times along both sides, or with its longer side made `side` at most.

    Of more than three channels the first three, of two the first.
    """
    if crisp:
        image = image.repeat(crisp, axis=0).repeat(crisp, axis=1)
    elif max(image.shape[:2]) > side:
        times = side / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * times)), max(1, round(image.shape[0] * times)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1).astype(np.uint8)
    shown = image[..., 2::-1] if image.shape[2] >= 3 else image[..., :1]
    return cv2.imencode(".png", np.ascontiguousarray(shown))[1].tobytes()


def _text(
    root: ElementTree.Element, x: float, y: float, words: str, size: int, colour: str, anchor: str = "start"
) -> None:
    place = {"x": f"{x:g}", "y": f"{y:g}", "font-size": str(size), "fill": colour, "text-anchor": anchor}
    ElementTree.SubElement(root, "text", place).text = words
