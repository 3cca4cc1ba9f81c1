"""Networks of the hierarchical space: a cell a size, separable convolutions that halve between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import torch
from automl_ext.tasks.architecture.hierarchical_form import Graph, Motifs
from automl_ext.tasks.architecture.layers import AvgPool, DropPath, conv_norm, relu_conv_norm, separable
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PRIMITIVES", "Assembled", "HierarchicalNetwork"]


def _depthwise(channels: int) -> nn.Module:
    return nn.Sequential(*conv_norm(channels, channels, 3, groups=channels), nn.ReLU())


def _separable(channels: int) -> nn.Module:
    depthwise = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
    return nn.Sequential(depthwise, *conv_norm(channels, channels, 1), nn.ReLU())


PRIMITIVES: Mapping[str, Callable[[int], nn.Module]] = {
    "identity": lambda channels: nn.Identity(),
    "conv_1x1": lambda channels: nn.Sequential(*conv_norm(channels, channels, 1), nn.ReLU()),
    "dw_conv_3x3": _depthwise,
    "sep_conv_3x3": _separable,
    "max_pool_3x3": lambda channels: nn.MaxPool2d(3, 1, 1),
    "avg_pool_3x3": lambda channels: AvgPool(3),
}
"""Name -> channels -> a module that keeps channels, height and width."""


@final
class Assembled(nn.Module):
    """A graph as a module that keeps channels, height and width. make: label -> module on an edge."""

    def __init__(self, graph: Graph, channels: int, make: Callable[[str], nn.Module], drops: bool) -> None:
        super().__init__()
        self.graph = graph
        self.edges, self.joins = nn.ModuleDict(), nn.ModuleDict()
        for node in graph.inner_and_last:
            into = graph.into(node)
            for source, label in into:
                module = make(label)
                self.edges[f"{source}_{node}"] = nn.Sequential(module, DropPath()) if drops else module
            if len(into) > 1:
                self.joins[str(node)] = relu_conv_norm(len(into) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = {0: x}
        for node in self.graph.inner_and_last:
            inputs = [self.edges[f"{source}_{node}"](made[source]) for source, _ in self.graph.into(node)]
            made[node] = inputs[0] if len(inputs) == 1 else self.joins[str(node)](torch.cat(inputs, 1))
        return made.get(self.graph.nodes - 1, x)


@final
class HierarchicalNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). width: channels of the first cell."""

    def __init__(self, motifs: Motifs, shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        side = min(shape[1:])
        self.stem = nn.Sequential(*conv_norm(shape[0], width, 3, 2 if side > 40 else 1), nn.ReLU())
        halvings = min(2, max(0, side.bit_length() - 2))
        made: list[nn.Module] = []
        channels = width
        for stage in range(halvings + 1):
            made.append(_cell(motifs, channels))
            last = stage == halvings
            made.append(separable(channels, channels if last else 2 * channels, 3, 1 if last else 2))
            channels *= 1 if last else 2
        self.body = nn.Sequential(*made)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(functional.relu(self.body(self.stem(x))).mean(dim=(2, 3)))
        return y


def _cell(motifs: Motifs, channels: int) -> nn.Module:
    def motif(name: str) -> nn.Module:
        return Assembled(motifs.motifs[name], channels, lambda label: PRIMITIVES[label](channels), drops=False)

    return Assembled(motifs.cell, channels, motif, drops=True)
