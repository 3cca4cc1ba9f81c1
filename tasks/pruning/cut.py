"""Counts of kept channels -> a smaller network by plain indexing: what `prune.remove` gives, in a tenth of the time.

torch-pruning finds once which indices of which layer go with each channel of a group; cutting is selecting the others.
Only layers whose tensors all have channels in known places are cut so: convolutions without groups or depthwise,
linear layers and batch norms. Where a group touches anything else, there are no `members` and torch-pruning removes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from automl_ext.tasks.pruning.coupling import full_group, trace
from automl_ext.tasks.pruning.prune import Indices
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Member", "cut", "members"]


@dataclass(frozen=True)
class Member:
    """A layer that loses outputs (`out`) or inputs with a group: its channel own[i] goes with the group's roots[i]."""

    layer: str
    out: bool
    own: tuple[int, ...]
    roots: tuple[int, ...]


def members(network: nn.Module, example: Tensor, groups: Iterable[str]) -> dict[str, tuple[Member, ...]] | None:
    """Group name -> its members, of a network that is left as it was; None where one cannot be cut by indexing.

    example: one image (1, c, h, w). Raises PruningError where the network does not trace.
    """
    twin = copy.deepcopy(network).eval()
    names = {module: name for name, module in twin.named_modules()}
    modules = dict(twin.named_modules())
    graph = trace(twin, example)
    found = {}
    for group in groups:
        own = []
        for item in full_group(graph, modules[group]):
            module = item.dep.target.module
            if module in names and _plain(module):
                out = graph.is_out_channel_pruning_fn(item.dep.handler)
                own.append(Member(names[module], out, tuple(item.idxs), tuple(item.root_idxs)))
            elif not isinstance(module, nn.Module) or [*module.parameters(), *module.buffers()]:
                return None
        found[group] = tuple(own)
    return found


def _plain(module: Any) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups in (1, module.in_channels) and module.out_channels % module.groups == 0
    return isinstance(module, nn.Linear | _BatchNorm)


def cut(network: nn.Module, parts: Mapping[str, tuple[Member, ...]], keep: Indices) -> nn.Module:
    """A copy of `network` in eval mode that has only the channels `keep` of each group in it; others stay whole.

    parts: what `members` found. The copy shares no tensor with `network`, and its parameters take gradients.
    """
    lost: dict[tuple[str, bool], set[int]] = {}
    for group, stay in ((group, set(channels)) for group, channels in keep.items()):
        for member in parts[group]:
            gone = (own for own, root in zip(member.own, member.roots, strict=True) if root not in stay)
            lost.setdefault((member.layer, member.out), set()).update(gone)
    modules = dict(network.named_modules())
    done: dict[int, Any] = {}  # what copying meets by these ids, it takes from here
    sizes: list[tuple[str, dict[str, int]]] = []
    for name in {layer: None for (layer, _), gone in lost.items() if gone}:
        outputs, inputs = (lost.get((name, out), set()) for out in (True, False))
        sizes.append((name, _select(modules[name], outputs, inputs, done)))
    twin = copy.deepcopy(network, done).eval()
    twins = dict(twin.named_modules())
    for name, own in sizes:
        for attribute, value in own.items():
            setattr(twins[name], attribute, value)
    if sizes:
        twin.requires_grad_(True)
    twin.zero_grad(set_to_none=True)
    return twin


def _select(module: Any, outputs: set[int], inputs: set[int], done: dict[int, Any]) -> dict[str, int]:
    """Put the tensors of `module` without these channels into `done` by id. Returns the sizes that it then has."""
    depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
    count = module.num_features if isinstance(module, _BatchNorm) else len(module.weight)
    rows = torch.tensor([index for index in range(count) if index not in outputs])
    columns = None
    if inputs and not depthwise and not isinstance(module, _BatchNorm):
        columns = torch.tensor([index for index in range(module.weight.shape[1]) if index not in inputs])
    for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        smaller = tensor.detach()
        if outputs and tensor.dim():
            smaller = smaller.index_select(0, rows.to(tensor.device))
        if columns is not None and tensor.dim() > 1:
            smaller = smaller.index_select(1, columns.to(tensor.device))
        if smaller.data_ptr() != tensor.data_ptr():
            done[id(tensor)] = nn.Parameter(smaller) if isinstance(tensor, nn.Parameter) else smaller
    left = len(rows)
    if isinstance(module, _BatchNorm):
        return {"num_features": left}
    before = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
    sizes = (left, left if depthwise else before - len(inputs))
    if isinstance(module, nn.Conv2d):
        return {"out_channels": sizes[0], "in_channels": sizes[1], **({"groups": left} if depthwise else {})}
    return {"out_features": sizes[0], "in_features": sizes[1]}
