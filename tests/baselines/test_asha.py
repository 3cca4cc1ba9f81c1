"""ASHA: the properties that the specification of baselines lists, each quoted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from automl_ext.baselines.asha import ASHA
from automl_ext.baselines.newcomers import ENOUGH, PARENTS
from automl_ext.baselines.rungs import WAITING, best_first, entry_of
from automl_ext.decisions import Choice, Integer
from automl_ext.objective import Objective
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing.planted import hash_of, planted_score, target_of

SPACE = Space(*(Choice(f"c{index}", list("abcdef")) for index in range(6)))
SCORE = planted_score(SPACE, 0)
BUDGETS = [1.0, 3.0, 9.0, 27.0]


def asha(*others, seed=0, space=SPACE, **options):
    return ASHA(target_of(space, *others), stream(seed, "build"), **options)


def result(proposal):
    """More budget, less error of measurement; a ninth fails; `ms` is at odds with the score."""
    noise = hash_of({**proposal.candidate, "budget": proposal.budget}) / 2**32 - 0.5
    if hash_of(proposal.candidate) % 9 == 0:
        return None
    score = SCORE(proposal.candidate) + 0.3 * noise / proposal.budget
    return {"score": score, "ms": 1.0 + score + 0.2 * noise}


OBJECTIVES = {"one objective": (), "two": (Objective("ms", "min"),), "a limit": (Objective("ms", "min", limit=0.4),)}


def textbook(told, asked, objectives, reduction=3):
    """Algorithm 2 of the paper, written out: (parent, budget) of the promotion that a free worker gets, or None.

    get_job: for k = K-1 ... 0: candidates = top_k(rung k, |rung k| / eta); promotable = those not promoted; if there is
    one, return it at rung k + 1. Otherwise draw a configuration at rung 0.
    """
    for budget in reversed(BUDGETS[:-1]):
        rung = [trial for trial in told if trial.budget == budget]
        inside = [entry for trial in rung if (entry := entry_of(trial, objectives)) is not None]
        for entry in best_first(inside)[: len(rung) // reduction]:
            if all(proposal.parent != entry.number for proposal in asked):
                return entry.number, budget * reduction
    return None


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("others", OBJECTIVES.values(), ids=OBJECTIVES)
def test_promotions_are_those_of_the_textbook(search_budgets, others, parallel):
    """Free worker: from top rung down, if a configuration in the top 1/eta of rung k (by size floor(|rung k|/eta)) is
    not yet promoted -> run it at rung k+1; otherwise start a new random config at rung 0. No idle worker."""
    searcher, asked, promotions = asha(*others), [], 0

    def watch(number, told, pending, proposal):
        nonlocal promotions
        expected = textbook(told, asked, searcher.objectives)
        got = None if proposal.parent is None else (proposal.parent, proposal.budget)
        assert got == expected
        promotions += got is not None
        asked.append(proposal)

    search_budgets(searcher, result, 150, parallel=parallel, watch=watch)
    assert promotions > 30


@pytest.mark.parametrize("parallel", [1, 8])
def test_the_promoted_are_in_the_top_and_never_skip_a_rung(search_budgets, parallel):
    """promoted set of rung k is a subset of top floor(n/eta) at promotion time; a config never skips a rung."""
    searcher = asha()
    values, parents = {}, []

    def watch(number, told, pending, proposal):
        for trial in told[len(values) :]:
            values[trial.number] = trial
        if proposal.parent is None:
            assert proposal.budget == 1.0
            return
        parent = values[proposal.parent]
        assert proposal.candidate == parent.candidate and proposal.budget == 3 * parent.budget
        rung = [trial for trial in told if trial.budget == parent.budget]
        better = [t for t in rung if t.metrics and t.metrics["score"] > parent.metrics["score"]]
        assert len(better) < len(rung) // 3
        parents.append(proposal.parent)

    trials = search_budgets(searcher, result, 300, parallel=parallel, watch=watch)
    assert len(set(parents)) == len(parents), "a trial was promoted twice"
    counts = [sum(trial.budget == budget for trial in trials) for budget in BUDGETS]
    assert all(counts) and counts[3] > 3
    assert all(trials[number].metrics for number in parents), "a failed trial was promoted"


def test_a_rung_of_good_results_promotes_at_most_a_third_of_it(search_budgets):
    """At no time is more than floor(|rung|/eta) of a rung promoted where results come from best to worst."""
    falling = iter(range(10_000, 0, -1))
    searcher = asha()

    def watch(number, told, pending, proposal):
        for budget in BUDGETS[:-1]:
            size = sum(trial.budget == budget for trial in told)
            gone = sum(t.budget == 3 * budget for t in (*told, *pending.values(), proposal))
            assert gone <= size // 3

    search_budgets(searcher, lambda proposal: {"score": float(next(falling))}, 200, parallel=8, watch=watch)


def test_an_equal_candidate_counts_once(search_budgets):
    searcher = asha(space=Space(Choice("a", [1, 2, 3, 4])))
    trials = search_budgets(searcher, lambda proposal: {"score": float(proposal.candidate["a"])}, 40)
    newcomers = [trial.candidate["a"] for trial in trials if trial.parent is None]
    assert set(newcomers[:4]) == {1, 2, 3, 4} and len(newcomers) > 30
    assert searcher.rungs[0].size == 4
    promoted = [trial.candidate["a"] for trial in trials if trial.parent is not None]
    assert len(promoted) == len(set(promoted)) and 4 in promoted


def test_two_out_at_once_are_not_equal():
    searcher = asha(space=Space(Choice("a", list(range(9)))))
    pending = []
    for number in range(8):
        pending.append(searcher.ask(number, pending, stream(0, "ask", number)))
    assert len({proposal.candidate["a"] for proposal in pending}) == 8


def test_what_is_kept_is_bounded_and_every_parent_is_in_it(search_budgets):
    searcher = asha(space=Space(Integer("a", 0, 10**6), Integer("b", 0, 10**6)))

    def watch(number, told, pending, proposal):
        assert len(searcher.keep()) <= 3 * WAITING
        assert proposal.parent is None or proposal.parent in searcher.keep()

    search_budgets(searcher, lambda p: {"score": float(hash_of(p.candidate))}, 1000, parallel=8, watch=watch)
    assert len(searcher.keep()) > WAITING


def test_newcomers_are_bred_from_the_highest_rung_with_enough_results(search_budgets):
    """One gene away from one of the five best there; a tenth is random, and what is known is mutated further."""
    searcher = asha(sampler="evolution")
    near = far = early = 0

    def watch(number, told, pending, proposal):
        nonlocal near, far, early
        if proposal.parent is not None:
            return
        ready = [
            rung
            for budget in BUDGETS
            if len(rung := [trial for trial in told if trial.budget == budget and trial.metrics]) >= ENOUGH
        ]
        if not ready:
            early += 1
            return
        best = sorted(ready[-1], key=lambda trial: (-trial.metrics["score"], trial.number))[:PARENTS]
        apart = min(sum(proposal.candidate[path] != t.candidate[path] for path in t.candidate) for t in best)
        near, far = near + (apart <= 1), far + (apart > 1)

    search_budgets(searcher, result, 300, watch=watch)
    assert early >= ENOUGH and near > 80 and 0 < far < 0.5 * near


@pytest.mark.slow
def test_breeding_finds_better_ones_than_drawing_at_random(search_budgets):
    """At the largest budget, paired over seeds."""
    space = Space(*(Choice(f"c{index}", list("abcdef")) for index in range(8)))
    best = {}
    for sampler in ("random", "evolution"):
        for seed in range(10):
            score = planted_score(space, seed)

            def evaluate(proposal, score=score):
                noise = hash_of({**proposal.candidate, "budget": proposal.budget}) / 2**32 - 0.5
                return {"score": score(proposal.candidate) + 0.1 * noise / proposal.budget}

            trials = search_budgets(asha(seed=seed, space=space, sampler=sampler), evaluate, 150, seed=seed)
            best[sampler, seed] = max(score(trial.candidate) for trial in trials if trial.budget == 27.0)
    gains = [best["evolution", seed] - best["random", seed] for seed in range(10)]
    assert wilcoxon(gains, alternative="greater").pvalue < 0.01


def test_two_objectives_spread_over_the_front(search_budgets):
    """What reaches the largest budget does not crowd at one end of the front."""
    space = Space(Integer("a", 0, 100), Integer("b", 0, 100))
    searcher = asha(Objective("ms", "min"), space=space, max_budget=9.0)
    trials = search_budgets(
        searcher,
        lambda p: {"score": p.candidate["a"] - 0.5 * p.candidate["b"], "ms": p.candidate["a"] + 0.5 * p.candidate["b"]},
        300,
        parallel=8,
    )
    top = [trial for trial in trials if trial.budget == 9.0]
    assert np.ptp([trial.metrics["ms"] for trial in top]) > 60
    newcomers = [trial for trial in trials if trial.parent is None]
    assert np.mean([t.candidate["b"] for t in top]) < 0.7 * np.mean([t.candidate["b"] for t in newcomers])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_budget": 9.0, "max_budget": 3.0}, r"searcher.min_budget: above 0 and at most max_budget \(3\), not 9"),
        ({"reduction": 1}, "searcher.reduction: at least 2"),
        ({"sampler": "best"}, "searcher.sampler: random or evolution, not 'best'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        asha(**options)
