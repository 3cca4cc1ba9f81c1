"""Sentences: a candidate as the sequence of its decisions, for networks that read and write sequences.

A step of the candidate's walk is one token: which option, or which bin of a number's declared range. Decisions of one
`kind` share their tokens, others have their own. Settled decisions are no step and no token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from automl_ext.decisions import Choice, Decision, Value, position
from automl_ext.space import Space, Walk

START = 0
"""The token in front of a sentence."""
T = TypeVar("T")


@dataclass(frozen=True)
class Sentence:
    """One entry a step, in the order of the walk. units: where a number lies in its declared range, 0 for options."""

    paths: tuple[str, ...]
    tokens: tuple[int, ...]
    slots: tuple[int, ...]
    units: tuple[float, ...]

    def without(self, path: str | None) -> Sentence:
        """The same with no step at `path`."""
        if path not in self.paths:
            return self
        at = self.paths.index(path)
        return Sentence(
            self.paths[:at] + self.paths[at + 1 :],
            self.tokens[:at] + self.tokens[at + 1 :],
            self.slots[:at] + self.slots[at + 1 :],
            self.units[:at] + self.units[at + 1 :],
        )


@dataclass(frozen=True)
class Batch:
    """Sentences side by side, each (n, longest); real: which places are steps and not padding."""

    tokens: Tensor
    slots: Tensor
    units: Tensor
    real: Tensor

    def rows(self, chosen: Tensor) -> Batch:
        """The sentences `chosen` (m,), as indices."""
        return Batch(self.tokens[chosen], self.slots[chosen], self.units[chosen], self.real[chosen])


class Vocabulary:
    """The tokens of a space. size: how many, START included. bins: tokens of a number."""

    def __init__(self, space: Space, bins: int) -> None:
        self.space, self.bins = space, bins
        self.places = {slot.path: index for index, slot in enumerate(space.slots)}
        self.options: dict[str, list[Value]] = {}
        numbers: set[str] = set()
        for path, decision in self._decisions():
            name = decision.kind or path
            known = self.options.setdefault(name, [])
            if isinstance(decision, Choice):
                known += [option for option in decision.options if position(known, option) < 0]
            else:
                numbers.add(name)
        self.starts: dict[str, int] = {}
        self.size = START + 1
        for name, known in self.options.items():
            self.starts[name] = self.size
            self.size += len(known) + bins * (name in numbers)

    def fitting(self) -> Tensor:
        """(slots, size) whether a token can stand at a slot at all; one slot at least."""
        fits = torch.zeros(max(1, len(self.places)), self.size, dtype=torch.bool)
        for path, decision in self._decisions():
            for token in self._tokens(path, decision):
                fits[self.places[path], token] = True
        return fits

    def token(self, path: str, declared: Decision, value: Value) -> int:
        name = declared.kind or path
        if isinstance(declared, Choice):
            return self.starts[name] + position(self.options[name], value)
        place = min(int(declared.to_unit(value) * self.bins), self.bins - 1)
        return self._first(path, declared) + place

    def best(self, walk: Walk, logits: NDArray[np.float32]) -> int:
        """The token with the largest of `logits` (size,) that the present step of `walk` may take."""
        path, declared, decision = walk.path, walk.declared, walk.decision
        if isinstance(decision, Choice):
            legal = [self.token(path, declared, option) for option in decision.options]
            return max(legal, key=lambda token: logits[token])
        first = self._first(path, declared)
        for place in np.argsort(-logits[first : first + self.bins], kind="stable"):
            if self.token(path, declared, self._within(walk, int(place), 0.5)) == first + place:
                return first + int(place)
        return self.token(path, declared, decision.first)

    def drawn(self, walk: Walk, token: int, rng: np.random.Generator) -> Value:
        """A legal value of a token from `best`: the option, or a number drawn within the bin."""
        path, declared = walk.path, walk.declared
        if isinstance(declared, Choice):
            return self.options[declared.kind or path][token - self.starts[declared.kind or path]]
        place = token - self._first(path, declared)
        value = self._within(walk, place, float(rng.random()))
        return value if self.token(path, declared, value) == token else self._within(walk, place, 0.5)

    def read(self, candidate: Mapping[str, Value]) -> Sentence:
        """The sentence of a whole candidate."""
        paths, tokens, slots, units = [], [], [], []
        walk = Walk(self.space)
        while not walk.done:
            path, declared, value = walk.path, walk.declared, candidate[walk.path]
            paths.append(path)
            tokens.append(self.token(path, declared, value))
            slots.append(self.places[path])
            units.append(0.0 if isinstance(declared, Choice) else declared.to_unit(value))
            walk.choose(value)
        return Sentence(tuple(paths), tuple(tokens), tuple(slots), tuple(units))

    def _decisions(self) -> list[tuple[str, Decision]]:
        return [(slot.path, decision) for slot in self.space.slots for decision in slot.decisions]

    def _tokens(self, path: str, decision: Decision) -> list[int]:
        if isinstance(decision, Choice):
            return [self.token(path, decision, option) for option in decision.options]
        first = self._first(path, decision)
        return list(range(first, first + self.bins))

    def _first(self, path: str, decision: Decision) -> int:
        """The token of a number's first bin."""
        return self.starts[decision.kind or path] + len(self.options[decision.kind or path])

    def _within(self, walk: Walk, place: int, share: float) -> Value:
        """The legal number nearest to `share` of the way through a bin."""
        return walk.decision.nearest(walk.declared.from_unit((place + share) / self.bins))


def batch(sentences: Sequence[Sentence]) -> Batch:
    """Padded to the longest, at least one place."""
    longest = max([1, *(len(sentence.tokens) for sentence in sentences)])
    units = torch.tensor([padded(sentence.units, longest, 0.0) for sentence in sentences])
    real = torch.tensor([padded((True,) * len(sentence.tokens), longest, False) for sentence in sentences])
    tokens, slots = (
        torch.tensor([padded(values, longest, START) for values in columns])
        for columns in ([sentence.tokens for sentence in sentences], [sentence.slots for sentence in sentences])
    )
    return Batch(tokens, slots, units, real)


def padded(values: Sequence[T], length: int, filler: T) -> list[T]:
    """`values` and as many fillers as make `length`."""
    return [*values, *[filler] * (length - len(values))]


class Embedding(nn.Module):
    """A token as (size,): a row of its own, and for a number its place times another row."""

    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, size)
        self.slope = nn.Embedding(tokens, size)

    def forward(self, tokens: Tensor, units: Tensor) -> Tensor:
        found: Tensor = self.token(tokens) + units[..., None] * self.slope(tokens)
        return found


def mean(values: Tensor, real: Tensor) -> Tensor:
    """(n, steps, d) -> (n, d) over the steps that are no padding; 0 where there is none."""
    weights = real.to(values.dtype)[..., None]
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all matrices uniformly within 1 / sqrt(row length) from `generator`; all else is 0."""
    with torch.no_grad():
        for weights in network.parameters():
            if weights.dim() < 2:
                weights.zero_()
                continue
            bound = weights.shape[-1] ** -0.5
            weights.uniform_(-bound, bound, generator=generator)


def ranks(standings: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """(n,) in [0, 1], the best 1, the worst 0, equal ones their middle; 0.5 where all are equal."""
    table = np.array(standings, dtype=np.float64).reshape(-1, 2)
    _, order = np.unique(table, axis=0, return_inverse=True)
    found = rankdata(order.reshape(-1))
    low, high = found.min(initial=np.inf), found.max(initial=-np.inf)
    return (found - low) / (high - low) if high > low else np.full(len(found), 0.5)
