"""Published cells as candidates: NASNet-A, AmoebaNet-A, PNASNet-5 and DARTS.

States: -1 is the last cell's output, -2 the one before; blocks count from 0. The output is the concat of the unused
blocks as the papers say; DARTS joins all blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

from automl_ext.tasks.architecture.cell_form import BEFORE, LAST, Block, written

from automl_ext.space import Candidate

__all__ = ["CELLS", "published"]

ID, AVG, MAX = "identity", "avg_pool_3x3", "max_pool_3x3"
SEP3, SEP5, SEP7, DIL3, CONV7 = "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_sep_conv_3x3", "conv_1x7_7x1"

CELLS: Mapping[str, tuple[tuple[Block, ...], tuple[Block, ...] | None, str]] = {
    "nasnet-a": (
        (
            Block(LAST, BEFORE, SEP5, SEP3),
            Block(BEFORE, BEFORE, SEP5, SEP3),
            Block(LAST, BEFORE, AVG, ID),
            Block(BEFORE, BEFORE, AVG, AVG),
            Block(LAST, LAST, SEP3, ID),
        ),
        (
            Block(LAST, BEFORE, SEP5, SEP7),
            Block(LAST, BEFORE, MAX, SEP7),
            Block(LAST, BEFORE, AVG, SEP5),
            Block(1, 0, ID, AVG),
            Block(0, LAST, SEP3, MAX),
        ),
        "unused",
    ),
    "amoebanet-a": (
        (
            Block(BEFORE, LAST, AVG, MAX),
            Block(BEFORE, 0, SEP3, SEP5),
            Block(BEFORE, 1, SEP3, AVG),
            Block(LAST, LAST, SEP3, ID),
            Block(BEFORE, LAST, ID, AVG),
        ),
        (
            Block(BEFORE, LAST, AVG, SEP3),
            Block(BEFORE, 0, MAX, SEP7),
            Block(BEFORE, LAST, SEP7, AVG),
            Block(BEFORE, LAST, MAX, MAX),
            Block(BEFORE, 3, CONV7, SEP3),
        ),
        "unused",
    ),
    "darts": (
        (
            Block(BEFORE, LAST, SEP3, SEP3),
            Block(BEFORE, LAST, SEP3, SEP3),
            Block(LAST, BEFORE, SEP3, ID),
            Block(BEFORE, 0, ID, DIL3),
        ),
        (
            Block(BEFORE, LAST, MAX, MAX),
            Block(0, LAST, ID, MAX),
            Block(BEFORE, 0, MAX, ID),
            Block(0, LAST, ID, MAX),
        ),
        "all",
    ),
    "pnasnet-5": (
        (
            Block(BEFORE, BEFORE, SEP5, MAX),
            Block(LAST, LAST, SEP7, MAX),
            Block(LAST, LAST, SEP5, SEP3),
            Block(2, LAST, SEP3, MAX),
            Block(BEFORE, LAST, SEP3, ID),
        ),
        None,
        "all",
    ),
}
"""Name -> blocks of the normal cell, of the reduction cell (None: the normal one), and what the output joins."""


def published(names: tuple[str, ...]) -> dict[str, Candidate]:
    """These cells as candidates."""
    made: dict[str, Candidate] = {}
    for name in names:
        normal, reduction, output = CELLS[name]
        made[name] = {"output": output, **written("normal", normal), **written("reduction", reduction or ())}
    return made
