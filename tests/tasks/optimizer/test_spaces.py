"""Both spaces: what they can express, and that nothing else is ever in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.optimizer.graph import RuleError, effective, graph
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.programs import ADAMW, ProgramSpace
from automl_ext.tasks.optimizer.rules import OPERANDS, PARTS, RuleSpace

from automl_ext.testing import check_space

G = torch.linspace(-1, 2, 64)


def first_updates(space, groups, steps=3, factor=1.0):
    """Updates of a rule given group by group, on growing gradients."""
    candidate = {f"{n}.{part}": v for n, group in enumerate(groups, 1) for part, v in zip(PARTS, group, strict=True)}
    assert candidate in space.space
    made = Interpreter([graph(space.program(candidate))], 1, 64)
    found = []
    for step in range(1, steps + 1):
        made.gradient.copy_(G * step)
        found.append(made.updates(step, steps)[0, 0])
    return found


def test_classical_rules_are_in_it():
    one = RuleSpace(1)
    sgd = first_updates(one, [("g", "1", "x", "x", "mul")])
    sign = first_updates(one, [("g", "1", "sign", "x", "mul")])
    adam = first_updates(one, [("m", "v", "x", "sqrt", "div")])
    for step in range(1, 4):
        torch.testing.assert_close(sgd[step - 1], G * step)
        torch.testing.assert_close(sign[step - 1], torch.sign(G))
        m = sum(0.1 * 0.9 ** (step - k) * k * G for k in range(1, step + 1)) / (1 - 0.9**step)
        v = sum(0.001 * 0.999 ** (step - k) * (k * G) ** 2 for k in range(1, step + 1)) / (1 - 0.999**step)
        torch.testing.assert_close(adam[step - 1], m / (v.sqrt() + 1e-8), rtol=1e-4, atol=1e-5)


def test_powersign_takes_two_groups():
    power = first_updates(RuleSpace(3), [
        ("sign(g)", "sign(m)", "x", "x", "mul"), ("result 1", "ld", "x", "x", "mul"),
        ("result 2", "g", "exp", "x", "mul"),
    ])  # fmt: skip
    for step, found in enumerate(power, 1):
        torch.testing.assert_close(found, torch.exp(torch.tensor(1 - (step - 1) / 3)) * G * step)  # signs agree


def test_a_thousand_random_rules_keep_the_constraints():
    own, rng = RuleSpace(3), np.random.default_rng(0)
    for _ in range(1000):
        made = own.space.sample(rng)
        assert made["3.binary"] != "add"
        for group in (1, 2, 3):
            left, right = made[f"{group}.left"], made[f"{group}.right"]
            assert left != right and (group == 1 or "result" in f"{left} {right}")


def test_left_out_is_left_out_and_unknown_names_are_refused():
    own = RuleSpace(1, ["noise", "exp", "power"])
    assert not {"noise", "exp", "power"} & {option for slot in own.space.slots for option in slot.options}
    with pytest.raises(RuleError, match="no operand or function 'gradient'"):
        RuleSpace(1, ["gradient"])
    with pytest.raises(RuleError, match="two operands"):
        RuleSpace(1, list(OPERANDS))


@pytest.mark.parametrize("start", ["random", "adamw"])
def test_a_thousand_mutations_are_all_programs_and_never_touch_the_last_line(start):
    own, rng = ProgramSpace(9, 2, start), np.random.default_rng(0)
    genes, seen = own.variation.sample(rng), set()
    for _ in range(200):
        changed = own.variation.mutate(genes, rng)
        candidate = own.space.from_genes(changed)
        own.space.check(candidate)
        program = own.program(candidate)
        assert program[-1].to == "update" and len(program) <= 9
        assert own.space.from_genes(own.genes(program)) == candidate
        seen.add(graph(program).text if start == "adamw" else repr(program))
        genes = changed
    assert len(seen) > 40


def test_one_mutation_changes_one_statement():
    own, rng, kinds = ProgramSpace(9, 2), np.random.default_rng(2), set()
    for _ in range(60):
        child = own.variation._changed(ADAMW, rng)
        if child == ADAMW:
            continue
        longer = len(child) - len(ADAMW)
        assert abs(longer) <= 1
        kinds.add(longer)
        if longer == 0:
            (pair,) = [(one, two) for one, two in zip(ADAMW, child, strict=True) if one != two]
            assert pair[0].operation == pair[1].operation and pair[0].to == pair[1].to
            assert sum(a != b for a, b in zip(pair[0].arguments, pair[1].arguments, strict=True)) == 1
        else:
            short, long = sorted((ADAMW, child), key=len)
            assert any(long[:place] + long[place + 1 :] == short for place in range(len(long)))
    assert kinds == {-1, 0, 1}


def test_a_child_never_does_what_its_parent_does_by_the_same_statements():
    own, rng = ProgramSpace(9, 2), np.random.default_rng(3)
    genes = own.variation.sample(rng)
    for _ in range(100):
        child = own.space.from_genes(own.variation.mutate(genes, rng))
        assert effective(own.program(child)) != effective(own.program(own.space.from_genes(genes)))
        genes = child


def test_the_space_of_programs_is_sound():
    check_space(ProgramSpace(4, 1).space, 0)


def test_adamw_needs_room():
    with pytest.raises(RuleError, match="adamw takes 8 lines and 2 slots"):
        ProgramSpace(5, 2, "adamw")
