"""Whether a written file is the searched network: equal outputs, multiply-accumulates and parameters.

Multiply-accumulates are half of what `torch.utils.flop_counter` counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["ExportError", "Pattern", "counted_macs", "pattern_of"]


class ExportError(ValueError):
    """A network that cannot be written as a file, or a file that is another network; the message is one line."""


@dataclass(frozen=True)
class Pattern:
    """What every written file has to match. images: (3, c, h, w) of noise; outputs: the searched network's for them.

    macs: of one image, counted on the searched network; params: its parameters.
    """

    images: Tensor
    outputs: Tensor
    macs: int
    params: int

    def check(self, file: str, network: nn.Module) -> None:
        """ExportError, one line, where `network`, read from `file`, differs: outputs by more than 1e-5."""
        self.check_outputs(file, network, relative=1e-5)
        for what, own, wanted in (
            ("multiply-accumulates", counted_macs(network, self.images[:1]), self.macs),
            ("parameters", _params(network), self.params),
        ):
            if own != wanted:
                raise ExportError(f"{file} has {own:,} {what}, the searched network {wanted:,}")

    def check_outputs(self, file: str, function: Callable[[Tensor], Tensor], relative: float) -> None:
        """ExportError where outputs differ by more than `relative` of each plus 1e-5 of the largest (at least 1)."""
        with torch.no_grad():
            outputs = function(self.images)
        absolute = 1e-5 * max(1.0, float(self.outputs.abs().max()))
        if not torch.allclose(outputs, self.outputs, rtol=relative, atol=absolute):
            most = float((outputs - self.outputs).abs().max())
            raise ExportError(f"{file} computes something else than the searched network: it is {most:.3g} off")


def pattern_of(network: nn.Module, shape: tuple[int, ...]) -> Pattern:
    """Of the searched `network` (eval mode, on the CPU). shape: of one image (c, h, w)."""
    images = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = network(images)
    return Pattern(images, outputs, counted_macs(network, images[:1]), _params(network))


def counted_macs(network: nn.Module, images: Tensor) -> int:
    """Multiply-accumulates of `network` on `images` (n, c, h, w), by torch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return int(counter.get_total_flops()) // 2


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
