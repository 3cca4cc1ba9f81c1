"""The 16 operations of AutoAugment: what their magnitudes mean, and on which images they do anything.

Cubuk, Zoph, Mane, Vasudevan, Le: "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019, arXiv 1805.09501,
table 6. Values are in the unit of the operation, so that a policy says what it does without knowing of levels:
shear: slope; translation: share of the side; rotation: degrees; Solarize: threshold at and above which a pixel is
inverted; Posterize: bits kept; Contrast, Color, Brightness, Sharpness: factor, 1 changes nothing; Cutout: side of the
square as a share of the image's shorter side; SamplePairing: share of the other image.

Differs from the paper:

1. Growing magnitudes of Solarize and Posterize are stronger (thresholds fall from 256 to 0, bits from 8 to 4).
2. Shears are about the centre of the image; the published code shears about its corner.
3. Sharpness blends with the same smooth kernel on the border, too (mirrored); the published code leaves it alone.
4. The square of Cutout lies wholly inside the image.
5. What geometry uncovers, and Cutout's square, get the mean colour of the train images, and positions between pixels
   are interpolated linearly (`interpolation: nearest` as in the published code).
6. Equalize counts a value's own pixels to those below it, AutoContrast does not count pixels of 255, both as
   albumentations does; the published code does neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]
"""Values at the lowest and at the highest magnitude."""

RangeSet = Literal["autoaugment", "standard", "wide"]


@dataclass(frozen=True)
class Operation:
    """signed: the value's sign is drawn for each image. geometric: masks move along. colour: does nothing to grey."""

    name: str
    unit: str
    signed: bool = False
    geometric: bool = False
    colour: bool = False
    neutral: float | None = None

    @property
    def graded(self) -> bool:
        """Whether it has a magnitude."""
        return self.unit != ""


OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("ShearX", "slope", signed=True, geometric=True, neutral=0),
        Operation("ShearY", "slope", signed=True, geometric=True, neutral=0),
        Operation("TranslateX", "share of the width", signed=True, geometric=True, neutral=0),
        Operation("TranslateY", "share of the height", signed=True, geometric=True, neutral=0),
        Operation("Rotate", "degrees", signed=True, geometric=True, neutral=0),
        Operation("AutoContrast", ""),
        Operation("Invert", ""),
        Operation("Equalize", ""),
        Operation("Solarize", "threshold", neutral=256),
        Operation("Posterize", "bits", neutral=8),
        Operation("Contrast", "factor", neutral=1),
        Operation("Color", "factor", colour=True, neutral=1),
        Operation("Brightness", "factor", neutral=1),
        Operation("Sharpness", "factor", neutral=1),
        Operation("Cutout", "share of the shorter side", neutral=0),
        Operation("SamplePairing", "share of the other image", neutral=0),
    )
}
IDENTITY = "Identity"
"""The operation that does nothing; RandAugment and TrivialAugment draw it like any other."""

_ENHANCE: Range = (0.1, 1.9)
_WIDE: Range = (0.01, 2.0)
RANGES: Mapping[RangeSet, Mapping[str, Range]] = {
    # AutoAugment, table 6: pixels on images of 331.
    "autoaugment": {
        "ShearX": (0, 0.3), "ShearY": (0, 0.3), "TranslateX": (0, 150 / 331), "TranslateY": (0, 150 / 331),
        "Rotate": (0, 30), "Solarize": (256, 0), "Posterize": (8, 4), "Contrast": _ENHANCE, "Color": _ENHANCE,
        "Brightness": _ENHANCE, "Sharpness": _ENHANCE, "Cutout": (0, 60 / 331), "SamplePairing": (0, 0.4),
    },
    # RandAugment and TrivialAugment: pixels on images of 32.
    "standard": {
        "ShearX": (0, 0.3), "ShearY": (0, 0.3), "TranslateX": (0, 10 / 32), "TranslateY": (0, 10 / 32),
        "Rotate": (0, 30), "Solarize": (256, 0), "Posterize": (8, 4), "Contrast": _ENHANCE, "Color": _ENHANCE,
        "Brightness": _ENHANCE, "Sharpness": _ENHANCE,
    },
    "wide": {
        "ShearX": (0, 0.99), "ShearY": (0, 0.99), "TranslateX": (0, 1), "TranslateY": (0, 1),
        "Rotate": (0, 135), "Solarize": (256, 0), "Posterize": (8, 2), "Contrast": _WIDE, "Color": _WIDE,
        "Brightness": _WIDE, "Sharpness": _WIDE,
    },
}  # fmt: skip


def value_at(operation: str, magnitude: float, ranges: RangeSet = "autoaugment") -> float | None:
    """The operation's value at a magnitude in [0, 1]; None for one without. Bits are whole; of the rest 12
    digits count, so that the middle of factors is exactly 1.

    Raises KeyError for an operation that the ranges do not have.
    """
    if operation == IDENTITY or not OPERATIONS[operation].graded:
        return None
    low, high = RANGES[ranges][operation]
    value = low + (high - low) * magnitude
    return float(round(value)) if operation == "Posterize" else round(value, 12)


def useless(
    operations: tuple[str, ...], shape: tuple[int, int, int], ranges: RangeSet, grey: bool = False
) -> dict[str, str]:
    """Those of `operations` that do nothing to images of `shape` (c, h, w), with the reason.

    grey: whether the channels of each are alike, as one channel is.
    """
    side, area = min(shape[1:]), shape[1] * shape[2]
    left: dict[str, str] = {}
    for name in operations:
        whole = name in ("TranslateX", "TranslateY", "Cutout") and name in RANGES[ranges]
        if OPERATIONS[name].colour and (grey or shape[0] == 1):
            left[name] = "changes colours only, and these images are grey"
        elif name == "Equalize" and area <= 255:
            left[name] = f"needs more than 255 pixels, and these images have {area}"
        elif whole and int(RANGES[ranges][name][1] * side) == 0:
            left[name] = f"is shorter than a pixel on images of {side} pixels"
    return left
