"""The network as a list of operations, so that a pass can stop at a layer and see what goes in.

The graph is only read and interpreted; it is never compiled.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from automl_ext.tasks.pruning.network import PruningError
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Flow", "Sum", "read", "run"]

Before = Callable[[str, nn.Module, Tensor, Mapping[fx.Node, Any]], None]
"""Called before a counted layer runs: its name, the layer, its input, and the values still alive."""


@dataclass(frozen=True)
class Sum:
    """A layer whose output (through a batch norm or not) is added to something computed before it."""

    norm: str | None
    partner: fx.Node


@dataclass(frozen=True)
class Flow:
    """The operations of a network, and the sums that its layers end in. Holds for every pruned copy of it."""

    graph: fx.Graph
    sums: Mapping[str, Sum]


def read(network: nn.Module) -> Flow:
    """The flow of `network` in eval mode. Raises PruningError, one line, where it cannot be traced."""
    was_training = network.training
    try:
        graph = fx.Tracer().trace(network.eval())
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise PruningError(f"the network does not trace: {line}") from error
    finally:
        network.train(was_training)
    modules = dict(network.named_modules())
    _by_position(graph, modules)
    return Flow(graph, _sums(graph, modules))


def _by_position(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Calls of layers and norms that name their input (`conv(input=x)`) as all others are, in place."""
    for node in graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(layer, nn.Conv2d | nn.Linear | _BatchNorm) and not node.args:
            node.args, node.kwargs = (node.kwargs["input"],), {}


def _sums(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> dict[str, Sum]:
    """Sums by the layer that runs last on either side; what the other side needs is moved ahead of that layer."""
    found = {}
    for node in list(graph.nodes):
        added = node.op == "call_function" and node.target in (operator.add, operator.iadd, torch.add)
        if not added or len(node.args) != 2 or node.kwargs or not all(isinstance(arg, fx.Node) for arg in node.args):
            continue
        order = {other: index for index, other in enumerate(graph.nodes)}
        ends = [(_end(side, modules), other) for side, other in (node.args, node.args[::-1])]
        whole = [(end, other) for end, other in ends if end is not None and other.op != "get_attr"]
        if not whole or node.args[0] is node.args[1]:
            continue
        (layer, norm), partner = max(whole, key=lambda pair: order[pair[0][0]])
        needed = _behind(partner)
        if layer not in needed:
            for other in sorted((other for other in needed if order[other] > order[layer]), key=order.__getitem__):
                layer.prepend(other)
            found[str(layer.target)] = Sum(norm, partner)
    return found


def _end(node: fx.Node, modules: Mapping[str, nn.Module]) -> tuple[fx.Node, str | None] | None:
    """The convolution that `node` is, with or without a batch norm behind it, if nothing else reads it."""
    norm = None
    if node.op == "call_module" and isinstance(modules[str(node.target)], nn.BatchNorm2d) and len(node.users) == 1:
        norm, before = str(node.target), node.args[0]
        if not isinstance(before, fx.Node):
            return None
        node = before
    if node.op == "call_module" and isinstance(modules[str(node.target)], nn.Conv2d) and len(node.users) == 1:
        return node, norm
    return None


def _behind(node: fx.Node) -> set[fx.Node]:
    """`node` and everything that it is computed from."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting += here.all_input_nodes
    return found


class _Pass(fx.Interpreter):
    def __init__(self, network: nn.Module, flow: Flow, before: Before) -> None:
        super().__init__(network, graph=flow.graph)
        self.before = before

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module":
            layer = self.fetch_attr(str(n.target))
            if isinstance(layer, nn.Conv2d | nn.Linear):
                self.before(str(n.target), layer, self.env[n.args[0]], self.env)  # type: ignore[index]
        return super().run_node(n)


def run(network: nn.Module, flow: Flow, inputs: Tensor, before: Before) -> Tensor:
    """The output of `network` (eval mode, no gradients), `before` being called ahead of each counted layer."""
    network.eval()
    with torch.no_grad():
        output: Tensor = _Pass(network, flow, before).run(inputs)
    return output
