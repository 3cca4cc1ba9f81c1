"""The contract suite over every registered searcher, and over impostors that must fail it."""

from __future__ import annotations

import pytest

from automl_ext.baselines.random import Random
from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.searcher import Proposal
from automl_ext.testing import check_searcher

BASELINES = {"random", "grid"}
OPTIONS = {"ddpg": {"warmup": 25}, "regularized-evolution": {"population": 20, "sample": 5}}
HEAVY = {"ddpg"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in HEAVY)) for n in SEARCHERS])
def test_every_searcher_keeps_the_contract(name):
    check_searcher(searcher_class(name), options=OPTIONS.get(name), learns=name not in BASELINES)


def test_random_in_disguise_fails():
    with pytest.raises(AssertionError, match="not better than random on a planted target"):
        check_searcher(Random)


class Counting(Random):
    """Changes itself in ask."""

    def __init__(self, target, rng):
        super().__init__(target, rng)
        self.asked = []

    def ask(self, number, pending, rng):
        self.asked.append(number)
        return super().ask(number, pending, rng)


class Outside(Random):
    def ask(self, number, pending, rng):
        candidate = self.space.sample(rng)
        return Proposal(dict.fromkeys(candidate, "nowhere"))


class Forgetful(Random):
    """Depends on when results come: counts tells that a resumed run orders differently? No: on the clock."""

    def ask(self, number, pending, rng):
        import time

        return Proposal(self.space.sample(type(rng)(type(rng.bit_generator)(time.perf_counter_ns()))))


class Unwritable(Random):
    def ask(self, number, pending, rng):
        return Proposal(self.space.sample(rng), {"pair": (1, 2)})


class Fragile(Random):
    def tell(self, trial, rng):
        assert trial.metrics["score"] <= 0


@pytest.mark.parametrize(
    ("impostor", "said"),
    [
        (Counting, "ask 0 changed the searcher"),
        (Outside, "is not in the space"),
        (Forgetful, "ask 0 answers differently"),
        (Unwritable, "a note is not what JSON gives back"),
    ],
)
def test_a_broken_searcher_is_told_what_broke(impostor, said):
    with pytest.raises(AssertionError, match=said):
        check_searcher(impostor, learns=False)


def test_a_searcher_that_cannot_take_failures_fails():
    with pytest.raises(TypeError):
        check_searcher(Fragile, learns=False)
