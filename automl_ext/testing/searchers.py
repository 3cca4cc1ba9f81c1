"""check_searcher: a searcher keeps its contract, and beats random where there is something to find."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from automl_ext.decisions import Choice, Decision, Integer, Real, SpaceError, Value
from automl_ext.evolution.variation import GenericVariation
from automl_ext.objective import Objective
from automl_ext.searcher import Proposal, Searcher, Target, Trial, stream
from automl_ext.space import Candidate, Space, Walk
from automl_ext.testing.simulate import simulate

Factory = Callable[..., Searcher]


def check_searcher(
    factory: Factory,
    *,
    options: Mapping[str, Any] | None = None,
    learns: bool = True,
    trials: int = 40,
    planted: int = 120,
) -> None:
    """Raise AssertionError at the first rule that a searcher breaks.

    factory: its class, called as factory(target, rng, **options). learns: False exempts from beating random (a grid).
    trials: length of the contract searches. planted: length of the searches against random.
    """
    options = dict(options or {})
    treated = 0
    for name, space in spaces().items():
        try:
            factory(target_of(space), stream(0, "build"), **options)
        except ValueError as error:
            assert any(slot.path in str(error) for slot in space.slots), (
                f"{name}: the refusal names no decision: {error}"
            )
            continue
        treated += 1
        _check_contract(factory, options, name, space, trials)
    assert treated, "the searcher refuses every kind of space"
    if learns:
        _check_learns(factory, options, planted)


def spaces() -> dict[str, Space]:
    """One small space a kind: choice, number, conditional, narrowed, mixed."""
    digits = Space(*(Choice(f"c{index}", list("abcde")) for index in range(4)))
    numbers = Space(
        Integer("n", 1, 40), Integer("m", 2, 64, step=2), Real("x", 0.0, 1.0), Real("rate", 1e-4, 1.0, log=True)
    )
    leaf = {
        "conv": Space(Integer("width", 1, 8), Choice("act", ["relu", "tanh"])),
        "pool": Space(Integer("size", 2, 5)),
    }
    conditional = Space(*(Choice(f"layer{index}", ["none", "conv", "pool"], branches=leaf) for index in range(3)))
    mixed = Space(Choice("a", [True, False, None]), Integer("b", 0, 9), Real("c", -1.0, 1.0))
    narrowed = Space(*(Integer(f"k{index}", 1, 16) for index in range(4)), narrow=_budget)
    return {"choice": digits, "number": numbers, "conditional": conditional, "narrowed": narrowed, "mixed": mixed}


def _budget(path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
    """At most 32 in all: the rest may have at least 1 each."""
    assert isinstance(decision, Integer)
    left = 32 - sum(int(value or 0) for value in made.values()) - (3 - len(made))
    return decision.within(1, max(1, left))


def target_of(space: Space) -> Target:
    """A target on a bare space, one objective `score` to maximise."""

    def observe(walk: Walk) -> Any:
        here = [slot.path == walk.path for slot in space.slots]
        return np.concatenate([space.to_vector(walk.candidate), here]).astype(np.float32)

    return Target(space, (Objective("score"),), {}, observe, GenericVariation(space))


def planted_score(space: Space, seed: int) -> Callable[[Candidate], float]:
    """A score whose optimum is one planted candidate; each decision counts by its distance in the vector view."""
    goal = space.to_vector(space.sample(np.random.default_rng((seed, 99))))
    return lambda candidate: -float(np.abs(space.to_vector(candidate) - goal).mean())


def _check_contract(factory: Factory, options: dict[str, Any], name: str, space: Space, trials: int) -> None:
    score = planted_score(space, 1)
    for parallel in (1, 8):

        def play(evaluate: Callable[[Candidate], float | None] = score, **how: Any) -> list[Trial]:
            searcher = factory(target_of(space), stream(0, "build"), **options)
            return simulate(searcher, evaluate, trials, parallel=parallel, **how)  # noqa: B023

        where = f"{name} space, parallel {parallel}"
        whole = play(watch=_pure(where))
        for trial in whole:
            assert trial.candidate in space, f"{where}: trial {trial.number} is not in the space: {trial.candidate}"
            assert json.loads(json.dumps(trial.note)) == trial.note, (
                f"{where}: a note is not what JSON gives back: {trial.note}"
            )
        assert _same(play(), whole), f"{where}: the same seed gives another search"
        assert _same(play(shuffled=True), whole), f"{where}: the order of completion changes the search"
        for cut in range(0, len(whole), max(1, len(whole) // 10)):
            recorded = {trial.number: trial for trial in whole[:cut]}
            assert _same(play(recorded=recorded), whole), f"{where}: resumed after {cut} trials it goes another way"
        failing = play(lambda candidate: None if hash_of(candidate) % 3 == 0 else score(candidate))
        assert all(trial.candidate in space for trial in failing), f"{where}: failed trials lead out of the space"
        failed = play(lambda candidate: None)
        assert len(failed) > 0, f"{where}: nothing is asked when every trial fails"


def _pure(where: str) -> Callable[[Searcher, int, list[Proposal]], None]:
    """A watcher that asks twice more and compares answers, and the searcher before and after."""

    def watch(searcher: Searcher, number: int, pending: list[Proposal]) -> None:
        before = fingerprint(searcher)
        first = searcher.ask(number, pending, stream(0, "ask", number))
        second = searcher.ask(number, pending, stream(0, "ask", number))
        assert first == second, f"{where}: ask {number} answers differently when asked again"
        assert fingerprint(searcher) == before, f"{where}: ask {number} changed the searcher"

    return watch


def _same(left: list[Trial], right: list[Trial]) -> bool:
    return [(t.number, t.candidate, t.note) for t in left] == [(t.number, t.candidate, t.note) for t in right]


def hash_of(candidate: Candidate) -> int:
    """A number that is the same in every process."""
    return int(hashlib.blake2b(json.dumps(candidate, sort_keys=True).encode(), digest_size=4).hexdigest(), 16)


def fingerprint(value: Any) -> str:
    """A hash over all that an object holds: attributes, containers, arrays, tensors, random states."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(value, set()):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, seen: set[int]) -> Iterator[bytes]:
    if value is None or isinstance(value, str | bytes | int | float | bool):
        yield repr(value).encode()
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    yield type(value).__name__.encode()
    if isinstance(value, np.ndarray):
        yield value.tobytes()
    elif hasattr(value, "detach"):
        yield value.detach().cpu().numpy().tobytes()
    elif isinstance(value, Target | Space):
        return
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _parts(key, seen)
            yield from _parts(item, seen)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value))).encode()
    elif hasattr(value, "__iter__"):
        for item in copy.copy(value):
            yield from _parts(item, seen)
    elif hasattr(value, "__dict__"):
        yield from _parts(vars(value), seen)


def _check_learns(factory: Factory, options: dict[str, Any], trials: int) -> None:
    """Ten paired seeds on a planted target: the mean of the second half's scores beats random's, p < 0.01."""
    from scipy.stats import wilcoxon

    from automl_ext.baselines.random import Random

    refused = []
    for name in ("number", "choice"):
        space = learning_spaces()[name]
        try:
            factory(target_of(space), stream(0, "build"), **options)
        except ValueError as error:
            refused.append(str(error))
            continue
        gains = []
        for seed in range(10):
            score = planted_score(space, seed)
            values = []
            for kind, own in ((factory, options), (Random, {})):
                searcher = kind(target_of(space), stream(seed, "build"), **own)
                told = simulate(searcher, score, trials, seed=seed)
                best = np.maximum.accumulate([trial.metrics["score"] for trial in told if trial.metrics])
                values.append(float(best[len(best) // 2 :].mean()))
            gains.append(values[0] - values[1])
        p = float(wilcoxon(gains, alternative="greater").pvalue) if any(gains) else 1.0
        assert p < 0.01, f"{name} space: not better than random on a planted target (10 seeds, p = {p:.3f})"
    assert len(refused) < 2, f"the searcher refuses every space it could be measured on: {refused}"


def learning_spaces() -> dict[str, Space]:
    """Where a searcher is measured against random: large enough that random does not find the optimum."""
    return {
        "number": Space(*(Integer(f"n{index}", 1, 32) for index in range(8))),
        "choice": Space(*(Choice(f"c{index}", list("abcdef")) for index in range(8))),
    }


__all__ = ["SpaceError", "check_searcher", "fingerprint", "planted_score", "spaces", "target_of"]
