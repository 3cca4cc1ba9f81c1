"""The pass of flow.py, a few images at a time: all of them through what lies between two counted layers, then on.

Maps of a few images stay in the processor's cache, and a layer can still be solved from all images before it runs.
Values are in channels-last order, in which convolutions and the reading of patches are faster. A batch norm right
behind a convolution that nothing else reads is done by the convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from automl_ext.tasks.pruning.flow import Flow
from torch import Tensor, fx, nn
from torch.nn.utils import fuse_conv_bn_weights

__all__ = ["Values", "pass_by"]

Values = Sequence[Mapping[fx.Node, Any]]
"""The values still alive, part by part of the images."""
Before = Callable[[str, nn.Module, fx.Node, Values], None]
"""Called before a counted layer runs: its name, the layer, the node of its input, and all values."""

PART = 50
"""Images that run together."""


def pass_by(network: nn.Module, flow: Flow, images: Tensor, before: Before, part: int = PART) -> None:
    """Run `network` (eval mode, no gradients) over `images` (n, c, h, w), `before` being called ahead of each counted
    layer, which it may change. Nothing behind the last counted layer is computed.
    """
    network.eval()
    modules = dict(network.named_modules())
    walk = _Walk(network, flow, [one.contiguous(memory_format=torch.channels_last) for one in images.split(part)])
    with torch.inference_mode(False), torch.no_grad():
        waiting: list[fx.Node] = []
        for node in flow.graph.nodes:
            module = modules[str(node.target)] if node.op == "call_module" else None
            if isinstance(module, nn.Conv2d | nn.Linear):
                walk.run(waiting)
                before(str(node.target), module, node.args[0], walk.values)
                waiting = []
            waiting.append(node)


class _Walk(fx.Interpreter):
    """values: one environment a part of the images."""

    def __init__(self, network: nn.Module, flow: Flow, parts: Sequence[Tensor]) -> None:
        super().__init__(network, graph=flow.graph)
        self.modules = dict(network.named_modules())
        self.parts = parts
        self.values: list[dict[fx.Node, Any]] = [{} for _ in parts]
        self.folded: dict[fx.Node, tuple[Tensor, Tensor]] = {}

    def run(self, nodes: Sequence[fx.Node]) -> None:  # type: ignore[override]
        """`nodes`, which follow one another in the graph, for all images."""
        for node in nodes:
            self._fold(node)
        for images, values in zip(self.parts, self.values, strict=True):
            self.env, self.args_iter = values, iter((images,))
            for node in nodes:
                values[node] = self.run_node(node)
                for dead in self.user_to_last_uses.get(node, []):
                    del values[dead]

    def run_node(self, n: fx.Node) -> Any:
        if n in self.folded:
            layer: Any = self.modules[str(n.target)]
            return layer._conv_forward(self.env[n.args[0]], *self.folded[n])  # type: ignore[index]
        if n.op == "call_module" and n.args[0] in self.folded:
            return self.env[n.args[0]]  # type: ignore[index]
        return super().run_node(n)

    def _fold(self, node: fx.Node) -> None:
        """Note the weights of a convolution that does the work of the norm behind it, too."""
        conv = self.modules[str(node.target)] if node.op == "call_module" else None
        behind = next(iter(node.users), None)
        if not isinstance(conv, nn.Conv2d) or len(node.users) != 1 or behind is None or behind.op != "call_module":
            return
        norm: Any = self.modules[str(behind.target)]
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
            self.folded[node] = _folded(conv, norm)


def _folded(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight (o, c, k, k) and bias (o,) of a convolution that does the work of `norm`, too."""
    statistics = norm.running_mean, norm.running_var, norm.eps
    return fuse_conv_bn_weights(conv.weight, conv.bias, *statistics, norm.weight, norm.bias)
