"""check_searcher: a searcher keeps its contract, and beats random where there is something to find."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from automl_ext import state
from automl_ext.objective import Metrics, Objective
from automl_ext.searcher import Proposal, Searcher, Trial, stream
from automl_ext.space import Candidate, Space
from automl_ext.testing.fingerprint import fingerprint, global_state
from automl_ext.testing.learning import check_learns
from automl_ext.testing.planted import hash_of, planted_score, spaces, target_of
from automl_ext.testing.rule import rule
from automl_ext.testing.simulate import simulate
from automl_ext.worker import one_thread

Factory = Callable[..., Searcher]
COST = Objective("cost", "min")
"""The second objective, where a searcher weighs several."""


def check_searcher(
    factory: Factory,
    *,
    options: Mapping[str, Any] | None = None,
    learns: bool = True,
    trials: int = 30,
    planted: int = 150,
) -> None:
    """Raise AssertionError at the first rule that a searcher breaks, with one line that says which.

    A searcher may refuse a kind of space when it is built, with a ValueError that names the decision, and a second
    objective, with one that names it.

    factory: its class, called as factory(target, rng, **options). learns: False exempts from beating random (a grid).
    trials: length of the contract searches. planted: length of the searches against random.
    """
    one_thread()
    options = dict(options or {})
    treated = {name: space for name, space in spaces().items() if takes(factory, options, name, space)}
    assert treated, "the searcher refuses every kind of space"
    first, small = next(iter(treated.items()))
    several = weighs_several(factory, options, small)
    for name, space in treated.items():
        for parallel in (1, 8):
            _check_case(_Case(factory, options, space, trials, parallel, f"{name} space, parallel {parallel}"))
    if several:
        _check_case(_Case(factory, options, small, trials, 8, f"{first} space, two objectives", (COST,)))
    if learns:
        check_learns(factory, options, planted)


def takes(factory: Factory, options: Mapping[str, Any], name: str, space: Space) -> bool:
    """Whether the searcher can be built on `space`. AssertionError for a refusal that names no decision."""
    with rule(f"{name} space: it cannot be built"):
        try:
            factory(target_of(space), stream(0, "build"), **options)
        except ValueError as error:
            assert any(slot.path in str(error) for slot in space.slots), (
                f"{name} space: the refusal names no decision: {error}"
            )
            return False
    return True


def weighs_several(factory: Factory, options: Mapping[str, Any], space: Space) -> bool:
    """Whether the searcher can be built for two objectives. AssertionError for a refusal that does not name them."""
    with rule("two objectives: it cannot be built"):
        try:
            factory(target_of(space, COST), stream(0, "build"), **options)
        except ValueError as error:
            assert COST.name in str(error), f"two objectives: the refusal does not name the second: {error}"
            return False
    return True


@dataclass(frozen=True)
class _Case:
    factory: Factory
    options: Mapping[str, Any]
    space: Space
    trials: int
    parallel: int
    where: str
    others: tuple[Objective, ...] = ()

    def build(self) -> Searcher:
        return self.factory(target_of(self.space, *self.others), stream(0, "build"), **self.options)

    @property
    def evaluate(self) -> Callable[[Candidate], Metrics]:
        """Every objective has an optimum of its own."""
        score = planted_score(self.space, 1)
        costs = {objective.name: planted_score(self.space, 2 + i) for i, objective in enumerate(self.others)}
        return lambda candidate: {
            "score": score(candidate),
            **{name: -cost(candidate) for name, cost in costs.items()},
        }

    def play(
        self,
        what: str,
        evaluate: Callable[[Candidate], Metrics | None] | None = None,
        searcher: Searcher | None = None,
        **how: Any,
    ) -> list[Trial]:
        """The trials of one search. AssertionError for whatever the searcher raises, and a candidate out of space."""
        with rule(f"{self.where}: {what}"):
            return simulate(
                searcher or self.build(), evaluate or self.evaluate, self.trials, parallel=self.parallel, **how
            )


def _check_case(case: _Case) -> None:
    before, watch = global_state(), _Watch(case)
    whole = case.play("a search", watch=watch)
    assert global_state() == before, f"{case.where}: it draws from a global generator; every stream is handed in"
    assert whole, f"{case.where}: nothing is proposed"
    assert case.play("once more") == whole, f"{case.where}: the same seed gives another search"
    finishes: list[int] = []

    def noted(event: str, searcher: Searcher, number: int, pending: dict[int, Proposal]) -> None:
        if event == "finish":
            finishes.append(number)

    for seed in range(2):
        finishes.clear()
        schedule = np.random.default_rng(seed)
        mixed = case.play("finishing in another order", schedule=schedule, watch=noted)
        assert mixed == whole, f"{case.where}: the order in which evaluations finish changes the search"
    _check_resume(case, whole, finishes)
    if hasattr(case.build(), "state"):
        _check_state(case, whole)
    _check_failures(case)


@dataclass
class _Watch:
    """Looks at every ask and tell: the answers are legal, asking changes nothing, parents are kept."""

    case: _Case
    told: set[int] = field(default_factory=set)

    def __call__(self, event: str, searcher: Searcher, number: int, pending: dict[int, Proposal]) -> None:
        if event == "ask":
            self._ask(searcher, number, list(pending.values()), f"{self.case.where}: ask {number}")
        elif event == "tell":
            self.told.add(number)
            kept: Any = getattr(searcher, "keep", set)()
            assert isinstance(kept, set) and kept <= self.told, (
                f"{self.case.where}: keep() after tell {number} is no set of told trials: {kept!r}"
            )

    def _ask(self, searcher: Searcher, number: int, pending: list[Proposal], where: str) -> None:
        before, given = fingerprint(searcher), list(pending)
        first = searcher.ask(number, pending, stream(0, "ask", number))
        second = searcher.ask(number, pending, stream(0, "ask", number))
        assert fingerprint(searcher) == before, f"{where} changed the searcher"
        assert pending == given, f"{where} changed the list of pending proposals"
        if first is not None:
            self._legal(first, where)
        assert first == second, f"{where} answers differently when asked again"
        if first is None:
            return
        parents = self.told & searcher.keep() if hasattr(searcher, "keep") else self.told
        assert first.parent is None or first.parent in parents, (
            f"{where}: parent {first.parent} is not told, or not in keep()"
        )

    def _legal(self, proposal: Proposal, where: str) -> None:
        with rule(f"{where}: the candidate is not in the space"):
            self.case.space.check(proposal.candidate)
        try:
            plain = json.loads(json.dumps(proposal.note, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{where}: the note is no JSON: {error}") from error
        assert plain == proposal.note, f"{where}: the note is not what JSON gives back: {proposal.note}"


def _check_resume(case: _Case, whole: list[Trial], finishes: list[int]) -> None:
    """Interrupted after every single completion: what is in the journal comes back as JSON, the rest is evaluated."""
    lines = {trial.number: json.dumps(trial.to_json()) for trial in whole}
    for cut in range(len(finishes) + 1):
        recorded = {number: Trial.from_json(json.loads(lines[number])) for number in finishes[:cut]}
        again = case.play(f"resumed after {cut} trials", recorded=recorded, schedule=np.random.default_rng(cut))
        assert again == whole, f"{case.where}: resumed after {cut} trials it goes another way"


def _check_state(case: _Case, whole: list[Trial]) -> None:
    """Loaded from the state saved after every single tell, it goes on in the same way."""
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = []

        def save(event: str, searcher: Any, number: int, pending: dict[int, Proposal]) -> None:
            if event == "tell":
                files.append(Path(folder) / f"{number}.safetensors")
                state.save(files[-1], searcher.state(), number + 1, pending)

        case.play("saving its state", watch=save)
        for file in files:
            saved, told, pending, _ = state.load(file)
            searcher: Any = case.build()
            with rule(f"{case.where}: load after {told} trials"):
                searcher.load(saved)
            rest = case.play(f"loaded after {told} trials", searcher=searcher, start=(told, pending))
            assert rest == whole[told:], f"{case.where}: loaded after {told} trials it goes another way"


def _check_failures(case: _Case) -> None:
    evaluate, watch = case.evaluate, _Watch(case)
    case.play("some trials fail", lambda c: None if hash_of(c) % 3 == 0 else evaluate(c), watch=watch)
    assert case.play("every trial fails", lambda candidate: None, watch=_Watch(case)), (
        f"{case.where}: nothing is asked when every trial fails"
    )


__all__ = ["check_searcher"]
