"""NASH's hill climbing: the properties that its specification lists, each quoted.

Left out: morphisms, gradients, skips and learning rates, which belong to the target that trains networks; the number of
training calls before and after the rounds, which is the loop's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl_ext.decisions import Choice
from automl_ext.evolution.hill_climbing import HillClimbing
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, target_of

SPACE = Space(*(Choice(f"c{index}", list("abcde")) for index in range(8)))
SCORE = planted_score(SPACE, 0)
START = dict.fromkeys((f"c{index}" for index in range(8)), "c")


def searcher(**options):
    target = replace(target_of(SPACE), references={"small": START})
    return HillClimbing(target, stream(0, "build"), **options)


def rounds(trials, first, length):
    return [trials[start : start + length] for start in range(first, len(trials), length)]


def distance(one, two):
    return sum(one[path] != two[path] for path in one)


@pytest.mark.parametrize("parallel", [1, 3, 8])
def test_a_round_has_one_unchanged_child_and_the_best_replaces(parallel):
    """Exactly one child per step is an unmorphed copy; n_neigh children in all. Hill climbing with a mock evaluator
    picks the argmax; with ties prefers a fixed rule."""
    watched = searcher(start="small", neighbours=6)
    trials = simulate(watched, lambda candidate: round(SCORE(candidate), 1), 1 + 6 * 9, parallel=parallel)
    best = trials[0]
    assert best.candidate == START and best.parent is None
    for children in rounds(trials, 1, 6):
        assert len(children) == 6 and all(child.parent == best.number for child in children)
        assert [distance(child.candidate, best.candidate) for child in children] == [1] * 5 + [0]
        assert len({SPACE.key(child.candidate) for child in children}) == 6
        best = max(children, key=lambda child: (child.metrics["score"], -child.number))
    assert watched.best == best


def test_children_are_changed_from_the_best_and_not_from_each_other():
    """A re-implementation that mutates the best model in place for successive neighbours compounds the morphisms."""
    trials = simulate(searcher(start="small", neighbours=8, mutations=5), SCORE, 1 + 8 * 10)
    best = trials[0]
    for children in rounds(trials, 1, 8):
        assert all(distance(child.candidate, best.candidate) <= 5 for child in children)
        assert max(distance(child.candidate, best.candidate) for child in children) > 2
        best = max(children, key=lambda child: (child.metrics["score"], -child.number))


def test_the_best_so_far_may_be_lost_to_a_noisy_round():
    """best-so-far validation is not guaranteed to be monotone because children are re-trained (test that the code does
    not pretend it is)."""
    values = iter([0.9, 0.1, 0.2, 0.3, *[0.0] * 99])
    watched = searcher(start="small", neighbours=3)
    simulate(watched, lambda candidate: next(values), 4)
    assert watched.best.number == 3 and watched.best.metrics == {"score": 0.3}


@pytest.mark.parametrize("parallel", [3, 8])
def test_a_round_ends_before_the_next_begins(parallel):
    waits = []

    def watch(event, watched, number, pending):
        if event == "ask":
            index = watched.count + len(pending)
            waits.append(index)
            answer = watched.ask(number, list(pending.values()), stream(0, "ask", number))
            assert (answer is None) == (index >= watched._length())
            assert answer is not None or pending

    simulate(searcher(neighbours=5, starts=4), SCORE, 60, parallel=parallel, watch=watch)
    assert max(waits) == 5


def test_the_first_round_takes_the_best_of_random_starts():
    watched = searcher(starts=7)
    trials = simulate(watched, SCORE, 7)
    assert watched.best == max(trials, key=lambda trial: trial.metrics["score"]) and watched.round == 1
    assert len({SPACE.key(trial.candidate) for trial in trials}) == 7


def test_a_start_that_fails_is_left_by_mutations():
    watched = searcher(start="small", neighbours=4)
    trials = simulate(watched, lambda candidate: None if candidate == START else SCORE(candidate), 6)
    assert trials[0].metrics is None and distance(trials[1].candidate, START) == 1
    assert [trial.parent for trial in trials] == [None, None, 1, 1, 1, 1]


def test_a_round_of_failures_keeps_the_best():
    watched = searcher(start="small", neighbours=4)
    simulate(watched, lambda candidate: 1.0 if candidate == START else None, 1 + 4 * 3)
    assert watched.best.candidate == START and watched.round == 4
    watched = searcher(start="small", neighbours=4, unchanged=False)
    simulate(watched, lambda candidate: 1.0 if candidate == START else np.nan, 1 + 4 * 3)
    assert watched.best.number == 0 and watched.round == 4


def test_weights_of_the_best_and_of_who_may_replace_it_are_kept():
    def watch(event, watched, number, pending):
        if event == "tell":
            wanted = {trial.number for trial in (watched.best, watched.leader) if trial}
            assert watched.keep() == wanted and wanted

    simulate(searcher(neighbours=4, starts=3), SCORE, 40, parallel=4, watch=watch)
    trials = simulate(searcher(inherit=False), SCORE, 40)
    assert all(trial.parent is None for trial in trials)


@pytest.mark.parametrize("option", ["neighbours", "mutations", "starts"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(ValueError, match=rf"searcher\.{option}: at least 1"):
        searcher(**{option: 0})
