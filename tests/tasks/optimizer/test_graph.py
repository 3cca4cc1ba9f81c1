"""Programs as graphs: what is the same rule, what has no effect, what is no rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.optimizer.fingerprint import fingerprint
from automl_ext.tasks.optimizer.formula import latex, lines
from automl_ext.tasks.optimizer.graph import RuleError, effective, graph, statements, to_json
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.programs import ADAMW, ProgramSpace
from automl_ext.tasks.optimizer.reference import REFERENCES

BASE = [
    ["x1", "square", ["g"]],
    ["m1", "interp", ["m1", "x1", 0.1]],
    ["x2", "sqrt", ["m1"]],
    ["update", "div", ["g", "x2"]],
]


def of(rows):
    return graph(statements(rows))


def test_names_dead_code_and_the_order_of_factors_do_not_matter_and_a_constant_does():
    renamed = [
        ["x3", "square", ["g"]],
        ["m1", "interp", ["m1", "x3", 0.1]],
        ["x1", "sqrt", ["m1"]],
        ["update", "div", ["g", "x1"]],
    ]
    dead = [["x4", "exp", ["w"]], *BASE[:2], ["m2", "interp", ["m2", "x4", 0.5]], *BASE[2:]]
    assert of(renamed).text == of(BASE).text == of(dead).text
    product, turned = ([["x1", "sign", ["g"]], ["update", "mul", pair]] for pair in (["x1", "w"], ["w", "x1"]))
    assert of(product).text == of(turned).text
    other = [BASE[0], ["m1", "interp", ["m1", "x1", 0.2]], *BASE[2:]]
    assert of(other).text != of(BASE).text and fingerprint(of(other)) != fingerprint(of(BASE))


def test_fingerprints_tell_what_rules_do():
    twice = of([["x1", "add", ["g", "g"]], ["update", "sign", ["x1"]]])
    half = of([["x1", "mul", ["g", 0.5]], ["update", "sign", ["x1"]]])
    assert twice.text != half.text and fingerprint(twice) == fingerprint(half)
    forth, back = (of([["update", "sub", pair]]) for pair in (["g", "w"], ["w", "g"]))
    assert fingerprint(forth) != fingerprint(back)


def test_statements_without_effect_go_and_the_updates_stay_the_same_to_the_bit():
    space, rng, shorter = ProgramSpace(12, 2), np.random.default_rng(1), 0
    genes = space.genes(ADAMW)
    for _ in range(40):
        genes = space.variation.mutate(genes, rng)
        program = space.program(space.space.from_genes(genes))
        pruned = effective(program)
        shorter += len(pruned) < len(program)
        assert {line.to for line in pruned} <= {line.to for line in program}
        one, two = (updates(graph(each)) for each in (program, pruned))
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    assert shorter > 10


def updates(rule, steps=3):
    made = Interpreter([rule], 1, 64)
    made.weights.copy_(torch.linspace(-1, 1, 64))
    found = []
    for step in range(1, steps + 1):
        made.gradient.copy_(torch.linspace(-1, 2, 64) * step)
        found.append(made.updates(step, steps))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["update", "sign", ["w"]]], "never uses the gradient"),
        ([["x1", "sub", ["g", "g"]], ["update", "mul", ["x1", "w"]]], "the same for any"),
        ([["x1", "square", ["g"]], ["x1", "sign", ["x1"]], ["update", "mul", ["x1", "w"]]], "the same for any"),
        ([["x1", "sign", ["g"]]], "nothing is ever assigned to update"),
        ([["update", "sgn", ["g"]]], "no operation 'sgn'"),
        ([["update", "add", ["g"]]], "add takes 2 values, not 1"),
        ([["update", "add", ["g", "x1"]]], "x1 is read before"),
        ([["update", "norm", ["g"]]], "puts a scalar elsewhere"),
        ([["s1", "dot", ["g", 1.0]], ["update", "mul", ["s1", "g"]]], "takes tensors"),
        ([["update", "add", ["g", float("nan")]]], "no statement"),
        ([["m1", "add", ["m1", "m2"]], ["m2", "add", ["m2", "g"]], ["update", "add", ["m1", "g"]]], "2 memory slots"),
    ],
)
def test_what_is_no_rule_is_said_in_one_line(rows, said):
    with pytest.raises(RuleError, match=said) as caught:
        fingerprint(graph(statements(rows), 1))
    assert "\n" not in str(caught.value)


def test_a_program_survives_json_and_its_formula_says_it():
    assert all(statements(to_json(program)) == program for program in REFERENCES.values())
    assert lines(REFERENCES["lion"], "text") == [
        "x2 = sign(0.9 * m1 + 0.1 * g)", "m1 = 0.99 * m1 + 0.01 * g", "update = x2 + (w * 0.1)",
    ]  # fmt: skip
    assert r"u &\leftarrow \frac{" in latex(REFERENCES["adam"])
    assert r"\frac{m_{1}}{(1 - 0.9^t)}" in latex(REFERENCES["adam"])


def test_formulas_show_absolute_values_and_powers_of_ten():
    program = statements([
        ["x1", "sqrt", ["g"]], ["x2", "sub", ["w", 2.5e-07]], ["x2", "log", ["x2"]], ["x3", "log1p", ["g"]],
        ["x1", "power", ["x1", "x2"]], ["x1", "add", ["x1", 1e-8]], ["update", "mul", ["x1", "x3"]],
    ])  # fmt: skip
    assert lines(program, "text") == ["update = ((|sqrt(|g|)| ^ log(|w - 2.5e-07|)) + 1e-08) * log(|1 + g|)"]
    (shown,) = lines(program, "latex")
    assert r"2.5 \cdot 10^{-7}" in shown and " + 10^{-8})" in shown and "e-0" not in shown
