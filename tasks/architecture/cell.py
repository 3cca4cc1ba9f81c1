"""The cell space of NASNet, and what became of it: a normal and a reduction cell of a few blocks, stacked.

Zoph, Vasudevan, Shlens, Le: "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018, arXiv
1707.07012. A block chooses two states among the cell's two inputs and the earlier blocks, an operation for each, and
(join: both) whether they are added or concatenated. Real et al. 2019, arXiv 1802.01548 (AmoebaNet) and Luo et al. 2018,
arXiv 1808.07233 (NAO) add only and take other operations; Liu et al. 2018, arXiv 1712.00559 (PNAS) has one cell for
both places (`reduction: shared`), which grows block by block (`grow: true`).

Differs from the papers: see cell_network.py; and
1. NAO's operations are the five of its variant with shared weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from automl_ext.tasks.architecture.cell_form import canonical, input_name, kinds_of, plans
from automl_ext.tasks.architecture.cell_network import OPERATIONS, CellNetwork
from automl_ext.tasks.architecture.cell_reference import CELLS, published
from automl_ext.tasks.architecture.family import Family
from pydantic import Field
from torch import nn

from automl_ext.decisions import Choice
from automl_ext.space import Candidate, Space

__all__ = ["family"]

OperationName = Literal[
    "identity", "conv_1x3_3x1", "conv_1x7_7x1", "dil_conv_3x3", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5",
    "max_pool_7x7", "conv_1x1", "conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_sep_conv_3x3",
    "dil_sep_conv_5x5", "min_pool_3x3",
]  # fmt: skip
Preset = Literal["nasnet", "amoebanet", "pnas", "nao", "darts"]
PRESETS: Mapping[str, tuple[str, ...]] = {
    "nasnet": tuple(OPERATIONS)[:13],
    "amoebanet": (
        "identity", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "avg_pool_3x3", "max_pool_3x3",
        "dil_sep_conv_3x3", "conv_1x7_7x1",
    ),
    "pnas": (
        "identity", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "conv_1x7_7x1", "avg_pool_3x3", "max_pool_3x3",
        "dil_conv_3x3",
    ),
    "nao": ("identity", "sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3"),
    "darts": (
        "identity", "sep_conv_3x3", "sep_conv_5x5", "dil_sep_conv_3x3", "dil_sep_conv_5x5", "avg_pool_3x3",
        "max_pool_3x3",
    ),
}  # fmt: skip
"""The operations of each paper."""
Small = Annotated[int, Field(ge=1, le=64)]


def family(
    shape: tuple[int, int, int],
    classes: int,
    *,
    blocks: Annotated[int, Field(ge=1, le=10)] = 5,
    operations: Preset | Sequence[OperationName] = "nasnet",
    join: Literal["add", "both"] = "add",
    output: Literal["unused", "all"] = "unused",
    reduction: Literal["own", "shared"] = "own",
    grow: bool = False,
    repeats: Small = 1,
    width: Annotated[int, Field(ge=1, le=4096)] = 8,
    stem: Small = 3,
) -> Family:
    """Cells for images of `shape`.

    blocks: of a cell, with `grow` at most. operations: a paper's, or a list. join: of the two halves of a block.
    output: the blocks that a cell's output joins. reduction: a cell of its own, or the normal one with stride 2.
    grow: the number of blocks is a decision, too. repeats: normal cells in a row. width: channels of a block in the
    first stack, doubled by each reduction cell. stem: channels of the stem, in widths.
    """
    names = PRESETS[operations] if isinstance(operations, str) else tuple(dict.fromkeys(operations))
    if not names:
        raise ValueError("env.space_options.operations: at least one")
    listed = partial(canonical, kinds=tuple(kinds_of(min(shape[1:]), repeats)))
    space = cell_space(blocks, names, join, output, reduction, grow, listed)

    def build(candidate: Candidate) -> nn.Module:
        return CellNetwork(plans(candidate), shape, classes, repeats, width, stem)

    def draw(candidate: Candidate, file: Path) -> None:
        from automl_ext.tasks.architecture.cell_drawing import draw_cells

        draw_cells(plans(candidate), file)

    return Family(space, published(tuple(CELLS)), build, draw)


def cell_space(
    blocks: int,
    operations: Sequence[str],
    join: str,
    output: str,
    reduction: str,
    grow: bool,
    canonical: Callable[[Candidate], Candidate],
) -> Space:
    """The decisions: what the output joins (settled), then the normal cell and the reduction cell, block by block."""
    kinds = ("normal", "reduction") if reduction == "own" else ("normal",)
    joined = Choice("output", (output,))
    made = {(kind, index): _block(kind, index, operations, join) for kind in kinds for index in range(blocks)}
    if not grow:
        return Space(joined, *(decision for block in made.values() for decision in block), canonical=canonical)
    branches = {}
    for count in range(1, blocks + 1):
        inside = [made[kind, index] for index in range(count) for kind in kinds]
        branches[count] = Space(*(decision for block in inside for decision in block))
    return Space(joined, Choice("blocks", tuple(branches), branches=branches), canonical=canonical)


def _block(kind: str, index: int, operations: Sequence[str], join: str) -> list[Choice]:
    start = f"{kind}_{index + 1}_"
    states = [input_name(state) for state in (-1, -2, *range(index))]
    refers = {input_name(state): f"{kind}_{state + 1}_right_op" for state in range(index)}
    made = [Choice(start + half, states, kind="state", refers=refers) for half in ("left", "right")]
    made += [Choice(start + half, operations, kind="operation") for half in ("left_op", "right_op")]
    return [*made, Choice(start + "join", ("add", "concat"), kind="join")] if join == "both" else made
