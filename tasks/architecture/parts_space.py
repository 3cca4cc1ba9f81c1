"""A part as a Space, and a candidate of that space as a plan: the layers that it names, nested as they stand.

Every part has a place, named by its number in the part around it: `2/1/filters` is what the first part of the second
decides. A place holds one decision: which of its parts (Or, Maybe), how many (Repeat), in which order (Permutation); of
all others it is settled, and so are values without an alternative.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from automl_ext.tasks.architecture.parts import (
    Chain,
    Hyperparameters,
    Layer,
    Maybe,
    Or,
    Part,
    PartError,
    Permutation,
    Repeat,
    Residual,
)

from automl_ext.decisions import Choice, Value
from automl_ext.space import Candidate, Space

__all__ = ["Plan", "Step", "parts_space", "plan", "tuned"]

NOTHING = "none"


@dataclass(frozen=True)
class Plan:
    """What a candidate consists of: layers with their values, one behind the other; a residual is a plan of its own."""

    steps: tuple[Step, ...]

    def text(self) -> list[Any]:
        """As plain JSON: [[layer, {value}], ["residual", [...]], ...]. Equal for candidates of equal networks."""
        return [
            ["residual", step.text()] if isinstance(step, Plan) else [step[0].name, step[1]]
            for step in self.steps
            if isinstance(step, Plan) or step[0].name != "empty"
        ]


Step = tuple[Layer, dict[str, Value]] | Plan


def parts_space(part: Part) -> Space:
    """All candidates of a part; equal where their layers and their training are."""

    def canonical(candidate: Candidate) -> Candidate:
        whole = {"layers": plan(part, candidate).text(), "training": tuned(part, candidate)}
        return {"network": json.dumps(whole, sort_keys=True)}

    return Space(_place("net", part), canonical=canonical)


def _place(name: str, part: Part) -> Choice:
    """The decision that stands at a part's place, with the part's own behind it."""
    match part:
        case Or():
            inner = {label: _inside(each) for label, each in _labelled(part).items()}
            return Choice(name, tuple(inner), branches=inner, kind="or")
        case Maybe():
            return Choice(
                name, (NOTHING, _label(part.part)), branches={_label(part.part): _inside(part.part)}, kind="maybe"
            )
        case Repeat():
            copies = [_place("each" if part.tied else str(index + 1), part.part) for index in range(max(part.counts))]
            branches = {count: Space(*copies[: 1 if part.tied else count]) for count in part.counts}
            return Choice(name, part.counts, branches=branches, kind="repeat")
        case Permutation():
            inner_space = _inside(Chain(*part.parts))
            return Choice(name, tuple(_orders(part)), branches=dict.fromkeys(_orders(part), inner_space), kind="order")
        case _:
            return Choice(name, (part.name,), branches={part.name: _inside(part)})


def _inside(part: Part) -> Space:
    """What is decided behind the choice of a part."""
    match part:
        case Layer() | Hyperparameters():
            return Space(
                *(Choice(name, tuple(values), kind=f"{part.name} {name}") for name, values in part.values.items())
            )
        case Chain():
            return Space(*(_place(str(index), each) for index, each in enumerate(part.parts, 1)))
        case Residual():
            return Space(_place("1", part.part))
        case _:
            return Space(_place("1", part))


def plan(part: Part, candidate: Mapping[str, Value]) -> Plan:
    """The layers that a candidate names."""
    return Plan(tuple(_steps_at(part, candidate, "net")))


def tuned(part: Part, candidate: Mapping[str, Value]) -> dict[str, Value]:
    """The hyperparameters that a candidate names; of two of one name the later counts."""
    found: dict[str, Value] = {}

    def collect(part: Part, path: str) -> None:
        for inner, at in _met(part, candidate, path):
            if isinstance(inner, Hyperparameters):
                found.update({name: candidate[f"{at}/{name}"] for name in inner.values})

    collect(part, "net")
    return found


def _steps_at(part: Part, candidate: Mapping[str, Value], path: str) -> list[Step]:
    """The steps of the part at a place."""
    steps: list[Step] = []
    for inner, at in _met(part, candidate, path):
        if isinstance(inner, Layer):
            steps.append((inner, {name: candidate[f"{at}/{name}"] for name in inner.values}))
        elif isinstance(inner, Residual):
            steps.append(Plan(tuple(_steps_at(inner.part, candidate, f"{at}/1"))))
    return steps


def _met(part: Part, candidate: Mapping[str, Value], path: str) -> list[tuple[Part, str]]:
    """The leaves (layers, hyperparameters, residuals) that a candidate reaches from a place, in order, and where."""
    chosen = candidate[path]
    match part:
        case Or():
            return _met_inside(_labelled(part)[str(chosen)], candidate, path)
        case Maybe():
            return [] if chosen == NOTHING else _met_inside(part.part, candidate, path)
        case Repeat():
            names = ["each" if part.tied else str(index + 1) for index in range(int(chosen or 0))]
            return [leaf for name in names for leaf in _met(part.part, candidate, f"{path}/{name}")]
        case Permutation():
            order = _orders(part)[str(chosen)]
            return [leaf for index in order for leaf in _met(part.parts[index], candidate, f"{path}/{index + 1}")]
        case _:
            return _met_inside(part, candidate, path)


def _met_inside(part: Part, candidate: Mapping[str, Value], path: str) -> list[tuple[Part, str]]:
    match part:
        case Layer() | Hyperparameters() | Residual():
            return [(part, path)]
        case Chain():
            places = enumerate(part.parts, 1)
            return [leaf for index, each in places for leaf in _met(each, candidate, f"{path}/{index}")]
        case _:
            return _met(part, candidate, f"{path}/1")


def _label(part: Part) -> str:
    if isinstance(part, Layer) and part.name == NOTHING:
        raise PartError("no layer may be called none")
    return part.name


def _labelled(part: Or) -> dict[str, Part]:
    """Its parts by name; of equal names the second is name-2."""
    found: dict[str, Part] = {}
    for each in part.parts:
        label, number = _label(each), 1
        while label in found:
            number += 1
            label = f"{each.name}-{number}"
        found[label] = each
    return found


def _orders(part: Permutation) -> dict[str, tuple[int, ...]]:
    """`1 2 3`, ... by which part comes first."""
    return {" ".join(str(index + 1) for index in order): order for order in permutations(range(len(part.parts)))}
