"""Random search that changes the best: which ones it starts from, and how often; its contract: test_searchers.py."""

from __future__ import annotations

import numpy as np
import pytest

from automl_ext import Integer, Objective, Space
from automl_ext.baselines.perturbed import Perturbed
from automl_ext.evolution.variation import GenericVariation
from automl_ext.searcher import Target, stream
from automl_ext.testing import simulate

SPACE = Space(*(Integer(name, 0, 9) for name in "abcdef"))
TARGET = Target(SPACE, (Objective("score"),), {}, lambda walk: np.zeros(1, np.float32), GenericVariation(SPACE))


def score(candidate):
    return {"score": -float(sum(abs(value - 4) for value in candidate.values()))}


def test_others_than_random_ones_are_one_change_off_one_of_the_best():
    searcher = Perturbed(TARGET, stream(0, "build"), random=0.0, best=2)
    told = simulate(searcher, score, 30, parallel=1)
    for number, trial in enumerate(told[1:], 1):
        before = sorted(told[:number], key=lambda each: (-each.metrics["score"], each.number))[:2]
        apart = [sum(trial.candidate[path] != each.candidate[path] for path in "abcdef") for each in before]
        assert 1 in apart


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_random_ones(share):
    searcher = Perturbed(TARGET, stream(0, "build"), random=share, best=1)
    searcher.best = [((0.0, 0.0), 0, dict.fromkeys("abcdef", 4))]
    asked = [searcher.ask(number, [], stream(0, "ask", number)).candidate for number in range(200)]
    near = sum(sum(value != 4 for value in candidate.values()) == 1 for candidate in asked) / 200
    assert abs(near - (1 - share)) < 0.1


def test_failed_trials_are_never_changed():
    searcher = Perturbed(TARGET, stream(0, "build"), random=0.5)
    simulate(searcher, lambda candidate: None if candidate["a"] % 2 else score(candidate), 20)
    assert searcher.best and all(not genes["a"] % 2 for *_, genes in searcher.best)
    assert len(searcher.best) <= 5 and searcher.best == sorted(searcher.best, key=lambda each: each[:2])


@pytest.mark.parametrize("options", [{"random": 1.5}, {"best": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"searcher.{next(iter(options))}"):
        Perturbed(TARGET, stream(0, "build"), **options)
