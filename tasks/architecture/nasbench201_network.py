"""The cells of NAS-Bench-201 as networks that are trained.

X. Dong, Y. Yang, ICLR 2020, arXiv 2001.00326: a 3x3 convolution, three stacks of cells with a residual block of stride
2 between them, batch norm, mean, linear. A convolution is ReLU, convolution, batch norm; a node is the sum of its
edges.

Differs from the paper:

1. One cell a stack and 8 channels by default instead of 5 and 16.
2. An edge that the cell's output does not depend on has no parameters. A cell whose output depends on nothing gives
   zeros.
3. Images beyond 40 pixels are halved by further convolutions in front; those below 4 pixels are not halved any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, final

from automl_ext.tasks.architecture.drawing import draw
from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.isomorphism import smallest
from automl_ext.tasks.architecture.layers import AvgPool, DropPath, conv_norm, relu_conv_norm
from automl_ext.tasks.architecture.nasbench201 import EDGES, REFERENCES, cell_space, name
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.decisions import Value
from automl_ext.space import Candidate

__all__ = ["CellNetwork", "canonical", "family", "live"]

Edge = tuple[int, int]
LAST = 3


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: Annotated[int, Field(ge=1, le=4096)] = 8,
    repeats: Annotated[int, Field(ge=1, le=64)] = 1,
) -> Family:
    """Cells for images of `shape`. width: channels of the first stack, doubled by each further one. repeats: cells a
    stack."""

    def build(candidate: Candidate) -> nn.Module:
        return CellNetwork(live(candidate), shape, classes, width, repeats)

    return Family(cell_space(canonical), REFERENCES, build, lambda candidate, file: draw(candidate, Path(file)))


def live(candidate: Mapping[str, Value]) -> dict[Edge, str]:
    """The edges on a way from the cell's input to its output, and their operations."""
    found = {edge: str(candidate[name(edge)]) for edge in EDGES if candidate[name(edge)] != "none"}
    fed = {0}
    for _, target in sorted(found):
        if any(end == target and source in fed for source, end in found):
            fed.add(target)
    needed = {LAST}
    for node in (2, 1, 0):
        if any(source == node and end in needed for source, end in found):
            needed.add(node)
    return {edge: kind for edge, kind in found.items() if edge[0] in fed & needed and edge[1] in fed & needed}


def canonical(candidate: Candidate) -> Candidate:
    """Equal for cells that compute the same with the same weights: nodes do not count, only operations and their terms.

    An identity is no operation, and two poolings of one tensor are one. A node is the sum of terms, each an operation's
    result (its place in `made`) or the cell's input (-1).
    """
    edges = live(candidate)
    made: list[tuple[str, tuple[int, ...]]] = []
    sums: dict[int, tuple[int, ...]] = {0: (-1,)}
    for node in (1, 2, LAST):
        terms: list[int] = []
        for (source, end), kind in edges.items():
            if end == node and kind == "skip_connect":
                terms += sums[source]
            elif end == node:
                operation = (kind, sums[source])
                if kind != "avg_pool_3x3" or operation not in made:
                    made.append(operation)
                    terms.append(len(made) - 1)
                else:
                    terms.append(made.index(operation))
        sums[node] = tuple(sorted(terms))
    made.append(("output", sums.get(LAST, ())))
    inputs = [[term for term in terms if term >= 0] for _, terms in made]

    def encode(operation: int, names: Mapping[int, int]) -> tuple[str, tuple[int, ...]]:
        kind, terms = made[operation]
        return kind, tuple(sorted(-1 if term < 0 else names[term] for term in terms))

    return {"cell": repr(smallest(inputs, encode)[0])}


@final
class Cell(nn.Module):
    """(n, channels, h, w) to the same."""

    def __init__(self, edges: Mapping[Edge, str], channels: int) -> None:
        super().__init__()
        self.edges = tuple(edges)
        self.operations = nn.ModuleDict({f"{a}_{b}": _operation(kind, channels) for (a, b), kind in edges.items()})
        self.drops = nn.ModuleDict({f"{a}_{b}": DropPath() for (a, b), kind in edges.items() if kind != "skip_connect"})

    def forward(self, x: Tensor) -> Tensor:
        nodes = {0: x}
        for source, target in self.edges:
            edge = f"{source}_{target}"
            value: Tensor = self.operations[edge](nodes[source])
            value = self.drops[edge](value) if edge in self.drops else value
            nodes[target] = nodes[target] + value if target in nodes else value
        return nodes[LAST] if LAST in nodes else x * 0.0


@final
class Residual(nn.Module):
    """Between stacks: half the side, twice the channels; two convolutions beside a pooled 1x1 convolution."""

    def __init__(self, inputs: int, stride: int) -> None:
        super().__init__()
        self.first = relu_conv_norm(inputs, 2 * inputs, 3, stride)
        self.second = relu_conv_norm(2 * inputs, 2 * inputs, 3)
        self.stride = stride
        self.around = nn.Conv2d(inputs, 2 * inputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        small = functional.avg_pool2d(x, 2, 2, 0, True, False) if self.stride == 2 else x
        y: Tensor = self.second(self.first(x)) + self.around(small)
        return y


@final
class CellNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes)."""

    def __init__(
        self, edges: Mapping[Edge, str], shape: tuple[int, int, int], classes: int, width: int, repeats: int
    ) -> None:
        super().__init__()
        side = min(shape[1:])
        front: list[nn.Module] = [*conv_norm(shape[0], width, 3, 2 if side > 40 else 1)]
        side = -(-side // 2) if side > 40 else side
        while side > 40:
            front += [*relu_conv_norm(width, width, 3, 2)]
            side = -(-side // 2)
        self.front = nn.Sequential(*front)
        body: list[nn.Module] = []
        for stack in range(3):
            if stack:
                body.append(Residual(width, 2 if side >= 4 else 1))
                side, width = -(-side // 2) if side >= 4 else side, 2 * width
            body += [Cell(edges, width) for _ in range(repeats)]
        self.body = nn.ModuleList(body)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        for module in self.body:
            x = module(x)
        logits: Tensor = self.classifier(functional.relu(self.norm(x)).mean(dim=(2, 3)))
        return logits


def _operation(kind: str, channels: int) -> nn.Module:
    if kind == "skip_connect":
        return nn.Identity()
    if kind == "avg_pool_3x3":
        return AvgPool(3)
    return relu_conv_norm(channels, channels, 1 if kind == "nor_conv_1x1" else 3)
