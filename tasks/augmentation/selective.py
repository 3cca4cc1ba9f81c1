"""TrivialAugment with a choice: which operations an image may get, how strong each may be, and how many at once.

A space of ours, after what RandAugment (Cubuk et al. 2020, arXiv 1909.13719) and TrivialAugment (Mueller & Hutter 2021,
arXiv 2103.10158) taught: policies are nearly as good when strengths are drawn at random, and what is left to find is
which operations suit the data. Digits bear rotations and no inversions, photographs the other way round. TrivialAugment
itself is the candidate with n 1 and all limits at the highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from automl_ext.tasks.augmentation.encoding import Encoding, step_at
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RangeSet
from automl_ext.tasks.augmentation.policy import Policy, Stage, SubPolicy
from automl_ext.tasks.augmentation.strengths import FOURTEEN, STRONGEST

from automl_ext.space import Candidate, Choice, Integer, Space

HIGHEST = 4
"""Limits are quarters of the range; 0: never."""
MOST = 3
"""Operations an image."""


@final
class SelectiveSpace(Encoding):
    """n: operations an image, 1 to 3. An operation's name: the limit of its strength, 0 (never) to 4 quarters of its
    range; or 0 and 1 where it has no strength.
    """

    all_operations = FOURTEEN[1:]

    def __init__(self, operations: Sequence[str], ranges: RangeSet) -> None:
        super().__init__([name for name in operations if name != IDENTITY], ranges)
        limits = {name: HIGHEST if OPERATIONS[name].graded else 1 for name in self.operations}
        self.space = Space(
            Integer("n", 1, MOST),
            *(Choice(name, tuple(range(limit + 1)), kind=f"limit-{limit}") for name, limit in limits.items()),
            canonical=_canonical,
        )

    def schedule(self, candidate: Candidate) -> tuple[Policy, ...]:
        """n stages alike: one of the operations with a limit, or none, at one of the strengths up to its limit."""
        allowed = {name: int(candidate[name] or 0) for name in self.operations}
        choices: list[SubPolicy] = []
        weights: list[float] = []
        for name, limit in allowed.items():
            if not limit:
                continue
            levels = range(STRONGEST * limit // HIGHEST + 1) if OPERATIONS[name].graded else range(1)
            choices += [(step_at(name, 1.0, level / STRONGEST, self.ranges),) for level in levels]
            weights += [1 / len(levels)] * len(levels)
        if not choices:
            return (Policy(),)
        share = 1 / (1 + sum(1 for limit in allowed.values() if limit))
        stage = Stage(((), *choices), (share, *(share * weight for weight in weights)))
        return (Policy((stage,) * int(candidate["n"] or 1)),)


def _canonical(candidate: Candidate) -> Candidate:
    """Without operations, how many there may be makes no difference."""
    if not any(value for name, value in candidate.items() if name != "n"):
        return {**candidate, "n": 1} if "n" in candidate else candidate
    return candidate
