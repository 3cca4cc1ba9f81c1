"""Predictions laid over validation images, beside the truth and a reference; and how good each class is."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from automl_ext.tasks.segmentation.drawing import INK, MUTED, RULE, SMALL, Drawing, palette
from automl_ext.tasks.segmentation.scores import VOID
from numpy.typing import NDArray
from torch import Tensor

from automl_ext.data import Split

__all__ = ["chosen", "draw_classes", "draw_overlays"]

ByClass = Mapping[str, Mapping[str, float]]
EDGE, WIDTH = 6, 490
SHOWN = 5


def chosen(split: Split, count: int = SHOWN) -> Tensor:
    """Places of images with as many classes as possible, each adding what is new, the earlier of equals."""
    present = [set(mask.unique().tolist()) - {VOID} for mask in split.label]
    seen: set[int] = set()
    places: list[int] = []
    for _ in range(min(count, len(present))):
        left = [place for place in range(len(present)) if place not in places]
        places.append(max(left, key=lambda place: (len(present[place] - seen), len(present[place]), -place)))
        seen |= present[places[-1]]
    return torch.tensor(places)


def draw_overlays(images: Tensor, masks: Mapping[str, Tensor], names: Sequence[str], remark: str, file: Path) -> None:
    """A row an image (n, c, h, w) uint8; a column for the image and for each of `masks` (n, h, w)."""
    drawing, colours = Drawing(), palette(len(names))
    columns = ["image", *masks]
    step = (WIDTH - 2 * EDGE) / max(len(columns), 4)
    height, width = images.shape[2:]
    wide, y = step - 6, 22.0
    tall = wide * height / width
    for place, heading in enumerate(columns):
        drawing.text(EDGE + place * step, 14, heading, 10, INK, weight="bold")
    for row, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        shown = np.repeat(image[..., :1], 3, 2) if image.shape[2] < 3 else np.ascontiguousarray(image[..., :3])
        drawing.image(EDGE, y, wide, tall, shown)
        for place, mask in enumerate(masks.values(), 1):
            laid = _laid(shown, mask[row].numpy(), colours)
            drawing.image(EDGE + place * step, y, wide, tall, laid)
        y += tall + 6
    y = _legend(drawing, names, colours, y + 8)
    for words in textwrap.wrap(remark, 96):
        drawing.text(EDGE, y + 6, words, SMALL, MUTED)
        y += 12
    drawing.save(y + 4, file)


def draw_classes(found: ByClass, beside: ByClass | None, other: str, file: Path) -> None:
    """A row a class: IoU as a bar and in percent, Dice; of the other one, too, where it is there."""
    drawing, y = Drawing(), 14.0
    drawing.text(EDGE, y, "validation, %", 10, INK, weight="bold")
    for x, words in ((330, "IoU"), (380, "Dice"), *(((430, f"{other} IoU"),) if beside else ())):
        drawing.text(x + 40, y, words, 10, INK, "end", "bold")
    for name, values in found.items():
        y += 18
        drawing.box(EDGE, y - 11, WIDTH - 2 * EDGE, 0.5, RULE)
        drawing.text(EDGE, y + 1, name[:24], 10)
        drawing.box(140, y - 8, 180 * values["iou"], 10, "#1f6fa8")
        if beside and name in beside:
            drawing.box(140 + 180 * beside[name]["iou"] - 1, y - 10, 2, 14, "#c2790a")
            drawing.text(470, y + 1, f"{100 * beside[name]['iou']:.1f}", 10, MUTED, "end")
        drawing.text(370, y + 1, f"{100 * values['iou']:.1f}", 10, INK, "end")
        drawing.text(420, y + 1, f"{100 * values['dice']:.1f}", 10, INK, "end")
    if beside:
        drawing.text(EDGE, y + 18, f"Bars: IoU; the mark across: IoU of {other} in the same stage.", SMALL, MUTED)
        y += 14
    drawing.save(y + 12, file)


def _laid(image: NDArray[np.uint8], mask: NDArray[np.int64], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours over the image, half of each; class 0 darkens it, void stays as it is."""
    known = mask != VOID
    over = colours[np.where(known, mask, 0)].astype(float)
    share = np.where(known, np.where(mask == 0, 0.35, 0.6), 0.0)[..., None]
    laid: NDArray[np.uint8] = np.rint((1 - share) * image + share * over).astype(np.uint8)
    return laid


def _legend(drawing: Drawing, names: Sequence[str], colours: NDArray[np.uint8], y: float) -> float:
    """The classes' colours in rows of six; where the next thing may stand."""
    for place, (name, colour) in enumerate(zip(names, colours, strict=True)):
        x = EDGE + place % 6 * (WIDTH - 2 * EDGE) / 6
        drawing.box(x, y + place // 6 * 14 - 8, 9, 9, "#" + "".join(f"{part:02x}" for part in colour))
        drawing.text(x + 12, y + place // 6 * 14, name[:12], SMALL, MUTED)
    return y + ((len(names) - 1) // 6 + 1) * 14
