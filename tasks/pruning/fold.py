"""Biases that reconstruction gave to convolutions which had none, moved into the batch norms behind them.

A norm subtracts its running mean: what the bias adds can be taken from that. The network computes the same, and has
no parameter more than its channels need.
"""

from __future__ import annotations

from typing import Any

import torch
from automl_ext.tasks.pruning.flow import Flow
from torch import fx, nn

__all__ = ["fold_biases"]


def fold_biases(smaller: nn.Module, dense: nn.Module, flow: Flow) -> None:
    """Take new biases off `smaller`, a pruned copy of `dense` in eval mode, in place.

    Where something else reads the convolution, or no batch norm with statistics follows, the bias stays.
    """
    modules, before = dict(smaller.named_modules()), dict(dense.named_modules())
    for node in flow.graph.nodes:
        norm: Any = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        source = node.args[0]
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        layer, old = modules[str(source.target)], before[str(source.target)]
        if isinstance(layer, nn.Conv2d) and layer.bias is not None and getattr(old, "bias", None) is None:
            with torch.no_grad():
                norm.running_mean -= layer.bias
            layer.bias = None
