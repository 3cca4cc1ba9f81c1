"""What the registry says that a searcher treats is what it treats, and what it refuses it refuses with a place."""

from __future__ import annotations

import pytest

from automl_ext.objective import Objective
from automl_ext.refusal import choices_only, numbers_only, one_objective, unconditional_only
from automl_ext.registry import KINDS, SEARCHERS, searcher_class
from automl_ext.searcher import Target, stream
from automl_ext.space import SpaceError
from automl_ext.testing.planted import spaces, target_of


def build(name: str, target: Target):
    return searcher_class(name)(target, stream(0, "build"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SEARCHERS)
def test_the_registry_says_which_spaces_a_searcher_treats(name, kind):
    target = target_of(spaces()[kind])
    if kind in SEARCHERS[name].treats:
        build(name, target)
        return
    with pytest.raises(ValueError, match=name) as refusal:
        build(name, target)
    assert any(slot.path in str(refusal.value) for slot in target.space.slots)


@pytest.mark.parametrize("name", SEARCHERS)
def test_the_registry_says_who_weighs_several_objectives(name):
    space = spaces()[SEARCHERS[name].treats[0]]
    build(name, target_of(space, Objective("cost", "min", limit=1.0)))
    if SEARCHERS[name].several:
        build(name, target_of(space, Objective("cost", "min")))
        return
    with pytest.raises(ValueError, match=f"{name} takes one objective, and cost is another"):
        build(name, target_of(space, Objective("cost", "min")))


def test_refusals_name_the_first_offending_decision():
    mixed, conditional = spaces()["mixed"], spaces()["conditional"]
    with pytest.raises(SpaceError, match=r"^b: mine decides choices only"):
        choices_only(mixed, "mine")
    with pytest.raises(SpaceError, match=r"^a: mine decides numbers only"):
        numbers_only(mixed, "mine")
    with pytest.raises(SpaceError, match=r"^layer0: mine takes no conditional space"):
        unconditional_only(conditional, "mine")
    choices_only(spaces()["choice"], "mine")
    numbers_only(spaces()["narrowed"], "mine")
    unconditional_only(mixed, "mine")
    one_objective((Objective("a"), Objective("b", limit=2.0)), "mine")
