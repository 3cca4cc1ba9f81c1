"""Features of cells: equal exactly where the live parts are equal, counted against a plain walk over the graph."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from automl_ext.tasks.architecture.paths import NONE, OPERATIONS, edges, live_paths, paths, size

ALL = (NONE, *OPERATIONS)


def cells(count, seed=0):
    rng = np.random.default_rng(seed)
    return [[ALL[int(index)] for index in rng.integers(len(ALL), size=6)] for _ in range(count)]


def walked(cell, node=0):
    """Every live way from `node` to node 3, as lists of (edge, operation), by recursion."""
    if node == 3:
        return [[]]
    found = []
    for index, (start, end) in enumerate(edges(4)):
        if start == node and cell[index] != NONE:
            found += [[(index, cell[index]), *rest] for rest in walked(cell, end)]
    return found


def test_edges_lie_in_the_order_of_an_arch_string():
    assert edges(4) == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    assert paths(4) == ((3,), (0, 4), (1, 5), (0, 2, 5))
    assert size() == 84 + 4 + 24


def test_features_count_what_a_walk_finds():
    for cell in cells(200):
        features, ways = live_paths(cell), walked(cell)
        assert features.shape == (size(),) and features.dtype == np.float64
        assert features[:84].sum() == len(ways)
        for length, offset in ((1, 0), (2, 4), (3, 20)):
            for place, sequence in enumerate(itertools.product(OPERATIONS, repeat=length)):
                expected = sum(tuple(operation for _, operation in way) == sequence for way in ways)
                assert features[offset + place] == expected
        steps = [step for way in ways for step in way]
        for index, operation in enumerate(OPERATIONS):
            assert features[84 + index] == sum(step[1] == operation for step in steps)
        live = {edge * 4 + OPERATIONS.index(operation) for edge, operation in steps}
        assert set(np.flatnonzero(features[88:])) == live and set(features[88:]) <= {0.0, 1.0}


def test_what_lies_on_no_live_path_does_not_matter():
    """Edge 0→2 is none and so is 1→2: whatever is on 2→3 computes nothing."""
    cell = ["nor_conv_3x3", NONE, NONE, "skip_connect", "nor_conv_1x1", NONE]
    for operation in OPERATIONS:
        assert (live_paths([*cell[:5], operation]) == live_paths(cell)).all()
    assert (live_paths([*cell[:2], "skip_connect", *cell[3:5], "skip_connect"]) != live_paths(cell)).any()
    assert not live_paths([NONE] * 6).any()


def test_cells_with_all_edges_live_differ():
    found = {live_paths(cell).tobytes() for cell in itertools.product(OPERATIONS, repeat=6)}
    assert len(found) == 4**6


def test_other_operations_and_more_nodes():
    cell = ["a", NONE, "b", NONE, NONE, NONE, NONE, NONE, NONE, "a"]
    features = live_paths(cell, ("a", "b"), 5)
    assert len(features) == size(5, 2) == 2 + 4 + 8 + 16 + 2 + 20
    assert not features.any()
    cell[5] = "b"
    features = live_paths(cell, ("a", "b"), 5)
    assert features[14 + 0b0110 : 14 + 0b0110 + 1] == 1 and features[:30].sum() == 1
    assert list(features[30:32]) == [2, 2]


def test_wrong_cells_are_refused():
    with pytest.raises(ValueError, match="a cell of 4 nodes has 6 edges, not 5"):
        live_paths([NONE] * 5)
    with pytest.raises(ValueError, match="'conv' is no operation; known: none, skip_connect"):
        live_paths(["conv", *[NONE] * 5])
