"""Population Based Augmentation: a policy for each part of the training.

Ho, Liang, Stoica, Abbeel, Chen: "Population Based Augmentation: Efficient Learning of Augmentation Policy Schedules",
ICML 2019, arXiv 1905.05393. A policy is every one of 15 operations twice, with a probability (0 to 10 tenths) and a
magnitude (0 to 9 tenths of the range). An image gets 0, 1 or 2 operations, with probability 0.2, 0.3 and 0.5: the list
is shuffled and walked, each operation happens with its probability, until so many have happened.

The schedule is the candidate: `2.Rotate.1.probability` belongs to the second part of the training. So a schedule means
the same whoever found it, any searcher can look for one, and a longer training stretches it. Population-based training
proposes schedules whose past is what its weights went through.

Differs from the paper:

1. The number of parts is fixed ahead (`segments`); the paper's schedule may change every 3 of 200 epochs.
2. A training that goes on from its parent's weights begins with fresh momentum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any, final

import numpy as np
from automl_ext.tasks.augmentation.encoding import Encoding, step_at
from automl_ext.tasks.augmentation.operations import OPERATIONS, RangeSet
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, SubPolicy
from numpy.typing import NDArray

from automl_ext.evolution.variation import GenericVariation
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Genes, Integer, Space

COUNTS = (0.2, 0.3, 0.5)
"""Chances of 0, 1 and 2 operations an image."""
COPIES = 2
HIGHEST = {"probability": 10, "magnitude": 9}
RESAMPLED, FARTHEST = 0.2, 3
"""Exploring: a number is drawn anew with this chance, else moved by up to so many."""


@final
class ScheduleSpace(Encoding):
    """segments: parts of a training with a policy each. epochs: of a whole training, to tell a budget's part."""

    all_operations = tuple(name for name in OPERATIONS if name != "SamplePairing")

    def __init__(self, operations: Sequence[str], ranges: RangeSet, segments: int, epochs: int) -> None:
        super().__init__(operations, ranges)
        self.segments, self.epochs = segments, epochs
        self.space = Space(
            *(
                Integer(f"{segment}.{name}.{copy}.{part}", 0, HIGHEST[part], kind=part)
                for segment in range(1, segments + 1)
                for name in self.operations
                for copy in range(1, COPIES + 1)
                for part in ("probability", "magnitude")
            )
        )

    def schedule(self, candidate: Candidate) -> tuple[Policy, ...]:
        """A policy a segment."""
        numbers = [int(candidate[slot.path] or 0) for slot in self.space.slots]
        size = len(numbers) // self.segments
        parts = [tuple(numbers[start : start + size]) for start in range(0, len(numbers), size)]
        return tuple(_policy(part, self.operations, self.ranges) for part in parts)

    @property
    def variation(self) -> Variation:
        return ScheduleVariation(self.space, self.segments, self.epochs)


@final
class ScheduleVariation:
    """The generic way; and `explore`, the paper's change of the numbers that lie ahead."""

    def __init__(self, space: Space, segments: int, epochs: int) -> None:
        self.segments, self.epochs = segments, epochs
        self._generic = GenericVariation(space)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random policy, the same throughout."""
        genes = self._generic.sample(rng)
        return {path: genes["1." + path.partition(".")[2]] for path in genes}

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.mutate(genes, rng)

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.crossover(left, right, rng)

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.twins(genes, rng)

    def explore(self, genes: Genes, done: float, rng: np.random.Generator) -> dict[str, Any]:
        """Genes that go on from those of a training with `done` epochs behind it: one policy for all that is ahead.

        Each of its numbers is drawn anew with probability 0.2, else moved up or down by 0 to 3. A part that has begun
        stays as it is; with nothing ahead all does.
        """
        first = ceil(done / self.epochs * self.segments)
        paths = [path for path in genes if path.startswith(f"{first + 1}.")]
        changed = dict(genes)
        for path in paths:
            _, _, rest = path.partition(".")
            value = _explored(int(genes[path] or 0), HIGHEST[path.rpartition(".")[2]], rng)
            changed |= {f"{segment}.{rest}": value for segment in range(first + 1, self.segments + 1)}
        return changed


def _explored(value: int, highest: int, rng: np.random.Generator) -> int:
    if rng.random() < RESAMPLED:
        return int(rng.integers(highest + 1))
    amount = int(rng.integers(FARTHEST + 1))
    return min(max(value + (amount if rng.random() < 0.5 else -amount), 0), highest)


@lru_cache(maxsize=256)
def _policy(numbers: tuple[int, ...], operations: tuple[str, ...], ranges: RangeSet) -> Policy:
    """The policy of one part: what the shuffled walk does to an image, as sub-policies with their exact chances."""
    names = [name for name in operations for _ in range(COPIES)]
    steps = [step_at(name, 1.0, level / 10, ranges) for name, level in zip(names, numbers[1::2], strict=True)]
    chances = np.array(numbers[0::2]) / HIGHEST["probability"]
    return Policy((Stage(*_walked(steps, chances)),))


def _walked(steps: Sequence[Step], chances: NDArray[np.float64]) -> tuple[tuple[SubPolicy, ...], tuple[float, ...]]:
    """Sub-policies of no, one or two steps, and the chance that the walk ends with each.

    Shuffling is drawing a time in [0, 1] for each step. Step i is the first with p_i * integral of the product over the
    others of (1 - t p_k); i, then j, are the first two with p_i p_j * integral of t * product over the rest.
    """
    t, weight = np.polynomial.legendre.leggauss(len(steps) // 2 + 2)
    t, weight = (t + 1) / 2, weight / 2
    stays = 1 - t[:, None] * chances
    survive = stays.prod(axis=1)
    first = chances * ((weight * survive) @ (1 / stays))
    pairs = np.outer(chances, chances) * ((weight * t * survive * (1 / stays).T) @ (1 / stays))
    np.fill_diagonal(pairs, 0)
    nothing = float(np.prod(1 - chances))
    others = np.array([np.prod(np.delete(1 - chances, index)) for index in range(len(steps))]).tolist()
    found: dict[SubPolicy, float] = {(): COUNTS[0] + (COUNTS[1] + COUNTS[2]) * nothing}
    for i, step in enumerate(steps):
        if chances[i]:
            found[(step,)] = (
                found.get((step,), 0.0) + COUNTS[1] * float(first[i]) + COUNTS[2] * float(chances[i]) * others[i]
            )
            for j in np.flatnonzero(pairs[i]).tolist():
                both = (step, steps[j])
                found[both] = found.get(both, 0.0) + COUNTS[2] * float(pairs[i, j])
    total = sum(found.values())
    return tuple(found), tuple(chance / total for chance in found.values())
