"""Refusals: a searcher that cannot treat a target says so when it is built, in one line that names the place."""

from __future__ import annotations

from collections.abc import Sequence

from automl_ext.decisions import Choice, SpaceError
from automl_ext.objective import Objective, traded
from automl_ext.space import Space


def choices_only(space: Space, searcher: str) -> None:
    """SpaceError naming the first number of `space`."""
    for slot in space.slots:
        if any(not isinstance(decision, Choice) for decision in slot.decisions):
            raise SpaceError(
                f"{slot.path}: {searcher} decides choices only, and this is a number; use another searcher"
            )


def numbers_only(space: Space, searcher: str) -> None:
    """SpaceError naming the first choice of `space`."""
    for slot in space.slots:
        if any(isinstance(decision, Choice) for decision in slot.decisions):
            raise SpaceError(
                f"{slot.path}: {searcher} decides numbers only, and this is a choice; use another searcher"
            )


def unconditional_only(space: Space, searcher: str) -> None:
    """SpaceError naming the first choice of `space` that opens branches."""
    for slot in space.slots:
        if any(isinstance(decision, Choice) and decision.branches for decision in slot.decisions):
            raise SpaceError(f"{slot.path}: {searcher} takes no conditional space, and this choice opens branches")


def one_objective(objectives: Sequence[Objective], searcher: str) -> None:
    """ValueError where a second objective is to be traded off; one with a limit is a constraint, which all respect."""
    others = traded(objectives)[1:]
    if others:
        raise ValueError(
            f"{searcher} takes one objective, and {others[0].name} is another; give it a limit (`limits:`), weigh both "
            "in `reward:`, or use a searcher for several objectives"
        )


__all__ = ["choices_only", "numbers_only", "one_objective", "unconditional_only"]
