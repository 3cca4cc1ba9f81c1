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
FEW = 14_000
"""Bytes of an image: twenty of them, as text, are within what a report takes of one picture."""
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
        """pixels: (h, w, 3) or (h, w, 1) uint8; small ones as crisp blocks, large ones in about FEW bytes."""
        kind, coded = _coded(pixels, wide)
        place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{wide:g}", "height": f"{high:g}"}
        href = f"data:image/{kind};base64,{base64.b64encode(coded).decode('ascii')}"
        look = {"style": "image-rendering:pixelated"} if kind == "png" else {}
        ElementTree.SubElement(self.root, "image", {**place, **look, "preserveAspectRatio": "none", "href": href})

    def save(self, height: float, file: Path) -> None:
        size = {"width": str(self.width), "height": f"{height:g}", "viewBox": f"0 0 {self.width} {height:g}"}
        self.root.attrib |= size
        file.write_bytes(ElementTree.tostring(self.root, encoding="utf-8"))


def _coded(pixels: NDArray[np.uint8], wide: float) -> tuple[str, bytes]:
    """The kind of file and its bytes: PNG where FEW are enough; else JPEG, not much wider than it is shown."""
    from PIL import Image

    def saved(kind: str, **options: int) -> bytes:
        held = io.BytesIO()
        picture.save(held, kind, optimize=True, **options)
        return held.getvalue()

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    crisp = saved("PNG")
    if len(crisp) <= FEW:
        return "png", crisp
    most = max(1, round(1.5 * wide))
    if picture.width > most:
        picture = picture.resize((most, max(1, round(picture.height * most / picture.width))), Image.Resampling.BOX)
    for quality in (85, 60, 30):
        coded = saved("JPEG", quality=quality)
        if len(coded) <= FEW:
            break
    return "jpeg", coded
