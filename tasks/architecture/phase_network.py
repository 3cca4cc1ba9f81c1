"""Networks of phases: pooling between them, a linear classifier behind them.

Z. Lu et al., "NSGA-Net", GECCO 2019, arXiv 1810.03522. A node is a 3x3 convolution, batch norm and ReLU at its phase's
width. A phase is entered by a 3x3 convolution, if it is the first, and by a 1x1 convolution where the width changes.

Differs from the paper:

1. Images beyond 40 pixels are halved by further convolutions in front; images of one pixel are not pooled.
2. A phase that is none is left out together with its pooling, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import torch
from automl_ext.tasks.architecture.layers import DropPath, conv_norm
from automl_ext.tasks.architecture.phase_graph import INPUT, Phase
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PhaseNetwork"]

Join = Literal["concat", "add"]


@final
class Gather(nn.Module):
    """Several tensors of equal shape to one: their sum, or their concat mixed by a 1x1 convolution. One passes."""

    def __init__(self, count: int, channels: int, join: Join) -> None:
        super().__init__()
        self.mix = nn.Conv2d(count * channels, channels, 1, bias=False) if count > 1 and join == "concat" else None

    def forward(self, tensors: list[Tensor]) -> Tensor:
        if self.mix is not None:
            mixed: Tensor = self.mix(torch.cat(tensors, 1))
            return mixed
        total = tensors[0]
        for tensor in tensors[1:]:
            total = total + tensor
        return total


@final
class PhaseModule(nn.Module):
    """(n, inputs, h, w) -> (n, channels, h, w). kernel: of the convolution in front, 0 where there is none."""

    def __init__(self, phase: Phase, inputs: int, channels: int, kernel: int, join: Join) -> None:
        super().__init__()
        self.phase = phase
        self.entry = conv_norm(inputs, channels, kernel) if kernel else None
        self.gathers = nn.ModuleDict(
            {str(node): Gather(len(sources), channels, join) for node, sources in phase.sources.items()}
        )
        self.convs = nn.ModuleDict({str(node): conv_norm(channels, channels, 3) for node in phase.sources})
        self.drops = nn.ModuleDict({str(node): DropPath() for node in phase.sources if INPUT in phase.outputs})
        self.gather = Gather(len(phase.outputs), channels, join)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.entry is not None:
            x = functional.relu(self.entry(x))
        made = {INPUT: x}
        for node, sources in self.phase.sources.items():
            name = str(node)
            made[node] = functional.relu(self.convs[name](self.gathers[name]([made[source] for source in sources])))
        outputs = [
            self.drops[str(node)](made[node]) if node and self.drops else made[node] for node in self.phase.outputs
        ]
        return functional.relu(self.norm(self.gather(outputs)))


@final
class PhaseNetwork(nn.Module):
    """(n, c, h, w) -> (n, classes). widths: channels of each phase."""

    def __init__(
        self, phases: Sequence[Phase], widths: Sequence[int], shape: tuple[int, int, int], classes: int, join: Join
    ) -> None:
        super().__init__()
        side, channels = min(shape[1:]), shape[0]
        front: list[nn.Module] = []
        while side > 40:
            front += [*conv_norm(channels, widths[0], 3, 2), nn.ReLU()]
            side, channels = -(-side // 2), widths[0]
        self.front = nn.Sequential(*front)
        made: list[nn.Module] = []
        for phase, width in zip(phases, widths, strict=True):
            if not phase.live:
                continue
            if made and side > 1:
                made.append(nn.MaxPool2d(2, 2))
                side //= 2
            kernel = 1 if made else 3
            made.append(PhaseModule(phase, channels, width, kernel if channels != width or not made else 0, join))
            channels = width
        self.body = nn.ModuleList(made)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        for module in self.body:
            x = module(x)
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits
