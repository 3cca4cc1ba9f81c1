"""Convolutions with skip connections: the first space of neural architecture search.

Zoph, Le: "Neural Architecture Search with Reinforcement Learning", ICLR 2017, arXiv 1611.01578. Each layer chooses
height and width of its filters, strides where asked for, the number of filters, and for each earlier layer whether that
is an input (an anchor that the controller points at). The inputs are concatenated. The paper's repairs: a layer without
inputs gets the image; outputs that nothing takes go to the classifier together; smaller inputs are padded with zeros.

Differs from the paper:

1. The number of layers is fixed (`layers`) and does not grow in the course of a search.
2. Fewer layers and filters by default. Max-pooling halves behind the layers named in `pools`.
3. Layers that differ in their order only are one candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, final

import torch
from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.isomorphism import Names, smallest
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.decisions import Choice, Value
from automl_ext.space import Candidate, Space

__all__ = ["BranchNetwork", "family", "plan"]

Count = Annotated[int, Field(ge=1, le=4096)]
Odd = Annotated[int, Field(ge=1, le=63)]
IMAGE = -1


@dataclass(frozen=True)
class Layer:
    """height, width: of the filters. sources: earlier layers, or IMAGE."""

    height: int
    width: int
    stride: tuple[int, int]
    filters: int
    sources: tuple[int, ...]


@final
class LayerModule(nn.Module):
    """Concatenated inputs -> convolution, batch norm, ReLU, and a max-pool where `pooled`."""

    def __init__(self, inputs: int, layer: Layer, pooled: bool) -> None:
        super().__init__()
        padding = (layer.height // 2, layer.width // 2)
        kernel = (layer.height, layer.width)
        self.conv = nn.Conv2d(inputs, layer.filters, kernel, layer.stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(layer.filters)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm(self.conv(x)))
        return functional.max_pool2d(y, 2, ceil_mode=True) if self.pooled else y


@final
class BranchNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). pools: layers (from 1) behind which the size is halved."""

    def __init__(
        self, layers: Sequence[Layer], shape: tuple[int, int, int], classes: int, pools: Sequence[int]
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        channels = {IMAGE: shape[0]}
        self.sides = {IMAGE: (shape[1], shape[2])}
        made = []
        for index, layer in enumerate(layers):
            pooled = index + 1 in pools
            made.append(LayerModule(sum(channels[source] for source in layer.sources), layer, pooled))
            channels[index] = layer.filters
            largest = self._largest(layer.sources)
            scale = [step * (1 + pooled) for step in layer.stride]
            self.sides[index] = (_divided(largest[0], scale[0]), _divided(largest[1], scale[1]))
        self.body = nn.ModuleList(made)
        used = {source for layer in layers for source in layer.sources}
        self.outputs = tuple(index for index in range(len(layers)) if index not in used)
        self.classifier = nn.Linear(sum(channels[index] for index in self.outputs), classes)

    def forward(self, x: Tensor) -> Tensor:
        made = {IMAGE: x}
        for index, (layer, module) in enumerate(zip(self.layers, self.body, strict=True)):
            made[index] = module(self._joined(made, layer.sources))
        y: Tensor = self.classifier(self._joined(made, self.outputs).mean(dim=(2, 3)))
        return y

    def _joined(self, made: Mapping[int, Tensor], sources: Sequence[int]) -> Tensor:
        height, width = self._largest(sources)
        padded = []
        for source in sources:
            down, right = height - self.sides[source][0], width - self.sides[source][1]
            padded.append(functional.pad(made[source], (0, right, 0, down)) if down or right else made[source])
        return padded[0] if len(padded) == 1 else torch.cat(padded, 1)

    def _largest(self, sources: Sequence[int]) -> tuple[int, int]:
        return max(self.sides[source][0] for source in sources), max(self.sides[source][1] for source in sources)


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    layers: Annotated[int, Field(ge=1, le=64)] = 6,
    kernels: Sequence[Odd] = (1, 3, 5, 7),
    filters: Sequence[Count] = (8, 12, 16, 24),
    strides: Sequence[Annotated[int, Field(ge=1, le=8)]] = (1,),
    pools: Sequence[int] = (),
) -> Family:
    """Networks of `layers` convolutions for images of `shape`.

    kernels: heights and widths of filters. filters: how many. strides: to choose from, in each direction. pools: layers
    behind which the size is halved, from 1.
    """
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ValueError(f"env.space_options.kernels: convolutions need odd kernels, not {list(kernels)}")
    if not (kernels and filters and strides):
        raise ValueError("env.space_options: kernels, filters and strides need at least one value each")
    if any(not 1 <= pool <= layers for pool in pools):
        raise ValueError(f"env.space_options.pools: layers from 1 to {layers}, not {list(pools)}")
    space = Space(
        *(decision for index in range(layers) for decision in _decisions(index, kernels, filters, strides)),
        canonical=partial(canonical, pools=tuple(pools)),
    )

    def build(candidate: Candidate) -> nn.Module:
        return BranchNetwork(plan(candidate), shape, classes, pools)

    return Family(space, _handmade(layers, kernels, filters, strides), build, _draw)


def plan(candidate: Mapping[str, Value]) -> list[Layer]:
    """The layers of a candidate, repaired: without an input the image is one."""
    made: list[Layer] = []
    while f"layer_{len(made) + 1}_filters" in candidate:
        name = f"layer_{len(made) + 1}_"
        sources = [index for index in range(len(made)) if candidate[f"{name}from_{index + 1}"]]
        parts = (candidate[name + part] for part in ("height", "width", "stride_down", "stride_right", "filters"))
        height, width, down, right, filters = (int(part or 0) for part in parts)
        made.append(Layer(height, width, (down, right), filters, tuple(sources) or (IMAGE,)))
    return made


def canonical(candidate: Candidate, pools: Sequence[int] = ()) -> Candidate:
    """The layers in an order of their own; those in front of a pool say so."""
    layers = plan(candidate)

    def encode(node: int, names: Names) -> tuple[object, ...]:
        layer = layers[node]
        sources = sorted(names.get(source, source) for source in layer.sources)
        return (layer.height, layer.width, *layer.stride, layer.filters, node + 1 in pools, tuple(sources))

    inputs = [[source for source in layer.sources if source >= 0] for layer in layers]
    return {"layers": str(smallest(inputs, encode)[0])}


def _decisions(index: int, kernels: Sequence[int], filters: Sequence[int], strides: Sequence[int]) -> list[Choice]:
    name = f"layer_{index + 1}_"
    made = [Choice(name + part, kernels, kind="kernel") for part in ("height", "width")]
    made += [Choice(name + part, strides, kind="stride") for part in ("stride_down", "stride_right")]
    made.append(Choice(name + "filters", filters, kind="filters"))
    for earlier in range(index):
        refers = {True: f"layer_{earlier + 1}_filters"}
        made.append(Choice(f"{name}from_{earlier + 1}", (False, True), kind="anchor", refers=refers))
    return made


def _handmade(
    layers: int, kernels: Sequence[int], filters: Sequence[int], strides: Sequence[int]
) -> dict[str, Candidate]:
    """3x3 convolutions in a row, and each fed by all before it."""
    kernel, size, stride = min(kernels, key=lambda each: abs(each - 3)), max(filters), min(strides)
    made: dict[str, Candidate] = {"row": {}, "dense": {}}
    for name, candidate in made.items():
        for index in range(layers):
            start = f"layer_{index + 1}_"
            candidate |= {start + "height": kernel, start + "width": kernel}
            candidate |= {start + "stride_down": stride, start + "stride_right": stride, start + "filters": size}
            for earlier in range(index):
                candidate[f"{start}from_{earlier + 1}"] = name == "dense" or earlier == index - 1
    return made


def _divided(side: int, by: int) -> int:
    return -(-side // by)


def _draw(candidate: Candidate, file: Path) -> None:
    from automl_ext.tasks.architecture.picture import Graph, draw_graphs

    layers = plan(candidate)
    graph = Graph("layers and their inputs")
    nodes = {IMAGE: graph.add("image", "state")}
    for index, layer in enumerate(layers):
        stride = "" if layer.stride == (1, 1) else f", stride {layer.stride[0]}x{layer.stride[1]}"
        label = f"{index + 1}: conv {layer.height}x{layer.width}\n{layer.filters} filters{stride}"
        nodes[index] = graph.add(label, "conv", [nodes[source] for source in layer.sources])
    used = {source for layer in layers for source in layer.sources}
    graph.add("mean of pixels\nsoftmax", "linear", [nodes[index] for index in range(len(layers)) if index not in used])
    draw_graphs([graph], file)
