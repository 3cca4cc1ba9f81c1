"""What of a network can be pruned: its counted layers and its groups of coupled channels, in forward order.

A group is one decision: the layers whose output channels must go together (a residual stream is one group), and the
layers that read them. torch-pruning finds the coupling; that it is right is checked by removing channels.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from automl_ext.tasks.pruning.coupling import Entry, entries, full_group, trace
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prune import Indices
from automl_ext.tasks.pruning.soundness import sound
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["Group", "Kind", "Layer", "Plan", "counted_layers", "inspect", "uncounted"]

Wires = tuple[tuple[int, ...], ...]
Kind = Literal["conv", "linear"]


@dataclass(frozen=True)
class Layer:
    """One counted layer (convolution or linear) as it stands in the dense network.

    kernel: side lengths (1, 1 for linear ones); size: height and width of the input map; places: output positions an
    image. reads, writes: group -> for each of its channels, the input (output) channels of this layer that it takes.
    """

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: int
    groups: int
    size: tuple[int, int]
    places: int
    reads: Mapping[str, Wires] = field(default_factory=dict)
    writes: Mapping[str, Wires] = field(default_factory=dict)

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.inputs == self.outputs

    @property
    def kind(self) -> Kind:
        """conv or linear; only a linear layer has no stride."""
        return "conv" if self.stride else "linear"

    def kept_inputs(self, keep: Indices) -> list[int]:
        """Input channels left when each group keeps only the channels `keep`, ascending."""
        return _left(self.inputs, self.reads, keep)

    def kept_outputs(self, keep: Indices) -> list[int]:
        """Output channels left when each group keeps only the channels `keep`, ascending."""
        return _left(self.outputs, self.writes, keep)


@dataclass(frozen=True)
class Group:
    """Coupled channels. `name`: the first layer, in forward order, that produces them.

    writers: layers that lose these outputs; readers: layers that lose these inputs; both in forward order.
    """

    name: str
    channels: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Layers and groups in forward order, and what cannot be pruned: every layer that keeps all outputs -> the reason.

    Behind the layers stand the convolutions that are none of them.

    params, beside: the dense network's parameters, and by group how many besides weights go with a channel; see
    params.py, which fills them in.
    """

    layers: tuple[Layer, ...]
    groups: tuple[Group, ...]
    skipped: Mapping[str, str]
    params: int = 0
    beside: Mapping[str, int] = field(default_factory=dict)

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def group(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)


def inspect(network: nn.Module, example: Tensor) -> Plan:
    """The plan of `network`, which is left as it was. example: one image (1, c, h, w).

    Raises PruningError, one line, where the network does not run, does not trace, or has nothing to prune.
    """
    twin = copy.deepcopy(network).eval()
    names = {module: name for name, module in twin.named_modules()}
    layers = counted_layers(twin, example)
    graph = trace(twin, example)
    others = uncounted(twin)
    coupled, skipped, writers = _couple(twin, graph, layers, others)
    pruned, objections = sound(network, example, {name: layers[name].outputs for name in coupled})
    skipped |= objections
    if not pruned:
        said = {**skipped, **others}
        reasons = "; ".join(f"{name}: {reason}" for name, reason in said.items()) or "it has no counted layer"
        raise PruningError(f"the network has nothing to prune ({reasons})")
    groups = tuple(_wire(name, layers, entries(graph, coupled[name]), names) for name in pruned)
    return Plan(tuple(layers.values()), groups, {**_with_members(skipped, writers, layers), **others})


def _left(channels: int, wires: Mapping[str, Wires], keep: Indices) -> list[int]:
    lost: set[int] = set()
    for name, own in wires.items():
        if name in keep:
            stay = set(keep[name])
            lost.update(index for channel, indices in enumerate(own) if channel not in stay for index in indices)
    return [channel for channel in range(channels) if channel not in lost]


def _wire(name: str, layers: dict[str, Layer], members: Iterable[Entry], names: Mapping[nn.Module, str]) -> Group:
    """The group, its wires noted in the `layers` that it touches. Depthwise layers lose inputs with outputs."""
    channels = layers[name].outputs
    writers: set[str] = set()
    readers: set[str] = set()
    for module, out, own, roots in members:
        layer = layers.get(names[module])
        if layer is None:
            continue
        taken: list[list[int]] = [[] for _ in range(channels)]
        for index, root in zip(own, roots, strict=True):
            taken[root].append(index)
        wires = tuple(tuple(indices) for indices in taken)
        (writers if out else readers).add(layer.name)
        if out:
            layer = replace(layer, writes={**layer.writes, name: wires})
        if not out or layer.depthwise:
            layer = replace(layer, reads={**layer.reads, name: wires})
        layers[layer.name] = layer
    ordered = [tuple(layer for layer in layers if layer in some) for some in (writers, readers)]
    return Group(name, channels, *ordered)


def counted_layers(network: nn.Module, example: Tensor) -> dict[str, Layer]:
    """Counted layers in the order in which they run. PruningError where the network does not run or repeats one."""
    found: dict[str, Layer] = {}
    names = {module: name for name, module in network.named_modules()}

    def note(module: Any, args: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        name, maps = names[module], args[0] if args else named["input"]
        if name in found:
            raise PruningError(f"layer {name} runs more than once in a forward pass; that is not supported")
        if isinstance(module, nn.Conv2d):
            counts = module.in_channels, module.out_channels
            kernel, stride, groups = (module.kernel_size[0], module.kernel_size[1]), module.stride[0], module.groups
            size = maps.shape[2], maps.shape[3]
        else:
            counts = module.in_features, module.out_features
            kernel, stride, groups, size = (1, 1), 0, 1, (1, 1)
        places = output.numel() // (len(output) * counts[1])
        found[name] = Layer(name, *counts, kernel, stride, groups, size, places)

    counted = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in counted]
    try:
        with torch.no_grad():
            network(example)
    except PruningError:
        raise
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise PruningError(f"the network does not run on an input of shape {tuple(example.shape)}: {line}") from error
    finally:
        for hook in hooks:
            hook.remove()
    return found


def uncounted(network: nn.Module) -> dict[str, str]:
    """Name -> why it is not pruned, for each convolution that is not 2-d or is transposed."""
    return {
        name: f"a {type(module).__name__}; only 2-d convolutions and linear layers are pruned and counted"
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd) and not isinstance(module, nn.Conv2d)
    }


def _with_members(
    skipped: Mapping[str, str], writers: Mapping[str, Iterable[str]], layers: Mapping[str, Layer]
) -> dict[str, str]:
    """`skipped`, roots of groups with reasons, and with them the layers that lose outputs together with a root and
    can lose none otherwise; in forward order.
    """
    free = {member for root, members in writers.items() if root not in skipped for member in members}
    found = dict(skipped)
    for root, reason in skipped.items():
        for member in writers.get(root, ()):
            if member not in free:
                found.setdefault(member, f"coupled with {root}: {reason}")
    return {name: found[name] for name in layers if name in found}


def _couple(
    network: nn.Module, graph: Any, layers: Mapping[str, Layer], others: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str], dict[str, list[str]]]:
    """Full groups by root name in forward order, the reasons against those that cannot be pruned, and by root the
    layers that lose outputs. others: of `uncounted`.
    """
    modules = dict(network.named_modules())
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    writers: dict[str, list[str]] = {}
    taken: set[str] = set()
    for name, layer in layers.items():
        if name in taken or layer.depthwise:
            continue
        group = full_group(graph, modules[name])
        own = _channels_of(entries(graph, group), modules)
        writers[name] = [member for member, out in own if out and member in layers]
        taken.update(writers[name])
        reason = _refusal(layer, own, layers, others)
        if reason:
            skipped[name] = reason
        else:
            found[name] = group
    for name, layer in layers.items():
        if layer.depthwise and name not in taken:
            skipped[name] = "a depthwise convolution of channels that cannot be pruned"
    return found, skipped, writers


def _channels_of(members: Iterable[Entry], modules: Mapping[str, nn.Module]) -> dict[tuple[str, bool], Counter[int]]:
    """(name, whether it loses outputs) of each member -> how many of its channels go with each channel of the root."""
    names = {module: name for name, module in modules.items()}
    found: dict[tuple[str, bool], dict[int, int]] = {}
    for module, out, own, roots in members:
        found.setdefault((names[module], out), {}).update(zip(own, roots, strict=True))
    return {side: Counter(roots.values()) for side, roots in found.items()}


def _refusal(
    root: Layer,
    members: Mapping[tuple[str, bool], Counter[int]],
    layers: Mapping[str, Layer],
    others: Mapping[str, str],
) -> str:
    """Why the group of all outputs of `root` cannot be pruned, or "". members: of `_channels_of`.

    A member with a part of the channels (one of several that are concatenated and then added to the others) could be
    left with none, and what a channel costs would depend on which it is.
    """
    touched = [layers[name] for name, _ in members if name in layers]
    if any(layer.groups > 1 and not layer.depthwise for layer in touched):
        return "coupled with a grouped convolution"
    other = next((name for name, _ in members if name in others), None)
    if other is not None:
        return f"coupled with {other}, {others[other]}"
    if root.outputs < 2:
        return "it has one channel"
    for (name, _), taken in members.items():
        if len(taken) < root.outputs or len(set(taken.values())) > 1:
            return f"{name} has a part of its channels only, and might be left with none"
    return ""
