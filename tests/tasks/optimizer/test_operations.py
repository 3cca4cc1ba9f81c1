"""The table of operations: a result may be written where any of its values lies."""

from __future__ import annotations

import itertools

import pytest
import torch
from automl_ext.tasks.optimizer.graph import graph, statements
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.operations import OPERATIONS

FIXED = [name for name, operation in OPERATIONS.items() if not operation.random]
ELEMENTWISE = [name for name in FIXED if not OPERATIONS[name].reduces]


def updates(rows, narrow):
    """(3, 1, 1, 64) updates of a program whose memory is not zero at the start."""
    made = Interpreter([graph(statements(rows))], 1, 64, narrow)
    for row in made._layout.memory[0]:
        made.tensors[row] = torch.linspace(0.1, 0.9, 64)
    found = []
    for step in range(1, 4):
        made.gradient.copy_(torch.linspace(-0.8, 0.9, 64) * step)
        found.append(made.updates(step, 3))
    return torch.stack(found)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_kernel_may_write_over_any_of_its_values(name):
    operation = OPERATIONS[name]
    values = [torch.linspace(-0.8, 0.9, 64), torch.linspace(0.7, -0.3, 64), torch.linspace(0.1, 0.5, 64)]
    fresh = torch.empty(64)
    operation.kernel(fresh, *values[: operation.arity])
    for place in range(operation.arity):
        over = [value.clone() for value in values[: operation.arity]]
        operation.kernel(over[place], *over)
        torch.testing.assert_close(over[place], fresh, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", FIXED)
def test_memory_in_place_is_what_fresh_memory_is_gathered_or_not(name):
    """x1 reads the old memory, too, so that the new one gets a row of its own."""
    operation = OPERATIONS[name]
    for values in itertools.product(["g", "m1"] if operation.reduces else ["g", "m1", 0.3], repeat=operation.arity):
        if "m1" not in values:
            continue
        made = [["s1", name, values], ["m1", "mul", ["m1", "s1"]]] if operation.reduces else [["m1", name, values]]
        ends = [["x2", "add", ["m1", "g"]], ["update", "mul", ["x2", 2.0]]]
        after = [["x1", "add", ["x1", 0.0]], ["x1", "mul", ["x1", 0.0]], ["update", "add", ["update", "x1"]]]
        fresh = [["x1", "min", ["m1", 9.0]], *made, *ends, *after]
        narrow, wide = updates([*made, *ends], 10**9), updates([*made, *ends], 0)
        torch.testing.assert_close(wide, narrow, rtol=0, atol=0, equal_nan=True)
        if torch.isfinite(narrow).all():
            for other in (updates(fresh, 10**9), updates(fresh, 0)):
                torch.testing.assert_close(other, narrow, rtol=0, atol=0)
