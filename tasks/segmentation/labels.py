"""What labels mean: which are void, how many classes there are, and which label is none of them, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from automl_ext.tasks.segmentation.operations import SegmentationError
from automl_ext.tasks.segmentation.scores import VOID
from torch import Tensor

from automl_ext.data import Split

__all__ = ["Labels", "Where"]

Where = Callable[[str, int], str]
"""(part, place in it) -> what a message calls that mask."""


@dataclass(frozen=True)
class Labels:
    """The options. void: a label that counts nowhere, beside VOID, which never counts; labels above it move down by
    one. classes: how many, else counted. names: of the classes.

    Raises SegmentationError for classes and names that contradict each other, and for a name that is there twice.
    """

    void: int | None = None
    classes: int | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        names = list(self.names or ())
        if self.names is not None and not 2 <= len(names) <= VOID:
            raise SegmentationError(f"names: 2 to {VOID} of them, not {len(names)}")
        if self.classes and names and self.classes != len(names):
            raise SegmentationError(f"names: {len(names)} of them for {self.classes} classes")
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise SegmentationError(f"names: {twice[0]!r} is there twice; every class needs a name of its own")

    def counted(self, dataset: str, parts: Mapping[str, Split], where: Where) -> int:
        """How many classes masks as they were read have. SegmentationError for a label that is none of them."""
        found = {part: self._meant(split.label) for part, split in parts.items()}
        highest = max(int(meant.max()) if len(meant) else -1 for meant in found.values())
        count = len(self.names) if self.names else self.classes or min(highest + 1, VOID)
        for part, split in parts.items():
            self._check(split.label, count, lambda place, part=part: where(part, place))  # type: ignore[misc]
        if count < 2:
            raise SegmentationError(
                f"dataset: {dataset!r} has masks of {count or 'no'} class beside void, at least 2 are needed; {VOID} is"
                " always void, label the classes 0, 1, ..."
            )
        return count

    def moved(self, split: Split) -> Split:
        """Void as VOID, labels above it one lower."""
        if self.void is None:
            return split
        label = split.label - (split.label > self.void).long()
        return Split(split.image, torch.where(self._void(split.label), VOID, label))

    def label(self, number: int) -> int:
        """What a class is in masks as they were read."""
        return number + (self.void is not None and number >= self.void)

    def _void(self, label: Tensor) -> Tensor:
        return (label == VOID) if self.void is None else (label == VOID) | (label == self.void)

    def _meant(self, label: Tensor) -> Tensor:
        """(k,) classes of all pixels that are not void."""
        known = label[~self._void(label)]
        return known if self.void is None else known - (known > self.void).long()

    def _check(self, label: Tensor, count: int, where: Callable[[int], str]) -> None:
        top = min(self.label(count - 1), VOID - 1)
        wrong = ~self._void(label) & ((label < 0) | (label > top))
        if wrong.any():
            place = int(torch.nonzero(wrong.flatten(1).any(1))[0])
            value = int(label[place][wrong[place]][0])
            hint = " (a label without meaning can be named by void)" if 0 <= value < VOID and self.void is None else ""
            raise SegmentationError(f"{where(place)}: label {value} is not in 0 to {top}{hint}")
