"""Measuring the latency table: single layers at a grid of counts, and whole networks for what lies between the layers.

Each counted layer is run alone, as torch builds it, at the smallest, the largest and some counts between; equal shapes
are run once. Norms, activations, poolings, sums and what a call costs are not run alone: they are what some evenly
pruned networks take beyond their layers' sum, as a curve over the numbers that the layers put out. Layers and networks
take turns in several rounds, so that a slow moment of the machine hits one round only, and the medians are taken.
Weights and inputs are zeros: latency does not depend on them. The paper (see latency_table.py) leaves open how its
table was made.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.pruning.groups import Layer, Plan, Wires
from automl_ext.tasks.pruning.latency_table import Grid, LatencyTable, activations, rising, save
from automl_ext.tasks.pruning.macs import kept
from automl_ext.tasks.pruning.prune import remove
from torch import Tensor, nn
from torch.nn.utils import skip_init

from automl_ext.latency import latency

__all__ = ["measure", "tabulate"]

POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where counts are measured, from the smallest possible to the dense one."""
FINER = (0.0, 0.03, 0.06, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
"""The same for layers with one axis: what is fast for a single channel jumps up for a few."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of each group's channels, what the evenly pruned networks keep, one at least."""
ROUNDS, REPEATS, WARMUPS = 5, 3, 1
SECONDS = 10.0
"""After which no new round begins: large batches are measured in fewer."""


Probe = Callable[[], tuple[nn.Module, Tensor]]
"""Makes what is timed, a module and its input of one image, anew each time: a large grid would not fit in memory."""


def measure(network: nn.Module, plan: Plan, example: Tensor, batch: int, step: int = 1) -> LatencyTable:
    """The table of `network`, for passes of `batch` images on one thread. example: one image, on the network's device.

    step: counts are multiples of it. Where all are legal, odd ones are measured: kernels are faster at multiples of 4
    or 8 channels, which few policies have. Leaves the network as it was.
    """
    modules = dict(network.named_modules())
    axes = {layer.name: _axes(layer, step) for layer in plan.layers}
    probes: dict[Hashable, Probe] = {}
    for layer in plan.layers:
        module = modules[layer.name]
        for size in product(*axes[layer.name]):
            probes[_key(layer, module, size)] = partial(_alone, layer, module, size, example.device)
    policies = [{group.name: _even(share, group.channels, step) for group in plan.groups} for share in SHARES]
    for index, counts in enumerate(policies):
        smaller = remove(network, example, {name: range(count) for name, count in counts.items()})
        probes["network", index] = partial(_whole, smaller, example)
    clock = time.thread_time if example.device.type == "cpu" else time.perf_counter
    times = _time(probes, batch, clock)
    layers = {}
    for layer in plan.layers:
        inputs, outputs = axes[layer.name]
        values = [times[_key(layer, modules[layer.name], size)] for size in product(inputs, outputs)]
        layers[layer.name] = Grid(inputs, outputs, rising(np.array(values).reshape(len(inputs), len(outputs))))
    whole = [times["network", index] for index in range(len(policies))]
    facts = {"batch": batch, "threads": 1, "device": example.device.type, "torch": torch.__version__,
             "dense_ms": whole[-1] / 1e6}  # fmt: skip
    return LatencyTable(layers, _rest(plan, layers, policies, whole), facts)


def tabulate(
    network: nn.Module, plan: Plan, shape: Sequence[int], batch: int, legal: Mapping[str, range], folder: Path
) -> None:
    """Measure `network` where it is, and leave the table in `folder`. shape: of an image (c, h, w). legal: counts."""
    example = torch.zeros((1, *shape), device=next(network.parameters()).device)
    save(measure(network, plan, example, batch, max(counts.step for counts in legal.values())), folder)


def _even(share: float, channels: int, step: int) -> int:
    """How many an evenly pruned network keeps: counts like those of the layers, or their times would not compare."""
    count = round(share * channels / step) * step if step > 1 else int(share * channels) | 1
    return min(max(count, step), channels)


def _axes(layer: Layer, step: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Counts of inputs and of outputs to measure at; a depthwise or grouped layer has one axis, its outputs."""
    if layer.groups > 1:
        return (1,), _points(layer.outputs, layer.writes, FINER, step)
    return _points(layer.inputs, layer.reads, POINTS, step), _points(layer.outputs, layer.writes, POINTS, step)


def _points(channels: int, wires: Mapping[str, Wires], shares: Sequence[float], step: int) -> tuple[int, ...]:
    least = channels - sum(len(own[0]) * (len(own) - 1) for own in wires.values())
    between = {round((least + share * (channels - least)) / step) * step for share in shares}
    between = between if step > 1 else {count | 1 for count in between}
    return tuple(sorted({least, channels, *(count for count in between if least < count < channels)}))


def _key(layer: Layer, module: Any, size: tuple[int, int]) -> Hashable:
    """Equal for what takes equally long."""
    how: tuple[Any, ...] = (layer.places,)
    if layer.kind == "conv":
        grouped = "depthwise" if layer.depthwise else (layer.groups, layer.groups > 1 and layer.inputs)
        how = (module.kernel_size, module.stride, module.padding, module.dilation, module.padding_mode, grouped)
    return (layer.kind, *how, layer.size, module.bias is None, size)


def _alone(layer: Layer, like: Any, size: tuple[int, int], device: torch.device) -> tuple[nn.Module, Tensor]:
    """A layer like `like` with `size` = (inputs, outputs), and an image for it."""
    inputs, outputs = size
    bias = like.bias is not None
    shape: tuple[int, ...]
    if layer.kind == "linear":
        shape = (1, inputs) if layer.places == 1 else (1, layer.places, inputs)
        made: nn.Module = skip_init(nn.Linear, inputs, outputs, bias, device=device)
    else:
        groups = outputs if layer.depthwise else layer.groups
        inputs = outputs if layer.depthwise else layer.inputs if layer.groups > 1 else inputs
        shape = (1, inputs, *layer.size)
        made = skip_init(
            nn.Conv2d, inputs, outputs, like.kernel_size, like.stride, like.padding, like.dilation, groups, bias,
            like.padding_mode, device=device,
        )  # fmt: skip
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made, torch.zeros(shape, device=device)


def _whole(network: nn.Module, example: Tensor) -> tuple[nn.Module, Tensor]:
    return network, example


def _time(probes: Mapping[Hashable, Probe], batch: int, clock: Callable[[], float]) -> dict[Hashable, float]:
    """Nanoseconds of each: the median over rounds of the medians of a few passes.

    clock: on a processor the seconds that this thread ran, which others on a busy machine do not lengthen.
    """
    found: dict[Hashable, list[float]] = {key: [] for key in probes}
    begin = time.perf_counter()
    for index in range(ROUNDS):
        if index and time.perf_counter() - begin > SECONDS:
            break
        for key, probe in probes.items():
            passes = latency(*probe(), batch, REPEATS, WARMUPS, clock)
            found[key].append(1e6 * passes["latency_ms"])
    return {key: statistics.median(values) for key, values in found.items()}


def _rest(plan: Plan, layers: Mapping[str, Grid], policies: list[dict[str, int]], whole: list[float]) -> Grid:
    """What the networks of `policies` take (`whole`, nanoseconds) beyond their layers, by `activations`; never less
    than nothing.
    """
    curve: dict[int, float] = {}
    for counts, taken in zip(policies, whole, strict=True):
        own = sum(layers[layer.name].at(*kept(layer, counts)) for layer in plan.layers)
        place = activations(plan, counts)
        curve[place] = max(curve.get(place, 0.0), taken - own)
    places = sorted(curve)
    return Grid((1,), tuple(places), rising(np.array([[curve[place] for place in places]])))
