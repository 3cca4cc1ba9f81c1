"""Least-squares reconstruction: weights of a pruned network that give the dense network's feature maps back.

One pass over calibration images. Where it reaches a layer, the layer's weights and bias are solved from the inputs
that the pruned network really has there and the dense network's outputs, at a few random points of each map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from automl_ext.tasks.pruning.flow import Flow, run
from automl_ext.tasks.pruning.groups import Layer, Plan
from automl_ext.tasks.pruning.prune import Indices

__all__ = ["Dense", "Settings", "observe", "reconstruct"]


@dataclass(frozen=True)
class Settings:
    """refit: which layers are solved: those that read pruned channels ("readers"), those that come before a reader too
    ("writers"), or every convolution ("all"). ridge: pull towards the pruned weights, in shares of the mean input
    power. sums: let layers that end in a sum make up for what its other side lost.
    """

    points: int = 10
    ridge: float = 1e-2
    refit: str = "all"
    sums: bool = True
    linear: bool = False


@dataclass(frozen=True)
class Dense:
    """What the dense network does on the calibration images.

    images: (n, c, h, w) normalised; places: layer -> (n, points) flat output positions; outputs, partners: layer ->
    (n * points, channels) the layer's outputs there, and the other side of the sum that it ends in.
    """

    images: Tensor
    places: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    partners: Mapping[str, Tensor]


def observe(network: nn.Module, flow: Flow, plan: Plan, images: Tensor, points: int, generator: torch.Generator) -> Dense:
    """Run the dense network once over `images`, drawing the points from `generator`."""
    places: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    partners: dict[str, Tensor] = {}
    layers = {layer.name: layer for layer in plan.layers}

    def before(name: str, module: nn.Module, inputs: Tensor, values: Mapping[fx.Node, Any]) -> None:
        layer = layers[name]
        count = min(points, layer.places)
        chosen = torch.rand(len(images), layer.places, generator=generator).argsort(1)[:, :count]
        places[name] = chosen.to(images.device)
        outputs[name] = apply(module, patches(inputs, module, places[name]))
        if name in flow.sums:
            partners[name] = sampled(values[flow.sums[name].partner], places[name])

    run(network, flow, images, before)
    return Dense(images, places, outputs, partners)


def patches(inputs: Tensor, layer: nn.Module, places: Tensor) -> Tensor:
    """(n * points, c * k * k): what the layer sees at the output positions `places` (n, points) of `inputs`."""
    if isinstance(layer, nn.Linear):
        return inputs.flatten(1)
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    padded = functional.pad(inputs, (pw, pw, ph, ph)) if ph or pw else inputs
    n, c, height, width = padded.shape
    across = (width - dw * (kw - 1) - 1) // sw + 1
    top, left = places // across * sh, places % across * sw
    taps = (torch.arange(kh)[:, None] * dh * width + torch.arange(kw)[None, :] * dw).flatten()
    flat = (top * width + left)[:, :, None] + taps.to(places.device)
    index = flat.flatten(1)[:, None, :].expand(n, c, -1)
    picked = padded.flatten(2).gather(2, index)
    return picked.view(n, c, places.shape[1], kh * kw).permute(0, 2, 1, 3).reshape(n * places.shape[1], c * kh * kw)


def apply(layer: nn.Module, rows: Tensor) -> Tensor:
    return functional.linear(rows, layer.weight.flatten(1), layer.bias)


def sampled(maps: Tensor, places: Tensor) -> Tensor:
    """(n * points, c) values of `maps` (n, c, h, w) at flat positions."""
    n, c = maps.shape[:2]
    picked = maps.flatten(2).gather(2, places[:, None, :].expand(n, c, -1))
    return picked.permute(0, 2, 1).reshape(-1, c)


def solve(rows: Tensor, wanted: Tensor, weight: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weights (o, f) and bias (o,) that fit `wanted` (m, o) from `rows` (m, f), pulled towards `weight`."""
    mean_in, mean_out = rows.mean(0), wanted.mean(0)
    centred = rows - mean_in
    missing = wanted - mean_out - centred @ weight.T
    gram = (centred.T @ centred).double()
    right = (centred.T @ missing).double()
    strength = ridge * float(gram.diagonal().mean()) + 1e-12
    gram.diagonal().add_(strength)
    change = torch.linalg.solve(gram, right) if gram.shape[0] == 0 else torch.cholesky_solve(right, torch.linalg.cholesky(gram))
    fitted = weight + change.T.to(weight)
    return fitted, mean_out - fitted @ mean_in


def reconstruct(smaller: nn.Module, flow: Flow, plan: Plan, keep: Indices, dense: Dense, settings: Settings) -> None:
    """Solve the layers of `smaller` (the dense network with only `keep` left) in place."""
    layers = {layer.name: layer for layer in plan.layers}
    modules = dict(smaller.named_modules())
    changed = False

    def before(name: str, module: nn.Module, inputs: Tensor, values: Mapping[fx.Node, Any]) -> None:
        nonlocal changed
        layer = layers[name]
        chosen = bool(layer.reads) or settings.refit == "all" or (settings.refit == "writers" and bool(layer.writes))
        if isinstance(module, nn.Linear):
            chosen = settings.linear
        if layer.groups > 1 or not chosen or not (changed or layer.reads):
            return
        changed = True
        outputs = layer.kept_outputs(keep)
        wanted = dense.outputs[name][:, outputs]
        if settings.sums and name in flow.sums:
            wanted = wanted + owed(flow, name, modules, values, dense, outputs)
        rows = patches(inputs, module, dense.places[name])
        weight, bias = solve(rows, wanted, module.weight.flatten(1), settings.ridge)
        module.weight = nn.Parameter(weight.view_as(module.weight))
        module.bias = nn.Parameter(bias)

    run(smaller, flow, dense.images, before)


def owed(flow, name, modules, values, dense, outputs) -> Tensor:
    """What the other side of the sum lost, in units of this layer's output: (m, o)."""
    sum_ = flow.sums[name]
    lost = dense.partners[name][:, outputs] - sampled(values[sum_.partner], dense.places[name])
    if sum_.norm is None:
        return lost
    norm = modules[sum_.norm]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    usable = scale.abs() > 1e-2
    return torch.where(usable, lost / torch.where(usable, scale, 1.0), 0.0)
