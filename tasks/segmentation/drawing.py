"""SVG by hand: boxes, lines, words, images, without outside assets."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

__all__ = ["INK", "KINDS", "MUTED", "RULE", "SMALL", "Drawing", "palette"]

SIZE, SMALL = 11, 9
INK, MUTED, RULE = "#1d2430", "#5b6472", "#e3e7ec"
KINDS = {"1x1": "#6b7280", "3x3": "#1f6fa8", "dense": "#12466c", "pool": "#c2790a", "as-is": "#9aa1ab"}
"""Colours of operations."""
_HUES = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (240, 228, 66),
    (148, 103, 189), (140, 86, 75), (127, 127, 127), (23, 190, 207), (188, 189, 34),
)  # fmt: skip


def palette(classes: int) -> NDArray[np.uint8]:
    """(classes, 3): class 0 black, the others told apart so long as there are not many."""
    hues = [_HUES[number % len(_HUES)] for number in range(classes - 1)]
    return np.array([(0, 0, 0), *hues], np.uint8)


class Drawing:
    """Grows downwards; `save` cuts it to its height. width: pixels, as wide as a report shows a picture."""

    def __init__(self, width: int = 490) -> None:
        self.width = width
        self.root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "font-family": "sans-serif"})

    def text(
        self, x: float, y: float, words: str, size: int = SIZE, colour: str = INK, anchor: str = "start",
        weight: str = "normal",
    ) -> None:  # fmt: skip
        """Words with their baseline at y."""
        place = {"x": f"{x:g}", "y": f"{y:g}", "font-size": str(size), "fill": colour, "text-anchor": anchor}
        ElementTree.SubElement(self.root, "text", place | {"font-weight": weight}).text = words

    def box(
        self, x: float, y: float, wide: float, high: float, fill: str = "none", line: str = "none", round_: float = 0
    ) -> None:
        place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{wide:g}", "height": f"{high:g}", "rx": f"{round_:g}"}
        ElementTree.SubElement(self.root, "rect", place | {"fill": fill, "stroke": line})

    def path(self, course: str, colour: str = MUTED, thick: float = 1.5) -> None:
        """A line along an SVG path."""
        look = {"fill": "none", "stroke": colour, "stroke-width": f"{thick:g}"}
        ElementTree.SubElement(self.root, "path", {"d": course, **look})

    def image(self, x: float, y: float, wide: float, high: float, pixels: NDArray[np.uint8]) -> None:
        """pixels: (h, w, 3) or (h, w, 1) uint8, shown as crisp blocks."""
        from PIL import Image

        held = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(held, "PNG", optimize=True)
        place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{wide:g}", "height": f"{high:g}"}
        href = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode('ascii')}"
        look = {"style": "image-rendering:pixelated", "preserveAspectRatio": "none"}
        ElementTree.SubElement(self.root, "image", {**place, **look, "href": href})

    def save(self, height: float, file: Path) -> None:
        size = {"width": str(self.width), "height": f"{height:g}", "viewBox": f"0 0 {self.width} {height:g}"}
        self.root.attrib |= size
        file.write_bytes(ElementTree.tostring(self.root, encoding="utf-8"))
