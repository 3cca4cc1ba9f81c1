"""DeepArchitect's language: what networks can be made of, written in a few lines as plain frozen data.

R. Negrinho, G. Gordon: "DeepArchitect: Automatically Designing and Training Deep Architectures", 2017, arXiv
1704.08792. A part is a layer with values to choose among, or made of parts:

    Chain(a, b, ...)         one behind the other (the paper's Concat)
    Or(a, b, ...)            exactly one of them
    Maybe(a)                 it or nothing (Optional)
    Repeat(a, counts)        several copies, each decided on its own; `tied=True`: all decided alike, weights their own
    Residual(a)              the input added to what `a` makes of it
    Permutation(a, b, ...)   all of them, in any order (MaybeSwap, for any number)
    Hyperparameters(...)     no layer: how the network is trained (UserHyperparams)

    def network(shape, classes):
        block = Chain(conv([8, 16], [3, 5]), Permutation(relu(), batch_norm()), Maybe(dropout([0.5, 0.9])))
        return Chain(Repeat(block, [1, 2, 4], tied=True), max_pool([2]), affine([32, 64]), relu())

`parts_space.py` makes a Space of it, `parts_network.py` a network; both only ask parts for what stands here.

Differs from the paper:

1. A layer of one's own is `Layer(name, make, values)`; its output's shape is found by running it.
2. Convolutions and pooling keep height and width but for the stride, whatever the window, so that all candidates build.
3. Bisected decisions (ChoiceBisection) are the searcher's: see `automl_ext.controllers.mcts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from automl_ext.tasks.architecture import parts_layers
from torch import nn

from automl_ext.decisions import Value

__all__ = [
    "Chain", "Hyperparameters", "Layer", "Maybe", "Or", "Part", "PartError", "Permutation", "Repeat", "Residual",
    "affine", "average_pool", "batch_norm", "conv", "dropout", "empty", "max_pool", "relu", "separable_conv", "sigmoid",
    "tanh",
]  # fmt: skip

Shape = tuple[int, ...]
"""Of one input: (channels, height, width), or (units,) once it is flat."""
Make = Callable[[Shape, Mapping[str, Value]], nn.Module]
"""make(shape of the input, the chosen values) -> a module with fresh weights"""
SCHEDULES = ("one-cycle", "constant")


def _number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _share(value: Value) -> bool:
    return _number(value) and 0 <= value < 1  # type: ignore[operator]


TUNED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "rate": ("numbers above 0 up to 10", lambda value: _number(value) and 0 < value <= 10),
    "batch": ("whole numbers from 2", lambda value: _number(value) and isinstance(value, int) and value >= 2),
    "weight_decay": ("numbers from 0 to 1", lambda value: _number(value) and 0 <= value <= 1),
    "momentum": ("numbers from 0, below 1", _share),
    "schedule": (" or ".join(SCHEDULES), lambda value: value in SCHEDULES),
    "smoothing": ("numbers from 0, below 1", _share),
}
"""What hyperparameters may be called, fields of the training recipe -> what they may be, in words and as a check."""


class PartError(ValueError):
    """A part that cannot be, or a network that does not build; one line."""


@dataclass(frozen=True)
class Layer:
    """One layer. values: what is to be chosen, by name; one value alone is fixed."""

    name: str
    make: Make
    values: Mapping[str, Sequence[Value]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not callable(self.make):
            raise PartError(f"{self.name}: make must be a function (shape, values) -> module")
        for name, values in self.values.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise PartError(f"{self.name}: {name} needs a list of values, not {values!r}")


@dataclass(frozen=True)
class Hyperparameters:
    """How the network is trained: values to choose among, by the names of the recipe's fields."""

    values: Mapping[str, Sequence[Value]]
    name: str = "training"

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            if name not in TUNED:
                raise PartError(f"no hyperparameter {name!r}; legal: {', '.join(TUNED)}")
            legal, fits = TUNED[name]
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                raise PartError(f"hyperparameter {name} needs a list of values, not {values!r}")
            wrong = [value for value in values if not fits(value)]
            if wrong:
                raise PartError(f"hyperparameter {name} takes {legal}, not {wrong[0]!r}")


@dataclass(frozen=True, init=False)
class Chain:
    """One behind the other."""

    parts: tuple[Part, ...]
    name = "chain"

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "parts", _checked(parts, "Chain"))


@dataclass(frozen=True, init=False)
class Or:
    """Exactly one of them."""

    parts: tuple[Part, ...]
    name = "or"

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "parts", _checked(parts, "Or"))


@dataclass(frozen=True, init=False)
class Permutation:
    """All of them in some order; up to five."""

    parts: tuple[Part, ...]
    name = "permutation"

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "parts", _checked(parts, "Permutation"))
        if len(parts) > 5:
            raise PartError(f"Permutation takes up to 5 parts, not {len(parts)}: they have too many orders")


@dataclass(frozen=True)
class Maybe:
    """The part, or nothing."""

    part: Part
    name = "maybe"

    def __post_init__(self) -> None:
        _checked((self.part,), "Maybe")


@dataclass(frozen=True)
class Repeat:
    """Copies one behind the other; how many is chosen among `counts`. tied: they are all decided alike."""

    part: Part
    counts: Sequence[int]
    tied: bool = False
    name = "repeat"

    def __post_init__(self) -> None:
        _checked((self.part,), "Repeat")
        counts = tuple(self.counts)
        if not counts or any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in counts):
            raise PartError(f"Repeat needs a list of whole numbers from 1, not {self.counts!r}")
        object.__setattr__(self, "counts", tuple(dict.fromkeys(counts)))


@dataclass(frozen=True)
class Residual:
    """The input added to what the part makes of it; where their sizes differ, zeros fill up."""

    part: Part
    name = "residual"

    def __post_init__(self) -> None:
        _checked((self.part,), "Residual")


Part = Layer | Hyperparameters | Chain | Or | Permutation | Maybe | Repeat | Residual


def conv(filters: Sequence[int], sizes: Sequence[int], strides: Sequence[int] = (1,)) -> Layer:
    """A convolution."""
    values = {"filters": filters, "size": sizes, "stride": strides}
    return Layer("conv", parts_layers.conv, values)


def separable_conv(filters: Sequence[int], sizes: Sequence[int], strides: Sequence[int] = (1,)) -> Layer:
    """A depthwise convolution, then one of 1x1."""
    values = {"filters": filters, "size": sizes, "stride": strides}
    return Layer("separable_conv", parts_layers.separable_conv, values)


def affine(units: Sequence[int]) -> Layer:
    """A linear layer on all that there is, flattened."""
    return Layer("affine", parts_layers.affine, {"units": units})


def max_pool(sizes: Sequence[int], strides: Sequence[int] = (2,)) -> Layer:
    return Layer("max_pool", parts_layers.max_pool, {"size": sizes, "stride": strides})


def average_pool(sizes: Sequence[int], strides: Sequence[int] = (2,)) -> Layer:
    return Layer("average_pool", parts_layers.average_pool, {"size": sizes, "stride": strides})


def dropout(keep: Sequence[float]) -> Layer:
    """keep: the share of values that is kept."""
    return Layer("dropout", parts_layers.dropout, {"keep": keep})


def batch_norm() -> Layer:
    return Layer("batch_norm", parts_layers.batch_norm)


def relu() -> Layer:
    return Layer("relu", lambda shape, values: nn.ReLU())


def sigmoid() -> Layer:
    return Layer("sigmoid", lambda shape, values: nn.Sigmoid())


def tanh() -> Layer:
    return Layer("tanh", lambda shape, values: nn.Tanh())


def empty() -> Layer:
    """Nothing."""
    return Layer("empty", lambda shape, values: nn.Identity())


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum():
        raise PartError(f"a layer's name is a word, not {name!r}")


def _checked(parts: tuple[Any, ...], where: str) -> tuple[Part, ...]:
    if not parts:
        raise PartError(f"{where} needs at least one part")
    for part in parts:
        if not isinstance(part, Part):
            raise PartError(f"{where} takes parts, not {part!r}")
    return parts
