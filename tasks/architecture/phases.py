"""The phases of NSGA-Net: bits say which node of a phase feeds which.

Z. Lu, I. Whalen, V. Boddeti, Y. Dhebar, K. Deb, E. Goodman, W. Banzhaf, "NSGA-Net: Neural Architecture Search using
Multi-Objective Genetic Algorithm", GECCO 2019, arXiv 1810.03522; the encoding is that of L. Xie, A. Yuille, "Genetic
CNN", ICCV 2017, arXiv 1703.01513. A phase of n nodes has n (n - 1) / 2 bits `phase_p_edge_i_j` (node i feeds node j)
and one bit `phase_p_residual` (the phase's input joins its output): 48 bits for 3 phases of 6 nodes.

Differs from the papers:

1. Three phases of four nodes by default, and fewer phases on images below 8 pixels.
2. Phases of equal graphs count as equal (nodes are all alike), so that nothing is trained twice under two names.
3. A mutation flips one bit, and always gives another network; how many a child takes is the searcher's option.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.phase_graph import Phase, bits, canonical_phase, decode
from automl_ext.tasks.architecture.phase_network import PhaseNetwork
from automl_ext.tasks.architecture.phase_variation import PhaseVariation
from pydantic import Field
from torch import nn

from automl_ext.decisions import Choice
from automl_ext.space import Candidate, Space

__all__ = ["family", "phase_space"]


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    phases: Annotated[int, Field(ge=1, le=8)] | None = None,
    nodes: Annotated[int, Field(ge=2, le=8)] = 4,
    width: Annotated[int, Field(ge=1, le=4096)] = 8,
    growth: Annotated[int, Field(ge=1, le=4)] = 2,
    join: Literal["concat", "add"] = "concat",
) -> Family:
    """Phases for images of `shape`.

    phases: None: three, or as many as the images can be halved for. nodes: of a phase, at most. width: channels of the
    first phase, `growth` times as many in each further one. join: how several inputs of a node become one; concat mixes
    them by a 1x1 convolution.
    """
    count = phases or max(1, min(3, min(shape[1:]).bit_length() - 1))
    widths = tuple(width * growth**phase for phase in range(count))
    space = phase_space(count, nodes, widths)

    def parts(candidate: Candidate) -> tuple[Phase, ...]:
        return decode(candidate, count, nodes)

    def build(candidate: Candidate) -> nn.Module:
        return PhaseNetwork(parts(candidate), widths, shape, classes, join)

    def draw(candidate: Candidate, file: Path) -> None:
        from automl_ext.tasks.architecture.phase_drawing import draw_phases

        draw_phases(parts(candidate), widths, file)

    return Family(space, references(count, nodes), build, draw, PhaseVariation(space, count, nodes))


def phase_space(phases: int, nodes: int, widths: tuple[int, ...]) -> Space:
    """Phase by phase its edges, by the node that they lead to, and its residual bit last."""

    def canonical(candidate: Candidate) -> Candidate:
        """What is built, phase by phase: a phase without edges is none."""
        graphs = [
            (width, canonical_phase(phase))
            for width, phase in zip(widths, decode(candidate, phases, nodes), strict=True)
        ]
        return {"phases": repr([each for each in graphs if each[1]])}

    decisions = []
    for phase in range(phases):
        *edges, residual = bits(phase, nodes)
        decisions += [Choice(name, (0, 1), kind="edge") for name in edges]
        decisions.append(Choice(residual, (0, 1), kind="residual"))
    return Space(*decisions, canonical=canonical)


def references(phases: int, nodes: int) -> Mapping[str, Candidate]:
    """What the paper starts from: a chain (VGG), a chain with the residual bit (ResNet), all bits (DenseNet)."""

    def made(residual: int, dense: bool) -> Candidate:
        candidate: Candidate = {}
        for phase in range(phases):
            *edges, last = bits(phase, nodes)
            pairs = [(source, target) for target in range(2, nodes + 1) for source in range(1, target)]
            for name, (source, target) in zip(edges, pairs, strict=True):
                candidate[name] = int(dense or source == target - 1)
            candidate[last] = residual
        return candidate

    return {"vgg": made(0, False), "resnet": made(1, False), "densenet": made(1, True)}
