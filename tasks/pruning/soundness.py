"""Whether groups can be pruned at all: half of their channels are removed, and must compute what masking them does.

Tried on a copy whose batch norms have statistics of noise and random scales, and whose weights are none of them zero,
so that a signal arrives at the output however deep the network is and however it was initialised; a fresh network's
signal may fade to nothing, and then anything would look right. What has no effect even so is not pruned.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from automl_ext.tasks.pruning.coupling import entries, full_group, trace
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prune import remove, silence
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["lively", "sound"]

NO_EFFECT = "its channels have no effect on the output, so that nothing can be said of them"


def sound(network: nn.Module, example: Tensor, channels: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Groups of which half can be removed with the same output as masking it, and the reasons against the others.

    example: one image (1, c, h, w); channels: by group. Raises PruningError where groups pass alone but not together.
    """
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn((8, *example.shape[1:]), generator=generator).to(example)
    trial = _Trial(lively(network, probe, generator), example, probe[:2])
    halves: dict[str, range] = {}
    reasons: dict[str, str] = {}
    for name, count in channels.items():
        for half in (range(count // 2), range(count // 2, count)):  # the second where the others are dead units
            halves[name], reasons[name] = half, trial.objection({name: half})
            if reasons[name] != NO_EFFECT:
                break
    good = [name for name, reason in reasons.items() if not reason]
    if len(good) > 1 and trial.objection({name: halves[name] for name in good}):
        raise PruningError(f"the groups {', '.join(good)} can be pruned one by one but not together")
    return good, {name: reason for name, reason in reasons.items() if reason}


def lively(network: nn.Module, probe: Tensor, generator: torch.Generator) -> nn.Module:
    """A copy in eval mode, its batch norms with statistics of `probe` (n, c, h, w) and random scales and shifts.

    Weights and scales that are next to nothing (heads, residual branches and layer scales begin so) are random, too.
    """
    twin = copy.deepcopy(network).eval()
    norms = [module for module in twin.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
        if norm.affine:
            with torch.no_grad():
                norm.weight.copy_(torch.rand(norm.weight.shape, generator=generator) + 0.5)
                norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator) * 0.2)
    own = torch.Generator().manual_seed(0)  # so that what is drawn above and by callers does not depend on zeros
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name.rpartition(".")[2] != "bias":
                _revive(parameter, own)
        twin(probe)
    return twin.eval()


def _revive(weight: Tensor, generator: torch.Generator) -> None:
    """In place: elements below a thousandth of what a fresh layer of this shape has become as large as those."""
    usual = max(weight[:1].numel() if weight.dim() else 1, 1) ** -0.5
    faint = weight.abs() < 1e-3 * usual
    drawn = torch.rand(int(faint.sum()), generator=generator) * 2 - 1  # sign and, from a half up, size
    weight[faint] = ((drawn + drawn.sign() / 2) * usual).to(weight)


class _Trial:
    """Removal against masking on one network, which is left as it was between trials. probe: (n, c, h, w)."""

    def __init__(self, network: nn.Module, example: Tensor, probe: Tensor) -> None:
        self.network, self.example, self.probe = network, example, probe
        self.graph = trace(network, example)
        self.modules = dict(network.named_modules())
        with torch.no_grad():
            self.dense = network(probe)

    def objection(self, keep: Mapping[str, Sequence[int]]) -> str:
        """Why `keep` cannot be had by removing channels, or "" where that gives what masking them gives."""
        try:
            with torch.no_grad():
                masked = self._masked(keep)
                smaller = remove(self.network, self.example, keep)(self.probe)
        except Exception:  # whatever a wrongly cut network raises, it says the same thing
            return "its channels are padded, sliced or reshaped in a way that torch-pruning does not follow"
        if smaller.shape != masked.shape:
            return "its channels are the network's output"
        error, effect = (smaller - masked).abs().max(), (self.dense - masked).abs().max()
        noise = 1e-5 * masked.abs().max()
        if effect <= noise:
            return NO_EFFECT
        if not error <= 1e-3 * effect + noise:
            return "without its channels the network computes something else than with them masked"
        return ""

    def _masked(self, keep: Mapping[str, Sequence[int]]) -> Tensor:
        groups = {name: full_group(self.graph, self.modules[name]) for name in keep}
        members = {name: list(entries(self.graph, group)) for name, group in groups.items()}
        touched = {module: None for some in members.values() for module, *_ in some}
        before = [(own, own.detach().clone()) for module in touched for own in module.parameters(recurse=False)]
        for name, channels in keep.items():
            silence(members[name], channels)
        try:
            output: Tensor = self.network(self.probe)
        finally:
            with torch.no_grad():
                for own, value in before:
                    own.copy_(value)
        return output
