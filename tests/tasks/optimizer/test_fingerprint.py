"""Fingerprints: rules that do something else have another one, and what is finite nowhere diverges."""

from __future__ import annotations

import itertools

import pytest
from automl_ext.tasks.optimizer.fingerprint import STEPS, TOTAL, fingerprint
from automl_ext.tasks.optimizer.graph import SCALARS, RuleError, graph, statements


def of(*rows):
    return fingerprint(graph(statements(rows)))


NORMED = (["x1", "abs", ["g"]], ["update", "div", ["g", "x1"]])


@pytest.mark.parametrize(
    "rules",
    [
        [([["update", "mul", ["g", factor]]]) for factor in (1.0, "linear", "cosine", "restart")],
        [([["update", "sign", ["g"]]]), NORMED],
        [
            ([["x1", "mul", ["w", factor]], ["update", "add", ["x1", "g"]]])
            for factor in ("rate", 0.01, 0.1, 0.001, 0.02, 0.0001)
        ],
        [  # a decay's last step is below the limit
            ([["s1", "clip", [factor, 0.001]], ["update", "mul", ["g", "s1"]]]) for factor in ("cosine", 1.0)
        ],
        [  # of weights that are zero, and of others
            ([["x1", "power", ["w", power]], ["update", "mul", ["g", "x1"]]]) for power in (0.0, 1e-9)
        ],
        [  # not a number, plus and minus infinity, and a large number, each where the gradient is zero
            (["x1", "abs", ["g"]], ["x1", "min", ["x1", 1e-30]], ["x1", "mul", ["x1", 1e30]], *rows)
            for rows in (
                [["x1", "div", ["x1", "x1"]], ["update", "mul", ["x1", "g"]]],
                [["x1", "log", ["x1"]], ["update", "add", ["x1", "g"]]],
                [["x1", "log", ["x1"]], ["update", "sub", ["g", "x1"]]],
                [["x1", "sub", [1.0, "x1"]], ["x1", "mul", ["x1", 1e30]], ["update", "add", ["g", "x1"]]],
            )
        ],
    ],
)
def test_rules_that_differ_have_fingerprints_that_do(rules):
    found = [of(*rows) for rows in rules]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["linear", "cosine", "restart"])
def test_every_decay_takes_several_values_on_the_probed_steps(name):
    values = [SCALARS[name](step, TOTAL) for step in STEPS]
    assert min(abs(one - two) for one, two in itertools.combinations(values, 2)) > 1e-4


def test_an_update_that_is_finite_nowhere_is_a_rule_and_one_that_is_the_same_for_any_gradient_is_none():
    nowhere = (["x1", "sub", ["g", "g"]], ["x1", "div", ["x1", "x1"]])
    endless = (["x1", "abs", ["g"]], ["x1", "add", ["x1", 9.0]], *[["x1", "exp", ["x1"]]] * 2)
    assert of(*nowhere, ["update", "add", ["x1", "g"]]) != of(*endless, ["update", "mul", ["x1", 1.0]])
    with pytest.raises(RuleError, match="the same for any"):
        of(["x1", "sub", ["g", "g"]], ["update", "add", ["x1", "w"]])
