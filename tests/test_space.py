"""Space: four views of one definition; slots, narrowing, walks, keys, grids."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_ext.decisions import Choice, Decision, Integer, Real, SpaceError, Value
from automl_ext.space import Space
from automl_ext.testing import check_space
from automl_ext.testing.planted import hash_of, learning_spaces, spaces


def drawn(depth: int) -> st.SearchStrategy[Space]:
    """Random spaces, conditional and narrowed ones too; different branches may put different decisions at one path."""
    names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)
    inner = st.just(None) if depth == 0 else st.none() | drawn(depth - 1)

    @st.composite
    def space(draw):
        decisions = []
        for name in draw(names):
            kind = draw(st.sampled_from(["choice", "integer", "real"]))
            if kind == "choice":
                options = draw(
                    st.lists(st.sampled_from(["x", "y", 0, 1.5, None, True]), min_size=1, max_size=4, unique_by=repr)
                )
                opened = {option: branch for option in options if (branch := draw(inner)) is not None}
                decisions.append(Choice(name, options, branches=opened))
            elif kind == "integer":
                low = draw(st.integers(1, 9))
                decisions.append(
                    Integer(name, low, low + draw(st.integers(0, 40)), draw(st.integers(1, 4)), draw(st.booleans()))
                )
            else:
                decisions.append(Real(name, 0.5, 0.5 + draw(st.floats(0, 9)), draw(st.booleans())))
        return Space(*decisions, narrow=draw(st.sampled_from([None, half])))

    return space()


def half(path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
    """Which half of a range or which options are left depends on all that was made in this space, floats aside (the
    vector view gives them back up to rounding)."""
    turn = hash_of({"path": path, **{key: value for key, value in made.items() if not isinstance(value, float)}})
    if isinstance(decision, Choice):
        return decision.keep(
            [option for index, option in enumerate(decision.options) if (turn >> index) & 1 or not index]
        )
    middle = (decision.low + decision.high) / 2
    return decision.within(decision.low, middle) if turn % 2 else decision.within(middle, decision.high)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(drawn(2), st.integers(0, 1000))
def test_any_space_keeps_the_contract(space, seed):
    check_space(space, seed, samples=5)


@pytest.mark.parametrize("space", [*spaces().values(), *learning_spaces().values()])
def test_the_suites_own_spaces_keep_the_contract(space):
    check_space(space)


def test_a_chain_of_depth_18_builds_at_once():
    space = Space(Choice("op", list("abcde")))
    for _ in range(18):
        space = Space(Choice("op", list("abcde"), branches=dict.fromkeys("abcde", space)))
    began = time.process_time()
    assert len(space.slots) == 19 and space.dim == 95
    assert time.process_time() - began < 0.1


def rule(depth: int, name: str = "op") -> Space:
    """A binary rule tree: a function opens two sub-trees, all functions the same ones; an operand at the leaves."""
    if depth == 0:
        return Space(Choice(name, ["g", "m", "v"]))
    below = Space(*rule(depth - 1, "left").decisions, *rule(depth - 1, "right").decisions)
    return Space(Choice(name, ["add", "mul", "g"], branches={"add": below, "mul": below}))


def test_paths_go_by_position():
    """31 slots for a depth-4 rule tree, whatever the functions are."""
    space = rule(4)
    assert len(space.slots) == 31
    candidate = space.build(lambda walk: "mul" if len(walk.declared.branches) else "m")
    assert len(candidate) == 31 and candidate["op/left/right/left/left"] == "m"
    kept = space.from_genes({**candidate, "op": "add"})
    assert kept == {**candidate, "op": "add"}


def test_a_decision_with_one_legal_value_is_settled_and_no_step():
    space = Space(Choice("only", ["x"]), Integer("n", 3, 3), Choice("real", ["a", "b"]))
    walk = space.walk()
    assert walk.path == "real" and walk.candidate == {"only": "x", "n": 3}
    walk.choose("b")
    assert walk.done and walk.candidate == {"only": "x", "n": 3, "real": "b"}
    with pytest.raises(SpaceError, match="the walk is done"):
        walk.choose("a")


def different(path: str, decision: object, made: Mapping[str, object]) -> object:
    assert isinstance(decision, Choice)
    return decision.keep([option for option in decision.options if option not in made.values()])


def test_narrow_reaches_every_view():
    space = Space(*(Choice(name, [1, 2, 3]) for name in "abc"), narrow=different)
    assert len(list(space.candidates(9))) == 6
    rng = np.random.default_rng(0)
    for candidate in (
        space.sample(rng),
        space.from_genes({"a": 1, "b": 1, "c": 1}),
        space.from_vector(rng.random(space.dim)),
    ):
        assert sorted(candidate.values()) == [1, 2, 3]
    assert {"a": 1, "b": 1, "c": 2} not in space


def test_an_inner_space_narrows_with_its_own_paths():
    seen = []

    def watch(path, decision, made):
        seen.append((path, dict(made)))
        return decision

    inner = Space(Integer("i", 0, 3), Integer("j", 0, 3), narrow=watch)
    space = Space(Integer("before", 0, 1), Choice("block", ["cell", "none"], branches={"cell": inner}))
    space.build(lambda walk: "cell" if walk.path == "block" else 1)
    assert seen == [("i", {}), ("j", {"i": 1})]


def test_narrow_that_leaves_nothing_names_the_path():
    space = Space(Integer("a", 1, 4), Integer("b", 5, 8), narrow=lambda p, d, m: d.within(1, 4))
    with pytest.raises(SpaceError, match="b: nothing legal between 1 and 4; legal: 5 to 8"):
        space.sample(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        ({"op": "conv"}, "op/width: no value; legal: 1 to 8"),
        ({"op": "conv", "op/width": 9}, "op/width: 9 is not legal; legal: 1 to 8"),
        ({"op": "pool", "op/width": 3}, "op/width: nothing is decided here; legal paths: op"),
        ({"op": "Conv"}, "op: 'Conv' is not legal; legal: one of 'conv', 'pool'"),
        ({"op": "conv", "op/width": True}, "op/width: True is not legal"),
    ],
)
def test_check_names_the_first_wrong_path(candidate, said):
    space = Space(Choice("op", ["conv", "pool"], branches={"conv": Space(Integer("width", 1, 8))}))
    with pytest.raises(SpaceError, match=said):
        space.check(candidate)
    assert candidate not in space


def test_genes_that_are_not_reached_stay_silent_and_speak_again():
    space = Space(
        Choice(
            "op",
            ["conv", "pool"],
            branches={"conv": Space(Integer("width", 1, 8)), "pool": Space(Real("scale", 0.0, 1.0))},
        )
    )
    genes = {"op": "conv", "op/width": 5, "op/scale": 0.25}
    assert space.from_genes(genes) == {"op": "conv", "op/width": 5}
    assert space.from_genes({**genes, "op": "pool"}) == {"op": "pool", "op/scale": 0.25}
    assert space.from_genes({"op": "unknown", "op/width": "text"}) == {"op": "conv", "op/width": 1}


def test_the_vector_view_is_one_hot_for_choices_and_silent_in_the_middle():
    space = Space(Choice("op", ["conv", "pool"], branches={"conv": Space(Integer("width", 1, 5))}), Real("x", 0.0, 2.0))
    assert space.dim == 4
    assert space.to_vector({"op": "conv", "op/width": 5, "x": 0.5}).tolist() == [1, 0, 1, 0.25]
    assert space.to_vector({"op": "pool", "x": 2.0}).tolist() == [0, 1, 0.5, 1]


def test_canonical_merges_equal_candidates():
    space = Space(Choice("a", [1, 2]), Choice("b", [1, 2]), canonical=lambda c: {"sum": c["a"] + c["b"]})
    assert space.key({"a": 1, "b": 2}) == space.key({"a": 2, "b": 1}) != space.key({"a": 1, "b": 1})


def test_the_grid_has_every_candidate_once():
    inner = Space(Integer("n", 1, 3))
    space = Space(Choice("a", ["x", "y"], branches={"y": inner}), Choice("b", [0, 1]))
    grid = list(space.candidates(9))
    assert len(grid) == 2 + 6 and len({space.key(candidate) for candidate in grid}) == 8
    assert all(candidate in space for candidate in grid)


def test_two_decisions_of_one_name_are_refused():
    with pytest.raises(SpaceError, match="a: two decisions"):
        Space(Choice("a", [1]), Integer("a", 0, 1))


def test_a_vector_of_a_value_outside_the_space_is_refused():
    space = Space(Choice("a", ["x", "y"]), Choice("b", ["z", "w"]))
    with pytest.raises(SpaceError, match=r"^b: 'q' is not legal; legal: one of 'z', 'w'"):
        space.to_vector({"a": "x", "b": "q"})
