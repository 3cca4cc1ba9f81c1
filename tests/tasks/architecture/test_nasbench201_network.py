"""NAS-Bench-201 trained for real: live edges, keys against the published count of cells."""

from __future__ import annotations

import pytest
import torch
from automl_ext.tasks.architecture.nasbench201 import EDGES, cell, cell_space, name
from automl_ext.tasks.architecture.nasbench201_network import canonical, family, live

from automl_ext.training import lent_seed

CONV, SMALL, POOL, SKIP, NONE = "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect", "none"


def published(candidate):
    """The string by which the paper finds equal cells; what is nothing (#) is written down."""
    nodes = ["in"]
    for node in (1, 2, 3):
        terms = []
        for source, target in EDGES:
            kind = candidate[name((source, target))]
            if target == node and kind == SKIP:
                terms.append(nodes[source])
            elif target == node:
                terms.append("#" if "#" in (kind.replace(NONE, "#"), nodes[source]) else f"({nodes[source]})@{kind}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def sums(candidate):
    """The same without what is nothing: a node is a sorted tuple of terms, an identity adds those of its source."""
    nodes = [("in",)]
    for node in (1, 2, 3):
        terms = []
        for source, target in EDGES:
            kind = candidate[name((source, target))]
            if target != node or kind == NONE or not nodes[source]:
                continue
            terms += nodes[source] if kind == SKIP else [f"{kind}{nodes[source]}"]
        nodes.append(tuple(sorted(terms)))
    return nodes[-1]


@pytest.mark.slow
def test_keys_merge_cells_as_the_paper_does():
    """The paper counts 6,466 different cells. Beyond that, cells that differ by nothing are one here."""
    strings, classes = set(), {}
    for candidate in cell_space().candidates(2):
        strings.add(published(candidate))
        classes.setdefault(canonical(candidate)["cell"], []).append(candidate)
    assert len(strings) == 6466
    assert all(len({sums(each) for each in found}) == 1 for found in classes.values())
    assert len({sums(found[0]) for found in classes.values()}) < len(classes) < 6466


def test_an_operation_that_two_nodes_share_is_not_two_operations():
    shared = cell(CONV, NONE, SKIP, NONE, SMALL, SMALL)
    twice = cell(CONV, CONV, NONE, NONE, SMALL, SMALL)
    assert published(shared) == published(twice)
    assert canonical(shared) != canonical(twice)
    pooled = cell(POOL, NONE, SKIP, NONE, SMALL, SMALL), cell(POOL, POOL, NONE, NONE, SMALL, SMALL)
    assert canonical(pooled[0]) == canonical(pooled[1])  # pooling has no weights


def test_what_the_output_does_not_depend_on_is_not_built():
    dead = cell(CONV, NONE, NONE, SKIP, NONE, CONV)
    assert live(dead) == {(0, 3): SKIP}
    found = family((1, 8, 8), 10, width=4)
    with lent_seed(0):
        network, nothing = found.build(dead), found.build(cell(*[NONE] * 6))
    assert not list(network.body[0].parameters())
    images = torch.rand(2, 4, 8, 8)
    assert torch.equal(network.body[0](images), images) and not nothing.body[0](images).any()


def test_equal_keys_compute_the_same_with_the_same_weights():
    """Node 1 is the identity of the input: its edges are those of the input, in another order."""
    left, right = cell(SKIP, CONV, NONE, NONE, SMALL, CONV), cell(SKIP, NONE, CONV, SMALL, NONE, CONV)
    found = family((1, 8, 8), 10, width=4)
    assert found.space.key(left) == found.space.key(right)
    with lent_seed(0):
        one, two = found.build(left).eval(), found.build(right).eval()
    renamed = {"0_2": "1_2", "1_3": "0_3", "2_3": "2_3"}
    state = {}
    for path, value in one.state_dict().items():
        parts = path.split(".")
        state[".".join(renamed.get(part, part) for part in parts)] = value
    two.load_state_dict(state)
    images = torch.rand(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(one(images), two(images), atol=1e-6)
