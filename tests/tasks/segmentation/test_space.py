"""The space is the paper's: its size, its inputs, what counts as equal, and how a cell is edited."""

from __future__ import annotations

import itertools
from math import factorial

import numpy as np
import pytest
from automl_ext.tasks.segmentation.operations import (
    PAPER_RATES,
    Op,
    SegmentationError,
    grids_for,
    operations,
    rates_for,
    scaled,
)
from automl_ext.tasks.segmentation.reference import published, references
from automl_ext.tasks.segmentation.space import Branch, CellSpace, candidate_of, canonical, cell_of, depths_of
from automl_ext.tasks.segmentation.variation import CellVariation
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

PAPER = CellSpace(5, PAPER_RATES, (1, 2, 4, 8))
SPACE = PAPER.space()
seeds = st.integers(0, 2**32 - 1)


def sampled(seed):
    return SPACE.sample(np.random.default_rng(seed))


def renumbered(cell, rng):
    """The same cell, its branches in another legal order."""
    order, left = [], set(range(1, len(cell) + 1))
    while left:
        ready = sorted(number for number in left if cell[number - 1].source not in left)
        order.append(ready[int(rng.integers(len(ready)))])
        left.remove(order[-1])
    place = {0: 0} | {number: index for index, number in enumerate(order, 1)}
    return tuple(Branch(place[cell[number - 1].source], cell[number - 1].op) for number in order)


def test_it_has_the_papers_size():
    assert len(PAPER.ops) == 81 and PAPER.size == 120 * 81**5
    assert [len(slot.options) for slot in SPACE.slots] == [1, 81, 2, 81, 3, 81, 4, 81, 5, 81]
    assert len(list(CellSpace(2, (1, 2), (1,)).space().candidates(9))) == CellSpace(2, (1, 2), (1,)).size == 2 * 6**2


@given(seeds)
def test_a_cell_is_its_candidate_and_inputs_come_before(seed):
    candidate = sampled(seed)
    cell = cell_of(candidate)
    assert candidate_of(cell) == candidate in SPACE
    assert all(0 <= branch.source < number for number, branch in enumerate(cell, 1))


def test_every_input_and_operation_is_drawn_evenly():
    rng = np.random.default_rng(0)
    cells = [cell_of(SPACE.sample(rng)) for _ in range(3000)]
    third = np.zeros((3, 81))
    for cell in cells:
        third[cell[2].source, PAPER.ops.index(cell[2].op)] += 1
    assert chisquare(third.sum(0)).pvalue > 1e-4 and chisquare(third.sum(1)).pvalue > 1e-4


@given(seeds)
def test_renumbered_cells_are_one_candidate(seed):
    candidate = sampled(seed)
    other = candidate_of(renumbered(cell_of(candidate), np.random.default_rng(seed)))
    assert other in SPACE and SPACE.key(other) == SPACE.key(candidate)
    assert canonical(canonical(cell_of(candidate))) == canonical(cell_of(candidate))


def test_only_renumbered_cells_are():
    """Beside brute force: two cells are equal if some renumbering of the branches makes them so."""
    cells = CellSpace(3, (1,), (1,))
    everything = [cell_of(candidate) for candidate in cells.space().candidates(9)]

    def forms(cell):
        for order in itertools.permutations(range(1, 4)):
            place = {0: 0} | {number: index for index, number in enumerate(order, 1)}
            yield frozenset((place[n], place[b.source], b.op) for n, b in enumerate(cell, 1))

    distinct = {
        min(map(sorted, forms(cell)))[0:] and tuple(min(sorted(form) for form in forms(cell))) for cell in everything
    }
    assert len({canonical(cell) for cell in everything}) == len(distinct) < len(everything) == factorial(3) * 3**3


@given(seeds)
def test_an_edit_changes_one_field_of_one_branch(seed):
    rng = np.random.default_rng(seed)
    genes = sampled(seed)
    made = CellVariation(PAPER, SPACE).mutate(genes, rng)
    assert made in SPACE
    changed = [path for path in genes if made[path] != genes[path]]
    assert len(changed) == 1
    if changed[0].endswith("op"):
        old, new = Op.of(genes[changed[0]]), Op.of(made[changed[0]])
        near = abs(_place(old) - _place(new)).sum() == 1 if old.kind == new.kind else True
        assert near or (old.rows, old.columns) == (new.columns, new.rows)


def _place(op):
    values = PAPER_RATES if op.kind == "3x3" else (1, 2, 4, 8)
    return np.array([values.index(op.rows), values.index(op.columns)])


def test_all_edits_happen_and_crossover_takes_whole_branches():
    variation, rng = CellVariation(PAPER, SPACE), np.random.default_rng(0)
    left, right = sampled(1), sampled(2)
    child = variation.crossover(left, right, rng)
    pairs = [cell_of(each) for each in (child, left, right)]
    assert all(own in others for own, *others in zip(*pairs, strict=True)) and child not in (left, right)
    kinds = {path for _ in range(200) for path, value in variation.mutate(left, rng).items() if value != left[path]}
    assert kinds == {path for path in left if path != "1.input"}


def test_rates_and_grids_follow_the_map():
    assert rates_for(49) == PAPER_RATES and rates_for(16) == tuple(range(1, 9)) and rates_for(8) == (1, 2, 3, 4)
    assert all(max(rates_for(side)) < side for side in range(2, 60)) and rates_for(2) == (1,)
    assert grids_for(5) == (1, 2, 4) and grids_for(16) == (1, 2, 4, 8)
    assert [scaled(rate, PAPER_RATES) for rate in PAPER_RATES] == [*PAPER_RATES]
    assert [scaled(rate, (1, 2, 3, 4)) for rate in (1, 6, 18, 21)] == [1, 2, 4, 4]


def test_the_references_are_what_was_published():
    found = references(PAPER, 49)
    assert [branch.op.text for branch in found["aspp"]] == ["1x1", "3x3 6x6", "3x3 12x12", "3x3 18x18", "pool 1x1"]
    assert [branch.op.text for branch in found["dpc"]] == ["3x3 1x6", "3x3 18x15", "3x3 6x3", "3x3 1x1", "3x3 6x21"]
    assert depths_of(found["dpc"]) == [1, 2, 3, 2, 2] and candidate_of(published(PAPER_RATES)) in SPACE
    assert [branch.op.text for branch in found["pyramid-pooling"]][1:] == [
        "pool 1x1",
        "pool 2x2",
        "pool 3x3",
        "pool 6x6",
    ]


def test_surrogates_see_the_same_of_equal_cells():
    for seed in range(20):
        cell = cell_of(sampled(seed))
        other = renumbered(cell, np.random.default_rng(seed))
        assert (PAPER.features(candidate_of(cell)) == PAPER.features(candidate_of(other))).all()


@pytest.mark.parametrize("text", ["3x3", "conv", "pool 2", "3x3 1x1x1", "1x1 2x2"])
def test_other_operations_are_refused(text):
    with pytest.raises(SegmentationError, match="is none of 1x1"):
        Op.of(text)
    assert all(Op.of(op.text) == op for op in operations((1, 3), (1, 2)))
