"""Which layers lose channels together: a thin layer over torch-pruning's dependency graph.

torch-pruning 1.6.1 shares mutable default arguments between its pruner objects, so no pruner object is used at all;
indices are python lists, since index tensors corrupt layers silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from automl_ext.tasks.pruning.network import PruningError
from torch import Tensor, nn

__all__ = ["Entry", "entries", "full_group", "group_of", "trace"]

Entry = tuple[nn.Module, bool, list[int], list[int]]
"""(module, whether it loses outputs, its own indices, the root's channel behind each)."""


def trace(network: nn.Module, example: Tensor) -> Any:
    """The dependency graph of `network`, which is in eval mode and trainable afterwards. example: one image.

    Raises PruningError, one line, where the network does not trace.
    """
    network.requires_grad_(True)
    try:
        with torch.enable_grad():
            return tp.DependencyGraph().build_dependency(network, example, verbose=False)
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise PruningError(f"the network does not trace: {line}") from error


def group_of(graph: Any, layer: nn.Module, channels: Sequence[int]) -> Any:
    """torch-pruning's group for removing output `channels` of `layer`, a convolution or a linear layer."""
    remove = tp.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else tp.prune_linear_out_channels
    return graph.get_pruning_group(layer, remove, list(channels))


def full_group(graph: Any, layer: nn.Module) -> Any:
    """The group of all output channels of `layer`."""
    return group_of(graph, layer, range(graph.get_out_channels(layer)))


def entries(graph: Any, group: Any) -> Iterator[Entry]:
    """The members of `group` that have weights.

    Depthwise layers and normalisations count as losing outputs.
    """
    for item in group:
        module = item.dep.target.module
        if isinstance(module, nn.Module) and any(True for _ in module.parameters(recurse=False)):
            yield module, graph.is_out_channel_pruning_fn(item.dep.handler), list(item.idxs), list(item.root_idxs)
