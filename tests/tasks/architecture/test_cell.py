"""Cells of pairs: isomorphism against networkx, published cells against their papers, what is built of them."""

from __future__ import annotations

import itertools

import networkx
import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture.cell import PRESETS
from automl_ext.tasks.architecture.cell_form import (
    BEFORE,
    LAST,
    Block,
    CellPlan,
    Cells,
    canonical,
    live,
    plans,
    written,
)
from automl_ext.tasks.architecture.cell_network import OPERATIONS, Cell, CellNetwork
from automl_ext.tasks.architecture.families import family_of
from automl_ext.tasks.architecture.layers import Halve
from automl_ext.tasks.architecture.reference import params_of

from automl_ext.testing.spaces import check_space


def cells(**options):
    return family_of("cell", (1, 8, 8), 10, {"width": 2, **options})


def as_graph(plan):
    """Of one cell: nodes with what they are, an edge an operation."""
    graph = networkx.MultiDiGraph()
    for state in (LAST, BEFORE):
        graph.add_node(state, kind=str(state))
    for index, block in enumerate(plan.blocks):
        graph.add_node(index, kind=block.join)
        graph.add_edge(block.left, index, operation=block.left_op)
        graph.add_edge(block.right, index, operation=block.right_op)
    return graph


def isomorphic(left, right):
    return networkx.is_isomorphic(
        as_graph(left),
        as_graph(right),
        node_match=lambda one, two: one == two,
        edge_match=lambda one, two: (
            sorted(e["operation"] for e in one.values()) == sorted(e["operation"] for e in two.values())
        ),
    )


def test_keys_are_equal_exactly_where_cells_are_isomorphic():
    """120 cells of up to four blocks, few operations, all pairs: there are many isomorphic ones."""
    rng, found = np.random.default_rng(0), []
    for number in range(120):
        space = cells(blocks=2 + number % 3, operations=["identity", "conv_3x3"], reduction="shared").space
        candidate = space.sample(rng)
        found.append((space.key(candidate), plans(candidate).normal))
    same = 0
    for (key, plan), (other, second) in itertools.combinations(found, 2):
        if len(plan.blocks) == len(second.blocks):
            assert (key == other) == isomorphic(plan, second)
            same += key == other
    assert same > 8


def test_blocks_and_halves_may_be_swapped():
    blocks = [Block(LAST, BEFORE, "identity", "conv_3x3"), Block(BEFORE, BEFORE, "conv_1x1", "identity")]
    last = Block(0, 1, "conv_3x3", "identity")
    swapped = [blocks[1], Block(BEFORE, LAST, "conv_3x3", "identity"), Block(0, 1, "identity", "conv_3x3")]
    one, two = (canonical({"output": "unused", **written("normal", each)}) for each in ([*blocks, last], swapped))
    assert one == two
    other = [*blocks, Block(0, 1, "identity", "conv_3x3")]
    assert canonical({"output": "unused", **written("normal", other)}) != one


def test_a_reduction_cell_that_nothing_depends_on_is_left_out_of_the_key():
    found = cells(blocks=1, operations=["identity", "conv_3x3"], repeats=1)
    skipping = {"output": "unused", **written("normal", [Block(BEFORE, BEFORE, "identity", "identity")])}
    using = {"output": "unused", **written("normal", [Block(LAST, BEFORE, "identity", "identity")])}
    one = written("reduction", [Block(LAST, LAST, "conv_3x3", "conv_3x3")])
    two = written("reduction", [Block(LAST, LAST, "identity", "identity")])
    assert found.space.key(skipping | one) == found.space.key(skipping | two)
    assert found.space.key(using | one) != found.space.key(using | two)
    more = cells(blocks=1, operations=["identity", "conv_3x3"], repeats=2)
    assert more.space.key(skipping | one) != more.space.key(skipping | two)  # the one but last is a reduction cell's


@pytest.mark.slow
def test_isomorphic_cells_are_networks_of_one_size():
    rng, sizes = np.random.default_rng(1), {}
    family = cells(blocks=3, operations=["identity", "conv_3x3"])
    for _ in range(40):
        candidate = family.space.sample(rng)
        with torch.device("meta"):
            sizes.setdefault(family.space.key(candidate), set()).add(params_of(family.build(candidate)))
    assert all(len(size) == 1 for size in sizes.values()) and len(sizes) > 25


def test_the_published_cells_join_what_their_papers_say():
    found = {name: plans(candidate) for name, candidate in cells().references.items()}
    assert found["nasnet-a"].normal.outputs == (0, 1, 2, 3, 4) and found["nasnet-a"].halving.outputs == (2, 3, 4)
    assert found["amoebanet-a"].normal.outputs == (2, 3, 4) and found["amoebanet-a"].halving.outputs == (1, 2, 4)
    assert found["darts"].normal.outputs == found["darts"].halving.outputs == (0, 1, 2, 3)
    assert found["pnasnet-5"].reduction is None


@pytest.mark.parametrize(
    ("name", "width", "millions"),
    [("darts", 36, 3.349342), ("amoebanet-a", 36, 3.2), ("amoebanet-a", 32, 2.6), ("nasnet-a", 32, 3.3)],
)
def test_published_networks_have_their_number_of_parameters(name, width, millions):
    """DARTS exactly as its code counts; the others to two digits, NASNet-A without the used state that it joins."""
    family = family_of("cell", (3, 32, 32), 10, {"width": width, "repeats": 6})
    with torch.device("meta"):
        params = params_of(family.build(family.references[name])) / 1e6
    assert params == pytest.approx(millions, rel={"darts": 0, "nasnet-a": 0.08}.get(name, 0.04))


def test_the_space_is_the_papers():
    space = cells(blocks=5, join="both").space
    assert len(space.slots) - 1 == 50 and len(PRESETS["nasnet"]) == 13
    for kind in ("normal", "reduction"):
        for index in range(5):
            slot = next(slot for slot in space.slots if slot.path == f"{kind}_{index + 1}_left")
            assert len(slot.options) == index + 2
            assert set(slot.decisions[0].refers) == {f"block-{earlier + 1}" for earlier in range(index)}
    check_space(space, 0)


def test_growing_cells_of_one_kind_are_pnas():
    """136 different cells of one block with the paper's eight operations."""
    space, firsts = cells(blocks=2, operations="pnas", reduction="shared", grow=True).space, set()
    for left, right in itertools.product(("cell-1", "cell-2"), repeat=2):
        for left_op, right_op in itertools.product(PRESETS["pnas"], repeat=2):
            genes = {"blocks": 1, "blocks/normal_1_left": left, "blocks/normal_1_right": right}
            genes |= {"blocks/normal_1_left_op": left_op, "blocks/normal_1_right_op": right_op}
            firsts.add(space.key(space.from_genes(genes)))
    assert len(firsts) == 136
    check_space(space, 0)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_operations_divide_by_the_stride_and_round_up(operation, stride):
    for side in (1, 2, 7, 8):
        made = OPERATIONS[operation](4, stride).eval()(torch.zeros(1, 4, side, side))
        assert made.shape == (1, 4, -(-side // stride), -(-side // stride))


def test_halving_sees_every_pixel():
    image = torch.zeros(1, 1, 5, 5, requires_grad=True)
    Halve(1, 4).eval()(image + 1).sum().backward()
    seen = image.grad[0, 0] != 0
    assert seen[::2, ::2].all() and seen[1::2, 1::2].all()


def test_a_cell_gives_width_times_unused_blocks():
    plan = CellPlan((Block(LAST, BEFORE, "conv_3x3", "identity"), Block(0, LAST, "sep_conv_3x3", "identity")))
    made = Cell(plan, 5, 7, 4, 2, True).eval()(torch.zeros(1, 5, 8, 8), torch.zeros(1, 7, 16, 16))
    assert made.shape == (1, 4, 4, 4)


def test_dead_cells_are_not_built():
    """Where a cell takes only the cell before the last, every other cell is dead."""
    skipping = CellPlan((Block(BEFORE, BEFORE, "conv_3x3", "identity"),))
    assert live([skipping] * 5) == [True, False, True, False, True]
    taking = CellPlan((Block(LAST, BEFORE, "conv_3x3", "identity"),))
    assert live([taking, skipping, skipping, taking]) == [True, True, True, True]
    network = CellNetwork(Cells(skipping, skipping), (1, 8, 8), 10, 1, 4, 3)
    assert [any(True for _ in cell.parameters()) for cell in network.body] == network.live
