"""Successive halving and Hyperband: the properties that the specification of baselines lists, each quoted."""

from __future__ import annotations

import itertools

import pytest

from automl_ext.baselines.halving import SuccessiveHalving
from automl_ext.baselines.hyperband import Hyperband, brackets
from automl_ext.baselines.rungs import best_first, entry_of, ladder
from automl_ext.decisions import Choice
from automl_ext.objective import Objective
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing.planted import hash_of, planted_score, target_of

SPACE = Space(*(Choice(f"c{index}", list("abcdef")) for index in range(6)))
SCORE = planted_score(SPACE, 0)


def halving(*others, **options):
    return SuccessiveHalving(target_of(SPACE, *others), stream(0, "build"), **options)


def hyperband(*others, **options):
    return Hyperband(target_of(SPACE, *others), stream(0, "build"), **options)


def result(proposal):
    noise = hash_of({**proposal.candidate, "budget": proposal.budget}) / 2**32 - 0.5
    score = SCORE(proposal.candidate) + 0.3 * noise / proposal.budget
    return {"score": score, "ms": 1.0 + score + 0.2 * noise}


def rungs_of(trials):
    """Runs of trials at one budget."""
    return [list(group) for _, group in itertools.groupby(trials, key=lambda trial: trial.budget)]


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("others", [(), (Objective("ms", "min"),)], ids=["one objective", "two"])
@pytest.mark.parametrize("candidates", [27, 34, 50])
def test_a_bracket_is_the_textbooks(search_budgets, candidates, others, parallel):
    """Successive halving (n, r, eta): n_i = floor(n*eta^-i) configs with r_i = r*eta^i; keep the top floor(n_i/eta).
    SH: survivors per rung = floor; never resumes a dropped config."""
    searcher = halving(*others, candidates=candidates)
    sizes = [candidates // 3**level for level in range(4)]
    trials = search_budgets(searcher, result, 2 * sum(sizes), parallel=parallel)
    found = rungs_of(trials)
    assert [len(rung) for rung in found] == 2 * sizes
    assert [rung[0].budget for rung in found] == 2 * [1.0, 3.0, 9.0, 27.0]
    for lower, upper in itertools.pairwise(found):
        if upper[0].budget == 1.0:
            assert all(trial.parent is None for trial in upper)
            continue
        ranked = best_first([entry_of(trial, searcher.objectives) for trial in lower])
        assert [trial.parent for trial in upper] == [entry.number for entry in ranked[: len(lower) // 3]]
        assert [trial.candidate for trial in upper] == [trials[trial.parent].candidate for trial in upper]


def test_nothing_is_asked_before_a_rung_is_complete(search_budgets):
    """Synchronous: the last results of a rung are awaited with None, and None never comes with nothing pending."""
    waits = 0

    def watch(number, told, pending, proposal):
        nonlocal waits
        if proposal is None:
            waits += 1
            assert pending
        elif pending:
            assert {other.budget for other in pending.values()} == {proposal.budget}

    search_budgets(halving(), result, 80, parallel=8, watch=watch)
    assert waits > 8


def test_failed_trials_count_in_the_rung_and_do_not_go_on(search_budgets):
    def evaluate(proposal):
        return None if proposal.candidate["c0"] in "abcde" else result(proposal)

    trials = search_budgets(halving(), evaluate, 200, parallel=8)
    assert all(trials[trial.parent].metrics for trial in trials if trial.parent is not None)
    found = rungs_of(trials)
    for lower, upper in itertools.pairwise(found[:-1]):
        alive = sum(trial.metrics is not None for trial in lower)
        if upper[0].budget > lower[0].budget:
            assert len(upper) == min(len(lower) // 3, alive)
    assert len(found) > 4


def test_where_all_fail_a_new_bracket_starts(search_budgets):
    trials = search_budgets(halving(max_budget=9.0), lambda proposal: None, 40, parallel=8)
    assert len(trials) == 40 and {trial.budget for trial in trials} == {1.0}


@pytest.mark.parametrize(
    ("most", "table"),
    [
        (81, [(81, 1), (34, 3), (15, 9), (8, 27), (5, 81)]),
        (27, [(27, 1), (12, 3), (6, 9), (4, 27)]),
        (9, [(9, 1), (5, 3), (3, 9)]),
    ],
)
def test_the_table_of_brackets_is_the_papers(most, table):
    """R=81, eta=3 gives (n,r): (81,1),(34,3),(15,9),(8,27),(5,81). R=27: (27,1),(12,3),(6,9),(4,27). (R=9: (9,1),(5,3),
    (3,9))."""
    assert [(n, budgets[0]) for n, budgets in brackets(ladder(1, most, 3), 3)] == table


@pytest.mark.parametrize("parallel", [1, 8])
def test_hyperband_runs_its_brackets_in_turn(search_budgets, parallel):
    """for s = s_max..0: n = ceil((B/R) * eta^s/(s+1)), r = R*eta^-s; run SH. And again from s_max."""
    sizes = [(9, 1), (3, 3), (1, 9), (5, 3), (1, 9), (3, 9)]
    searcher = hyperband(max_budget=9.0)
    trials = search_budgets(searcher, result, 2 * sum(size for size, _ in sizes), parallel=parallel)
    place = 0
    for size, budget in 2 * sizes:
        rung = trials[place : place + size]
        assert [trial.budget for trial in rung] == [float(budget)] * size
        place += size
    for trial in trials:
        if trial.parent is not None:
            assert trials[trial.parent].budget * 3 == trial.budget


def test_a_bracket_spends_at_most_its_share(search_budgets):
    """total budget <= (s_max+1)*R per bracket (up to rounding): a promotion continues, so it pays the difference."""
    table = brackets(ladder(1, 81, 3), 3)
    trials = iter(search_budgets(hyperband(max_budget=81.0), result, 81 + 27 + 9 + 3 + 1 + 34 + 11 + 3 + 1))
    for count, budgets in table[:2]:
        spent = fresh = 0.0
        for level, budget in enumerate(budgets):
            for _ in range(count // 3**level):
                trial = next(trials)
                assert trial.budget == budget
                spent += budget - (budget / 3 if trial.parent is not None else 0)
                fresh += budget
        assert spent < fresh <= 5 * 81


@pytest.mark.parametrize("make", [halving, hyperband])
def test_what_is_kept_is_the_open_rung(search_budgets, make):
    searcher = make()

    def watch(number, told, pending, proposal):
        assert len(searcher.keep()) <= 27
        assert proposal is None or proposal.parent is None or proposal.parent in searcher.keep()

    search_budgets(searcher, result, 120, parallel=8, watch=watch)


@pytest.mark.parametrize("make", [halving, hyperband])
def test_bred_newcomers_are_near_the_best(search_budgets, make):
    """`sampler: evolution`: from the second bracket on most newcomers are better than random ones."""
    trials = search_budgets(make(sampler="evolution"), result, 300, parallel=8)
    newcomers = [SCORE(trial.candidate) for trial in trials if trial.parent is None]
    first, last = newcomers[:27], newcomers[-27:]
    assert sum(last) / 27 > sum(first) / 27 + 0.05


def test_so_few_candidates_that_none_reaches_the_top_are_refused():
    with pytest.raises(ValueError, match=r"searcher\.candidates: at least 27, so that one reaches max_budget, not 26"):
        halving(candidates=26)
