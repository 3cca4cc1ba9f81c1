"""RandAugment: how many operations and how strong; TrivialAugment: nothing to choose.

Cubuk, Zoph, Shlens, Le: "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", 2020, arXiv
1909.13719. Mueller, Hutter: "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021, arXiv
2103.10158.

Differs from the papers:

1. Magnitude 0 of Contrast, Color, Brightness and Sharpness is factor 0.1, 30 is 1.9, as in AutoAugment.
2. Operations that do nothing to the images are left out; both draw uniformly from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from automl_ext.tasks.augmentation.encoding import Encoding, step_at
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RangeSet
from automl_ext.tasks.augmentation.policy import Policy, Stage

from automl_ext.space import Candidate, Choice, Integer, Space

STRONGEST = 30
"""The magnitude at the end of the range."""
FOURTEEN = (IDENTITY, *(name for name in OPERATIONS if name not in ("Invert", "Cutout", "SamplePairing")))


@final
class RandAugmentSpace(Encoding):
    """n: operations an image, 1 to 3. m: their magnitude, 0 to 30."""

    all_operations = FOURTEEN

    def __init__(self, operations: Sequence[str], ranges: RangeSet) -> None:
        super().__init__(operations, ranges)
        self.space = Space(Integer("n", 1, 3), Integer("m", 0, STRONGEST))

    def schedule(self, candidate: Candidate) -> tuple[Policy, ...]:
        """n stages alike, each of all operations at the one magnitude."""
        return (randaugment(int(candidate["n"] or 0), int(candidate["m"] or 0), self.operations, self.ranges),)


@final
class TrivialAugmentSpace(Encoding):
    """One candidate: one operation an image, at any of 31 strengths."""

    all_operations = FOURTEEN

    def __init__(self, operations: Sequence[str], ranges: RangeSet) -> None:
        super().__init__(operations, ranges)
        self.space = Space(Choice("ranges", [ranges]))

    def schedule(self, candidate: Candidate) -> tuple[Policy, ...]:
        """One stage of all operations at all strengths."""
        return (trivialaugment(self.operations, self.ranges),)


def randaugment(n: int, m: int, operations: Sequence[str], ranges: RangeSet = "standard") -> Policy:
    """n operations an image out of `operations`, at magnitude m of 30; none for n = 0."""
    stage = Stage(tuple((step_at(name, 1.0, m / STRONGEST, ranges),) for name in operations))
    return Policy((stage,) * n)


def trivialaugment(operations: Sequence[str], ranges: RangeSet = "standard") -> Policy:
    """One operation an image out of `operations`, its strength one of 31."""
    levels = [level / STRONGEST for level in range(STRONGEST + 1)]
    return Policy((Stage(tuple((step_at(name, 1.0, level, ranges),) for name in operations for level in levels)),))
