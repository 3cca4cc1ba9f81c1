"""Which space, out of which operations: the published ones, less those that do nothing to the images at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl_ext.tasks.augmentation.encoding import Encoding, SpaceName
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RANGES, RangeSet, useless
from automl_ext.tasks.augmentation.schedules import ScheduleSpace
from automl_ext.tasks.augmentation.selective import SelectiveSpace
from automl_ext.tasks.augmentation.strengths import RandAugmentSpace, TrivialAugmentSpace
from automl_ext.tasks.augmentation.subpolicies import AutoAugmentSpace, FastAutoAugmentSpace

SPACES: Mapping[SpaceName, type[Encoding]] = {
    "autoaugment": AutoAugmentSpace,
    "fast": FastAutoAugmentSpace,
    "randaugment": RandAugmentSpace,
    "trivialaugment": TrivialAugmentSpace,
    "schedule": ScheduleSpace,
    "selective": SelectiveSpace,
}
STANDARD: Mapping[SpaceName, RangeSet] = {
    "randaugment": "standard",
    "trivialaugment": "standard",
    "selective": "standard",
}
"""Ranges where none are asked for; AutoAugment's for the others."""


def encode(
    name: SpaceName,
    operations: Sequence[str] | None,
    ranges: RangeSet | None,
    shape: tuple[int, int, int],
    segments: int,
    epochs: int,
    grey: bool = False,
) -> tuple[Encoding, dict[str, str]]:
    """The space for images of `shape` (c, h, w), and the operations of all that do nothing to these, with the reason.

    operations: to choose from; None: all of the space's that the ranges have. grey: whether an image's channels are
    alike. Raises ValueError, one line, for unknown operations and for none left.
    """
    ranges = ranges or STANDARD.get(name, "autoaugment")
    kind = SPACES[name]
    have = [o for o in kind.all_operations if o == IDENTITY or not OPERATIONS[o].graded or o in RANGES[ranges]]
    if operations is not None and not operations:
        raise ValueError(f"operations: name some of {', '.join(have)}, or leave it out for all")
    unknown = [operation for operation in operations or () if operation not in have]
    if unknown:
        raise ValueError(f"operations: {name} with {ranges} ranges has {', '.join(have)}, not {unknown[0]!r}")
    left = useless(tuple(OPERATIONS), shape, ranges, grey)
    asked = have if operations is None else [o for o in have if o in operations]
    kept = [operation for operation in asked if operation not in left]
    if not kept:
        raise ValueError(f"operations: nothing is left of {', '.join(asked)}, since it does nothing to these images")
    if kind is ScheduleSpace:
        return ScheduleSpace(kept, ranges, segments, epochs), left
    return kind(kept, ranges), left
