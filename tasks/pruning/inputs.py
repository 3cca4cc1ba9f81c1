"""Networks that take something else than a batch of images: several tensors, or named ones, made of the images.

The function that makes them becomes the first step of the network's forward pass, so that whatever prunes, measures or
exports the network gives it images. Its layers keep the names that they have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from automl_ext.tasks.pruning.network import PruningError, first_line, named
from torch import Tensor, nn

__all__ = ["check_fit", "check_inputs", "fed"]


def fed(network: nn.Module, inputs: str | None) -> nn.Module:
    """`network` itself, which from now on takes images (n, c, h, w) and gets of them what the function `inputs` makes.

    inputs: package.module:function; None: nothing changes. The function gives a tensor, a tuple (positional arguments)
    or a dict (keyword arguments), and has to trace as the network has to.
    """
    if inputs is None:
        return network
    kind, make = type(network), named("inputs", inputs)

    def forward(self: nn.Module, images: Tensor) -> Any:
        given = make(images)
        if isinstance(given, dict):
            return kind.forward(self, **given)
        return kind.forward(self, *given) if isinstance(given, tuple) else kind.forward(self, given)

    facts = {"forward": forward, "__module__": kind.__module__, "__doc__": kind.__doc__}
    network.__class__ = type(kind.__name__, (kind,), facts)
    return network


def check_inputs(inputs: str | None, example: Tensor) -> None:
    """PruningError, one line, for a function that is missing, raises, or gives something else. example: one image."""
    if inputs is None:
        return
    make: Callable[[Tensor], Any] = named("inputs", inputs)
    if not callable(make):
        raise PruningError(f"inputs {inputs!r} is a {type(make).__name__}, not a function")
    try:
        given = make(example)
    except Exception as error:
        raise PruningError(f"inputs {inputs!r} fails on images {tuple(example.shape)}: {first_line(error)}") from error
    if not isinstance(given, Tensor | tuple | dict):
        raise PruningError(f"inputs {inputs!r} gave a {type(given).__name__}, not a tensor, a tuple or a dict")
    if isinstance(given, dict) and not all(isinstance(key, str) for key in given):
        raise PruningError(f"inputs {inputs!r} gave a dict whose keys are not all names of arguments: {list(given)}")


def check_fit(network: nn.Module, example: Tensor, name: str, inputs: str | None, dataset: str, classes: int) -> None:
    """PruningError, one line, where `network` does not give (n, classes) for n images like `example` (1, c, h, w).

    name, inputs, dataset: as the options have them, for the message.
    """
    by = f" that inputs {inputs!r} prepares" if inputs else ""
    for count, said in ((1, "one image"), (2, "two images")):
        try:
            with torch.no_grad():
                output = network(example.expand(count, -1, -1, -1))
        except Exception as error:
            said = "an image" if count == 1 else said
            line = first_line(error)
            raise PruningError(f"network {name!r} does not run on {said} of {dataset!r}{by}: {line}") from error
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if shape != (count, classes):
            raise PruningError(f"network {name!r} gives {shape} for {said}, {dataset!r} needs ({count}, {classes})")
