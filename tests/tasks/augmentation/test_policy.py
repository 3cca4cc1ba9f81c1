"""Policies as data: through JSON and back, merged, described, refused."""

from __future__ import annotations

import json

import pytest
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, value_at
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, described, merged, of
from hypothesis import given, settings
from hypothesis import strategies as st

ONE = ((("Rotate", 0.5, 20.0), ("Invert", 1.0, None)),)


@st.composite
def steps(draw):
    name = draw(st.sampled_from((*OPERATIONS, IDENTITY)))
    return Step(name, draw(st.floats(0, 1)), value_at(name, draw(st.floats(0, 1))))


@st.composite
def stages(draw):
    choices = draw(st.lists(st.lists(steps(), max_size=3).map(tuple), min_size=1, max_size=5).map(tuple))
    parts = draw(st.lists(st.integers(0, 9), min_size=len(choices), max_size=len(choices)))
    weighted = draw(st.booleans()) and sum(parts) > 0
    return Stage(choices, tuple(part / sum(parts) for part in parts) if weighted else ())


@settings(max_examples=25, deadline=None)
@given(st.lists(stages(), max_size=3).map(tuple).map(Policy))
def test_json_and_back(policy):
    assert Policy.from_json(json.loads(json.dumps(policy.to_json(), allow_nan=False))) == policy


@pytest.mark.parametrize(
    "rows",
    [
        [[[None, [["Rotate", 2, 1.0]]]]], [[[None, [["Turn", 1, 1.0]]]]], [[[0.3, []]]], [[]], [3], "ab",
        [[[0.5, []], [None, []]]], [[[None, [["Rotate", "1", 1.0]]]]], [[[None, [["Rotate", 1.0, 1.0, 1.0]]]]],
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(rows):
    with pytest.raises(ValueError):  # noqa: PT011
        Policy.from_json(rows)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Step("Turn"), "unknown operation 'Turn'; there are ShearX, "),
        (lambda: Step("Invert", 1.5), r"probability of Invert must be in \[0, 1\], not 1.5"),
        (lambda: Step("Invert", float("nan")), "probability of Invert"),
        (lambda: Step("Rotate"), "Rotate needs a value, got None"),
        (lambda: Step("Invert", 1.0, 3.0), "Invert takes no value, got 3.0"),
        (lambda: Step(IDENTITY, 1.0, 3.0), "Identity takes no value"),
        (lambda: Stage(()), "at least one sub-policy"),
        (lambda: Stage(((), ()), (1.0,)), "2 sub-policies need as many weights"),
        (lambda: Stage(((), ()), (1.5, -0.5)), "weights from 0 up"),
        (lambda: Stage(((), ()), (0.5, 0.4)), "must sum to 1, not to 0.9"),
    ],
)
def test_bad_parts_are_refused_in_a_line(make, said):
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_best_five_give_exactly_25_in_order():
    five = [of([(("Rotate", 0.1 * part, float(place)),) for part in range(5)]) for place in range(5)]
    whole = merged(five)
    assert len(whole.stages) == 1 and len(whole.subpolicies) == 25 and not whole.stages[0].weights
    assert whole.subpolicies == tuple(choice for policy in five for choice in policy.subpolicies)
    weighted = Policy((Stage(((), ()), (0.2, 0.8)),))
    for refused in ([weighted, *five], [Policy(five[0].stages * 2)], [Policy()]):
        with pytest.raises(ValueError, match="one stage"):
            merged(refused)


def test_what_it_may_apply_leaves_out_what_never_happens():
    policy = of([(("Solarize", 1.0, 256.0), ("Invert", 0.0, None)), (("Invert", 0.5, None), (IDENTITY, 1.0, None))])
    assert policy.operations == ("Invert",)
    assert [step.idle for choice in policy.subpolicies for step in choice] == [True, True, False, True]
    assert Policy().operations == () and Policy().subpolicies == ()


def test_said_in_a_line():
    assert described(of(ONE).subpolicies[0]) == "Rotate 20 with 50%, then Invert"
    assert described((Step("Rotate", 0.0, 3.0), Step(IDENTITY))) == described(()) == "nothing"
