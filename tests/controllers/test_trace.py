"""How a walk is read: rows that are shared, pointers, and the places of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from automl_ext.controllers.trace import ABSENT, STATIC, Layout, cell, legal_range, number_at, unit
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.space import Space


def rows(space, candidate):
    return [asked.rows for asked in Layout(space).trace(candidate).open]


@pytest.mark.parametrize(
    ("declared", "decision"),
    [
        (Integer("n", 1, 9), Integer("n", 1, 9)),
        (Integer("n", 2, 20, step=3), Integer("n", 5, 17, step=6)),
        (Integer("n", 1, 40, log=True), Integer("n", 1, 40, log=True)),
        (Integer("n", 1, 41, step=4, log=True), Integer("n", 5, 29, step=4, log=True)),
    ],
    ids=["plain", "coarser", "log", "log narrowed"],
)
def test_cells_are_the_places_that_repair_takes_to_a_value(declared, decision):
    """They lie side by side and fill the legal range; plain ones are equally wide."""
    low, span = legal_range(declared, decision)
    values = range(decision.low, decision.high + 1, decision.step)
    cells = [cell(declared, decision, value) for value in values]
    assert np.isclose(cells[0][0], low) and np.isclose(sum(size for _, size in cells), span)
    for value, (left, size), after in zip(values, cells, [*(left for left, _ in cells[1:]), low + span], strict=True):
        assert size > 0 and np.isclose(left + size, after)
        for place in np.linspace(left, left + size, 7)[1:-1]:
            assert decision.nearest(number_at(declared, place)) == value
    assert declared.log or np.allclose([size for _, size in cells], cells[0][1])


@pytest.mark.parametrize("declared", [Real("x", -2.0, 6.0), Real("x", 1e-3, 10.0, log=True)], ids=["plain", "log"])
def test_places_of_a_real_are_those_of_the_vector_view(declared):
    for place in (0.0, 0.3, 1.0):
        assert np.isclose(number_at(declared, place), declared.from_unit(place))
        assert np.isclose(unit(declared, declared.from_unit(place)), place)
    narrow = declared.within(0.5, 2.0)
    low, span = legal_range(declared, narrow)
    assert np.isclose(low, declared.to_unit(0.5)) and np.isclose(low + span, declared.to_unit(2.0))


def test_a_narrowed_choice_keeps_the_rows_of_its_options():
    space = Space(
        Choice("a", ["x", "y"]),
        Choice("b", [0, 1, 2]),
        narrow=lambda path, decision, made: decision if made.get("a") != "y" else decision.keep([0, 2]),
    )
    whole, part = (rows(space, {"a": value, "b": 0})[1] for value in "xy")
    assert len(whole) == 3 and part == (whole[0], whole[2])


def test_growing_options_of_one_kind_share_what_they_have_in_common():
    """The inputs of a cell: two fixed ones and every earlier block."""
    blocks = [
        Choice(f"in{b}", ["h0", "h1", *(f"b{j}" for j in range(b))], {}, "in", {f"b{j}": f"in{j}" for j in range(b)})
        for b in range(3)
    ]
    space = Space(*blocks)
    trace = Layout(space).trace({"in0": "h0", "in1": "b0", "in2": "h1"})
    first, second, third = trace.open
    assert first.rows == second.rows[:2] == third.rows[:2] and third.rows[2] == third.rows[3] == second.rows[2]
    assert second.pointers == (STATIC, STATIC, 0) and third.pointers == (STATIC, STATIC, 0, 1)


def test_a_pointer_is_looked_up_in_its_own_space_first():
    cell = Space(Choice("op", ["x", "y"]), Choice("from", ["none", "op", "far"], refers={"op": "op", "far": "stem"}))
    space = Space(Choice("stem", ["s", "t"]), Choice("op", ["p", "q"]), Choice("cell", ["on", "off"], {"on": cell}))
    on = {"stem": "s", "op": "p", "cell": "on", "cell/op": "x", "cell/from": "op"}
    assert Layout(space).trace(on).open[-1].pointers == (STATIC, 3, 0)
    lost = Space(Choice("a", ["x", "y"]), Choice("from", ["in", "b"], refers={"b": "b"}), Choice("b", ["x", "y"]))
    assert Layout(lost).trace({"a": "x", "from": "b", "b": "x"}).open[1].pointers == (STATIC, ABSENT)


def test_a_pointer_to_a_settled_decision_is_one_to_its_place():
    space = Space(
        Choice("a", ["x", "y"]),
        Choice("b", ["x"]),
        Choice("from", ["a", "b"], refers={"a": "a", "b": "b"}),
        Choice("end", ["x"]),
    )
    trace = Layout(space).trace({"a": "y", "b": "x", "from": "b", "end": "x"})
    assert len(trace.slots) == 4 and len(trace.open) == 2 and trace.open[1].pointers == (0, 1)
