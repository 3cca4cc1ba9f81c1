"""Chains of layers, each chosen whole: MetaQNN.

Baker, Gupta, Naik, Raskar: "Designing Neural Network Architectures using Reinforcement Learning", ICLR 2017, arXiv
1611.02167. A layer is a convolution (filters, kernel), a max-pool (kernel, stride), a dense layer, or the end: a linear
classifier on all pixels, or on their means. What may follow what is in `_legal`.

Differs from the paper:

1. Filters, dense sizes and the longest chain are smaller by default; all are options.
2. Batch norm follows each convolution (`norm: false` is the paper), since trainings here are short.
3. Kernels, of pools too, have to fit the true size; only what a learning agent sees of it is in buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, final

import numpy as np
from automl_ext.tasks.architecture.family import Family
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from automl_ext.decisions import Choice, Decision, Value
from automl_ext.space import Candidate, Space, Walk

__all__ = ["ChainNetwork", "family", "layers_of", "legal"]

Count = Annotated[int, Field(ge=1, le=4096)]
Kernel = Annotated[int, Field(ge=1, le=63)]
ENDS = ("softmax", "average")
NONE = "none"
"""What stands behind the end."""
BUCKETS = (8, 4)
"""Sizes from 8 on are one to an agent, sizes from 4 on another, and the rest."""


@dataclass(frozen=True)
class Layer:
    """kind: conv (size filters), pool, dense (size neurons), softmax, average."""

    kind: str
    size: int = 0
    kernel: int = 0
    stride: int = 1

    @classmethod
    def read(cls, text: str) -> Layer:
        """conv-16-k3, pool-3-s2, dense-32, softmax, average."""
        kind, *numbers = text.split("-")
        if kind == "conv":
            return cls(kind, int(numbers[0]), int(numbers[1][1:]))
        if kind == "pool":
            return cls(kind, 0, int(numbers[0]), int(numbers[1][1:]))
        return cls(kind, int(numbers[0]) if numbers else 0)


@final
class ChainNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). dropout: one after every two layers, the i-th of n with probability i / 2n."""

    def __init__(
        self, layers: Sequence[Layer], shape: tuple[int, int, int], classes: int, norm: bool, dropout: bool
    ) -> None:
        super().__init__()
        channels, height, width = shape
        drops = (len(layers) - 1) // 2 if dropout else 0
        body: list[nn.Module] = []
        dense: list[nn.Module] = []
        for index, layer in enumerate(layers[:-1]):
            if layer.kind == "conv":
                body.append(_conv(channels, layer, norm))
                channels = layer.size
            elif layer.kind == "pool":
                body.append(nn.MaxPool2d((min(layer.kernel, height), min(layer.kernel, width)), layer.stride))
                height, width = (_pooled(side, layer) for side in (height, width))
            else:
                dense += [nn.Linear(channels * height * width, layer.size), nn.ReLU()]
                channels, height, width = layer.size, 1, 1
            if drops and index % 2:
                (dense or body).append(nn.Dropout((index + 1) / 2 / (2 * drops)))
        self.body = nn.Sequential(*body)
        self.average = layers[-1].kind == "average"
        inputs = channels if self.average else channels * height * width
        self.head = nn.Sequential(*dense, nn.Linear(inputs, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        y: Tensor = self.head(x.mean(dim=(2, 3)) if self.average else x.flatten(1))
        return y


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    depth: Annotated[int, Field(ge=1, le=64)] = 6,
    filters: Sequence[Count] = (8, 16, 32),
    kernels: Sequence[Kernel] = (1, 3, 5),
    pools: Sequence[tuple[Kernel, Kernel]] = ((5, 3), (3, 2), (2, 2)),
    dense: Sequence[Count] = (64, 32, 16),
    norm: bool = True,
    dropout: bool = True,
) -> Family:
    """Chains for images of `shape`.

    depth: layers at most, the end among them. filters, kernels: of convolutions. pools: (kernel, stride). dense: sizes
    of dense layers. norm: batch norm behind convolutions. dropout: as in the paper, growing with depth.
    """
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ValueError(f"env.space_options.kernels: convolutions need odd kernels, not {list(kernels)}")
    if not filters or not kernels:
        raise ValueError("env.space_options.filters: at least one of filters and of kernels")
    options = [*ENDS, *(f"conv-{size}-k{kernel}" for size in filters for kernel in kernels)]
    options += [f"pool-{kernel}-s{stride}" for kernel, stride in pools]
    options += [f"dense-{size}" for size in dense]
    options = [*dict.fromkeys(options), NONE]
    side = min(shape[1:])

    def narrow(path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
        before = layers_of(made)
        kept = [option for option in options if legal(option, before, side, depth)]
        return decision.keep(kept) if isinstance(decision, Choice) else decision

    decisions = [Choice(f"layer_{index + 1}", options, kind="layer") for index in range(depth)]
    space = Space(*decisions, narrow=narrow, canonical=partial(canonical, shape=shape))

    def build(candidate: Candidate) -> nn.Module:
        return ChainNetwork(layers_of(candidate), shape, classes, norm, dropout)

    def observe(walk: Walk) -> NDArray[np.float32]:
        return _seen(layers_of(walk.candidate), options, side, depth)

    return Family(space, _published(filters, dense), build, _draw, observe=observe)


def canonical(candidate: Candidate, shape: tuple[int, int, int]) -> Candidate:
    """On maps of a single pixel both ends are the same. shape: of an image (c, h, w)."""
    layers, sides = layers_of(candidate), list(shape[1:])
    for layer in layers:
        sides = [_pooled(side, layer) for side in sides] if layer.kind == "pool" else sides
    if sides != [1, 1] or any(layer.kind == "dense" for layer in layers):
        return candidate
    return {path: ENDS[0] if value == ENDS[1] else value for path, value in candidate.items()}


def layers_of(candidate: Mapping[str, Value]) -> list[Layer]:
    """The layers up to the end, so far as they are decided."""
    paths = [f"layer_{index + 1}" for index in range(len(candidate))]
    chosen = [str(candidate[path]) for path in paths if path in candidate]
    return [Layer.read(text) for text in chosen if text != NONE]


def legal(option: str, before: Sequence[Layer], side: int, depth: int) -> bool:
    """Whether `option` may stand behind the layers `before`. side: of the image. depth: layers at most."""
    ended = bool(before) and before[-1].kind in ENDS
    if ended or option == NONE:
        return ended and option == NONE
    layer, last = Layer.read(option), before[-1] if before else None
    if layer.kind in ENDS:
        return layer.kind == "softmax" or last is None or last.kind != "dense"
    if len(before) + 1 == depth:
        return False
    now = size_after(before, side)
    if last is not None and last.kind == "dense":
        runs = sum(each.kind == "dense" for each in before)
        return layer.kind == "dense" and layer.size <= last.size and runs < 2
    if layer.kind == "dense":
        return last is not None and now < BUCKETS[0]
    if layer.kind == "pool" and (last is None or last.kind == "pool"):
        return False
    return layer.kernel <= now


def size_after(layers: Sequence[Layer], side: int) -> int:
    """Height and width behind the layers."""
    for layer in layers:
        side = _pooled(side, layer) if layer.kind == "pool" else side
    return side


def _pooled(side: int, layer: Layer) -> int:
    return (side - min(layer.kernel, side)) // layer.stride + 1


def _conv(inputs: int, layer: Layer, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, layer.size, layer.kernel, 1, layer.kernel // 2, bias=not norm)
    return nn.Sequential(conv, nn.BatchNorm2d(layer.size), nn.ReLU()) if norm else nn.Sequential(conv, nn.ReLU())


def _seen(before: Sequence[Layer], options: Sequence[str], side: int, depth: int) -> NDArray[np.float32]:
    """The paper's state: the last layer, how deep it lies, the bucket of the size, and how many dense layers."""
    last = before[-1] if before else None
    places = [Layer.read(option) == last for option in options[:-1]]
    deep = [index == len(before) for index in range(depth)]
    now = size_after(before, side)
    bucket = [now >= BUCKETS[0], BUCKETS[1] <= now < BUCKETS[0], now < BUCKETS[1]]
    return np.array([*places, *deep, *bucket, sum(layer.kind == "dense" for layer in before) / 2], dtype=np.float32)


def _published(filters: Sequence[int], dense: Sequence[int]) -> dict[str, Candidate]:
    """The best chain that MetaQNN found on CIFAR-10, with our largest filters for its 512 and 256; a small LeNet."""
    large, middle = sorted(filters)[-1], sorted(filters)[-min(2, len(filters))]
    top = [(large, 5), (middle, 3), (middle, 5), (middle, 3), None, (large, 3), (large, 5), None]
    found = [f"conv-{each[0]}-k{each[1]}" if each else ("pool-5-s3" if index < 5 else "pool-2-s2")
             for index, each in enumerate(top)]  # fmt: skip
    lenet = [f"conv-{middle}-k5", "pool-2-s2", f"conv-{large}-k3", "pool-2-s2"]
    lenet += [f"dense-{max(dense)}"] if dense else []
    chains = {"metaqnn-top": [*found, "softmax"], "lenet": [*lenet, "softmax"]}
    return {name: {f"layer_{index + 1}": each for index, each in enumerate(chain)} for name, chain in chains.items()}


def _draw(candidate: Candidate, file: Path) -> None:
    from automl_ext.tasks.architecture.picture import Graph, draw_graphs

    graph = Graph("layers, from left to right")
    node = graph.add("image", "state")
    for layer in layers_of(candidate):
        label, kind = _label(layer)
        node = graph.add(label, kind, [node])
    draw_graphs([graph], file)


def _label(layer: Layer) -> tuple[str, str]:
    if layer.kind == "conv":
        return f"conv {layer.kernel}x{layer.kernel}\n{layer.size} filters", "conv"
    if layer.kind == "pool":
        return f"max pool {layer.kernel}x{layer.kernel}\nstride {layer.stride}", "pool"
    if layer.kind == "dense":
        return f"dense\n{layer.size}", "linear"
    return ("linear\nsoftmax" if layer.kind == "softmax" else "mean of pixels\nsoftmax"), "linear"
