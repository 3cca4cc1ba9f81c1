"""Blocks of identical layers, each with choices of its own: MnasNet.

Tan, Chen, Pang, Vasudevan, Sandler, Howard, Le: "MnasNet: Platform-Aware Neural Architecture Search for Mobile", CVPR
2019, arXiv 1807.11626. Per block: the operation (convolution, depthwise separable convolution, inverted bottleneck with
expansion 3 or 6), kernel, squeeze-and-excitation, skip, and filters and layers relative to a reference network.

Differs from the paper:

1. The reference network of small images has four blocks in the manner of MobileNetV2; `blocks` gives another one.
2. The skip `pool`, which the paper leaves open, adds an average pool with the layer's stride, behind it a 1x1
   convolution where channels change.
3. Candidates that differ only in a skip `identity` which no layer of the block can take are one.
4. A block of one layer cannot lose it: there the number of layers is the reference's or one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from automl_ext.tasks.architecture.family import Family, Piece
from automl_ext.tasks.architecture.mobile_network import Layer, MobileNetwork, head, layer_module, stem
from pydantic import Field
from torch import nn

from automl_ext.decisions import Choice, Value
from automl_ext.space import Candidate, Space

__all__ = ["Base", "blocks_of", "family", "rounded"]

Base = tuple[
    Annotated[int, Field(ge=1, le=4096)], Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=2)]
]
"""A block of the reference network: filters, layers, stride of its first layer."""
SMALL: tuple[Base, ...] = ((8, 1, 1), (12, 2, 2), (16, 2, 1), (24, 2, 2))
LARGE: tuple[Base, ...] = (
    (16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1),
)  # fmt: skip
"""MobileNetV2, for images beyond 40 pixels."""
OPERATIONS = ("conv", "dwconv", "mbconv3", "mbconv6")
SHARES = (0.75, 1.0, 1.25)


@dataclass(frozen=True)
class Block:
    """layers: of one block, the first with the block's stride."""

    layers: tuple[Layer, ...]


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    blocks: Sequence[Base] | None = None,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    divisor: Annotated[int, Field(ge=1, le=64)] = 4,
) -> Family:
    """Networks near a reference network for images of `shape`.

    blocks: of the reference, (filters, layers, stride) each. width: times all filters. divisor: filters are multiples
    of it, at least 90 % of what they should be.
    """
    if blocks is not None and not blocks:
        raise ValueError("env.space_options.blocks: at least one (filters, layers, stride), or leave it out")
    large = min(shape[1:]) > 40
    base = tuple(blocks or (LARGE if large else SMALL))
    first = rounded((32 if large else 8) * width, divisor)
    space = Space(*(decision for index, block in enumerate(base) for decision in _decisions(index, block)),
                  canonical=lambda candidate: _canonical(candidate, base, width, divisor, first))  # fmt: skip

    def build(candidate: Candidate) -> nn.Module:
        found = blocks_of(candidate, base, width, divisor, first)
        return MobileNetwork([layer for block in found for layer in block.layers], shape, classes, first, large)

    def draw(candidate: Candidate, file: Path) -> None:
        _draw(blocks_of(candidate, base, width, divisor, first), first, file)

    def pieces(candidate: Candidate | None) -> list[Piece]:
        if candidate is None:
            every = _every_layer(base, width, divisor, first)
        else:
            every = [list(block.layers) for block in blocks_of(candidate, base, width, divisor, first)]
        return _pieces(every, shape, classes, first, large)

    return Family(space, _published(base), build, draw, pieces=pieces)


def rounded(filters: float, divisor: int) -> int:
    """The nearest multiple of `divisor`, one more where that is below 90 % of `filters`."""
    found = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * filters else found


def blocks_of(
    candidate: Mapping[str, Value], base: Sequence[Base], width: float, divisor: int, inputs: int
) -> list[Block]:
    """The layers that `candidate` says. inputs: channels of the stem."""
    made = []
    for index, (filters, count, stride) in enumerate(base):
        name = f"block_{index + 1}_"
        outputs = rounded(filters * width * float(candidate[name + "filters"] or 0), divisor)
        layers = []
        for place in range(count + int(candidate[name + "layers"] or 0)):
            layer = Layer(
                str(candidate[name + "op"]), int(candidate[name + "kernel"] or 0), float(candidate[name + "se"] or 0),
                str(candidate[name + "skip"]), inputs, outputs, 1 if place else stride,
            )  # fmt: skip
            layers.append(layer)
            inputs = outputs
        made.append(Block(tuple(layers)))
    return made


def _decisions(index: int, block: Base) -> list[Choice]:
    name = f"block_{index + 1}_"
    layers = (0, 1) if block[1] == 1 else (-1, 0, 1)
    return [
        Choice(name + "op", OPERATIONS, kind="op"),
        Choice(name + "kernel", (3, 5), kind="kernel"),
        Choice(name + "se", (0.0, 0.25), kind="se"),
        Choice(name + "skip", ("none", "identity", "pool"), kind="skip"),
        Choice(name + "filters", SHARES, kind="filters"),
        Choice(name + "layers", layers, kind="layers"),
    ]


def _canonical(candidate: Candidate, base: Sequence[Base], width: float, divisor: int, first: int) -> Candidate:
    """All layers as they are built."""
    found = blocks_of(candidate, base, width, divisor, first)
    return {"layers": "; ".join(layer.name for block in found for layer in block.layers)}


def _published(base: Sequence[Base]) -> dict[str, Candidate]:
    """The reference network itself, of MobileNetV2's layers, and one of plain convolutions."""
    made: dict[str, Candidate] = {"mobilenetv2": {}, "convolutions": {}}
    for name, candidate in made.items():
        for index in range(len(base)):
            block = f"block_{index + 1}_"
            op, skip = ("mbconv6", "identity") if name == "mobilenetv2" else ("conv", "none")
            candidate |= {block + "op": op, block + "kernel": 3, block + "se": 0.0, block + "skip": skip}
            candidate |= {block + "filters": 1.0, block + "layers": 0}
    return made


def _every_layer(base: Sequence[Base], width: float, divisor: int, first: int) -> list[list[Layer]]:
    """Block by block every layer that there can be."""
    made, before = [], [first]
    for filters, _, stride in base:
        sizes = [rounded(filters * width * share, divisor) for share in SHARES]
        ends = [(inputs, outputs, stride) for inputs in before for outputs in sizes]
        ends += [(outputs, outputs, 1) for outputs in sizes]
        made.append([
            Layer(op, kernel, se, skip, inputs, outputs, step)
            for op in OPERATIONS for kernel in (3, 5) for se in (0.0, 0.25) for skip in ("none", "identity", "pool")
            for inputs, outputs, step in ends
        ])  # fmt: skip
        before = sizes
    return made


def _pieces(
    blocks: Sequence[Sequence[Layer]], shape: tuple[int, int, int], classes: int, first: int, large: bool
) -> list[Piece]:
    """Stem, layers and classifier, each with the shape of its input."""
    made = [Piece("stem", partial(stem, shape[0], first, large), shape)]
    height, width = (-(-side // 2) if large else side for side in shape[1:])
    for layers in blocks:
        stride = max(layer.stride for layer in layers)
        halved = (-(-height // stride), -(-width // stride))
        for layer in layers:
            size = (height, width) if layer.stride == stride else halved
            name = f"{layer.name} at {size[0]}x{size[1]}"
            made.append(Piece(name, partial(layer_module, layer), (layer.inputs, *size)))
        height, width = halved
    for outputs in sorted({layer.outputs for layer in blocks[-1]}):
        made.append(Piece(f"head of {outputs}", partial(head, outputs, classes), (outputs, height, width)))
    return made


def _draw(blocks: Sequence[Block], first: int, file: Path) -> None:
    from automl_ext.tasks.architecture.picture import Graph, draw_graphs

    graph = Graph("blocks of identical layers, from left to right")
    node = graph.add("image", "state")
    node = graph.add(f"conv 3x3\n{first} filters", "conv", [node])
    for block in blocks:
        layer = block.layers[0]
        lines = [f"{layer.op} {layer.kernel}x{layer.kernel}", f"{layer.outputs} filters, x {len(block.layers)}"]
        lines += [f"squeeze {layer.se:g}"] if layer.se else []
        lines += [f"skip: {layer.skip}"] if any(each.skips for each in block.layers) else []
        lines += ["stride 2"] if layer.stride == 2 else []
        node = graph.add("\n".join(lines), "conv" if layer.op == "conv" else "sep", [node])
    graph.add("mean of pixels\nsoftmax", "linear", [node])
    draw_graphs([graph], file)
