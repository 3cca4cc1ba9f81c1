"""AutoAugment's space: 5 sub-policies of 2 operations, each with a probability and a magnitude; Fast AutoAugment's.

Cubuk et al. 2019, arXiv 1805.09501: operations out of 16, probability in 11 steps, magnitude in 10: 30 decisions,
2.9e32 policies. Lim, Kim, Kim, Kim, Kim: "Fast AutoAugment", NeurIPS 2019, arXiv 1905.00397: the same without
SamplePairing, probabilities and magnitudes in [0, 1].

Differs from the papers:

1. Magnitude 9 is the end of the range, 0 its beginning (the published code stops at 9/10 of it).
2. Equal policies are one candidate to the cache: sub-policies sorted, operations that never happen left out.
3. Evolution, which neither paper uses: a mutation changes one number to the next or to any, or one operation to
   another; a crossover takes whole sub-policies from either parent.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from automl_ext.tasks.augmentation.encoding import Encoding, step_at
from automl_ext.tasks.augmentation.operations import OPERATIONS, RangeSet
from automl_ext.tasks.augmentation.policy import Policy, Stage, SubPolicy

from automl_ext.evolution.variation import GenericVariation, other
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Choice, Decision, Genes, Real, Space, Value

PARTS = ("operation", "probability", "magnitude")
PROBABILITIES, MAGNITUDES = 11, 10
SUBPOLICIES, STEPS = 5, 2


class _SubPolicies(Encoding):
    """What the two spaces share. Paths: `3.2.magnitude` is of the second operation of the third sub-policy."""

    def __init__(self, operations: Sequence[str], ranges: RangeSet, subpolicies: int = SUBPOLICIES) -> None:
        super().__init__(operations, ranges)
        self.subpolicies = subpolicies
        decisions = [
            self._decision(part, f"{sub}.{step}.{part}")
            for sub in range(1, subpolicies + 1)
            for step in range(1, STEPS + 1)
            for part in PARTS
        ]
        self.space = Space(*decisions, canonical=self._canonical)

    @abstractmethod
    def _decision(self, part: str, name: str) -> Decision:
        """What can be chosen for a part of an operation."""

    @abstractmethod
    def _unit(self, part: str, value: Value) -> float:
        """A probability or magnitude as the candidate has it, in [0, 1]."""

    def schedule(self, candidate: Candidate) -> tuple[Policy, ...]:
        """One policy; of as many sub-policies as the candidate has, which may be more than the space's."""
        return (Policy((Stage(tuple(self._choice(block) for block in blocks(candidate))),)),)

    def combined(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """AutoAugment's final policy: the sub-policies of the best, one behind the other; equal ones once."""
        kept: list[tuple[Value, ...]] = []
        for candidate in candidates:
            kept += [block for block in blocks(candidate) if block not in kept]
        return {
            f"{sub}.{step}.{part}": block[(step - 1) * len(PARTS) + index]
            for sub, block in enumerate(kept, 1)
            for step in range(1, STEPS + 1)
            for index, part in enumerate(PARTS)
        }

    @property
    def variation(self) -> Variation:
        return SubPolicyVariation(self.space)

    def _choice(self, block: Sequence[Value]) -> SubPolicy:
        triples = [block[start : start + len(PARTS)] for start in range(0, len(block), len(PARTS))]
        return tuple(
            step_at(str(name), self._unit("probability", probability), self._unit("magnitude", magnitude), self.ranges)
            for name, probability, magnitude in triples
        )

    def _canonical(self, candidate: Candidate) -> Candidate:
        if not candidate or "1.1.operation" not in candidate:
            return candidate
        rows = []
        for choice in self.schedule(candidate)[0].subpolicies:
            rows.append([[step.operation, step.probability, step.value] for step in choice if not step.idle])
        return {"policy": repr(sorted(rows, key=repr))}


@final
class AutoAugmentSpace(_SubPolicies):
    """30 choices, so that a controller has a softmax for each."""

    all_operations = tuple(OPERATIONS)

    def _decision(self, part: str, name: str) -> Decision:
        sizes = {"probability": PROBABILITIES, "magnitude": MAGNITUDES}
        options: Sequence[Value] = self.operations if part == "operation" else tuple(range(sizes[part]))
        return Choice(name, options, kind=part)

    def _unit(self, part: str, value: Value) -> float:
        return float(value or 0) / ((PROBABILITIES if part == "probability" else MAGNITUDES) - 1)


@final
class FastAutoAugmentSpace(_SubPolicies):
    """10 choices and 20 numbers."""

    all_operations = tuple(name for name in OPERATIONS if name != "SamplePairing")

    def _decision(self, part: str, name: str) -> Decision:
        if part == "operation":
            return Choice(name, self.operations, kind=part)
        return Real(name, 0.0, 1.0, kind=part)

    def _unit(self, part: str, value: Value) -> float:
        return float(value or 0)


@final
class SubPolicyVariation:
    """Mutations of one decision, to the next value or to any; crossover of whole sub-policies."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._generic = GenericVariation(space)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.sample(rng)

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.twins(genes, rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """One decision changed; a number of a grid moves by one in half of the cases."""
        slot = self.space.slots[int(rng.integers(len(self.space.slots)))]
        decision = slot.decisions[0]
        grid = isinstance(decision, Choice) and all(isinstance(option, int) for option in decision.options)
        if not grid or rng.random() < 0.5:
            return self._any(genes, slot.path, decision, rng)
        value = _whole(genes[slot.path])
        near = [place for place in (value - 1, value + 1) if 0 <= place < len(decision.options)]  # type: ignore[union-attr]
        return {**genes, slot.path: near[int(rng.integers(len(near)))]}

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Each sub-policy from one of the two."""
        child = dict(left)
        names = sorted({path.partition(".")[0] for path in left})
        for name, taken in zip(names, rng.random(len(names)) < 0.5, strict=True):
            if taken:
                child |= {path: value for path, value in right.items() if path.partition(".")[0] == name}
        return child

    def _any(self, genes: Genes, path: str, decision: Decision, rng: np.random.Generator) -> dict[str, Any]:
        if decision.count == 1:
            return self._generic.mutate(genes, rng)
        return {**genes, path: other(decision, decision, genes[path], rng, 0.5)}


def blocks(candidate: Mapping[str, Value]) -> list[tuple[Value, ...]]:
    """The decisions of each sub-policy of a candidate, in order."""
    names = sorted({int(path.partition(".")[0]) for path in candidate})
    places = [f"{step}.{part}" for step in range(1, STEPS + 1) for part in PARTS]
    return [tuple(candidate[f"{name}.{place}"] for place in places) for name in names]


def _whole(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
