"""The space of NAS-Bench-201: its size, its strings, its codes."""

from __future__ import annotations

import itertools

from automl_ext.tasks.architecture.nasbench201 import EDGES, OPERATIONS, REFERENCES, arch_string, cell, cell_space, code


def test_every_cell_once():
    codes = [code(candidate) for candidate in cell_space().candidates(bins=2)]
    assert sorted(codes) == ["".join(digits) for digits in itertools.product("01234", repeat=6)]


def test_the_published_string_lists_the_edges_by_target():
    candidate = cell("avg_pool_3x3", "none", "nor_conv_1x1", "skip_connect", "none", "nor_conv_3x3")
    assert arch_string(candidate) == ("|avg_pool_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
    assert code(candidate) == "402103"
    assert [(source, target) for target in (1, 2, 3) for source in range(target)] == list(EDGES)


def test_references_are_cells():
    space = cell_space()
    assert all(candidate in space for candidate in REFERENCES.values())
    assert code(REFERENCES["all-conv-3x3"]) == str(OPERATIONS.index("nor_conv_3x3")) * 6
