"""Whether a written file is the searched network: equal outputs, multiply-accumulates and parameters.

Multiply-accumulates are half of what `torch.utils.flop_counter` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prepared import Prepared
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Pattern", "counted_macs", "pattern", "pattern_of"]


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
        """PruningError, one line, where `network`, read from `file`, differs: outputs by more than 1e-5."""
        self.check_outputs(file, network, relative=1e-5)
        for what, own, wanted in (
            ("multiply-accumulates", counted_macs(network, self.images[:1]), self.macs),
            ("parameters", _params(network), self.params),
        ):
            if own != wanted:
                raise PruningError(f"{file} has {own:,} {what}, the searched network {wanted:,}")

    def check_outputs(self, file: str, function: Callable[[Tensor], Tensor], relative: float) -> None:
        """PruningError where outputs differ by more than `relative` of each plus 1e-5 of the largest (at least 1)."""
        with torch.no_grad():
            outputs = function(self.images)
        absolute = 1e-5 * max(1.0, float(self.outputs.abs().max()))
        if not torch.allclose(outputs, self.outputs, rtol=relative, atol=absolute):
            most = float((outputs - self.outputs).abs().max())
            raise PruningError(f"{file} computes something else than the searched network: it is {most:.3g} off")


def pattern_of(network: nn.Module, shape: tuple[int, ...]) -> Pattern:
    """Of the searched `network` (eval mode, on the CPU). shape: of one image (c, h, w)."""
    images = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = network(images)
    return Pattern(images, outputs, counted_macs(network, images[:1]), _params(network))


def pattern(network: nn.Module, prepared: Prepared, counts: Mapping[str, int]) -> Pattern:
    """Of the searched `network` (eval mode, on the CPU), the dense one of `prepared` pruned to `counts`.

    Raises PruningError where its counted multiply-accumulates are not those that the search went by. (Networks that
    multiply matrices outside of layers do that beyond what the search counts; for them nothing is compared here.)
    """
    wanted = pattern_of(network, tuple(prepared.example.shape[1:]))
    searched = total_macs(prepared.plan, counts)
    whole = counted_macs(prepared.network, prepared.example) == total_macs(prepared.plan, {})
    if whole and wanted.macs != searched:
        raise PruningError(f"the network has {wanted.macs:,} multiply-accumulates, the search counted {searched:,}")
    return wanted


def counted_macs(network: nn.Module, images: Tensor) -> int:
    """Multiply-accumulates of `network` on `images` (n, c, h, w), by torch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return int(counter.get_total_flops()) // 2


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
