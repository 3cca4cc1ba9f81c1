"""Tournament evolution: the properties that its two specifications list, each quoted.

Left out: what concerns the graphs and weights of the two papers' networks (mutations of filters and strides, motifs,
inheritance by shape), which belongs to the tasks that bring them; two workers with a lock, which the loop's order
replaces.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from automl_ext.decisions import Choice
from automl_ext.evolution.tournament import Tournament
from automl_ext.objective import Objective
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, target_of

SPACE = Space(*(Choice(f"c{index}", list("abcde")) for index in range(6)))
SCORE = planted_score(SPACE, 0)
HIERARCHICAL = {"share": 0.05, "dies": "nobody", "start": "first", "start_mutations": 50, "inherit": False}


def searcher(space=SPACE, seed=0, **options):
    return Tournament(target_of(space), stream(seed, "build"), **options)


def history(watched, trials, score=SCORE, parallel=1):
    """The trials, and who lived (trial numbers) at each ask and after the last tell."""
    alive = []

    def watch(event, watched, number, pending):
        if event == "ask":
            alive.append([individual.number for individual in watched.alive])

    told = simulate(watched, score, trials, watch=watch, parallel=parallel)
    return told, [*alive, [individual.number for individual in watched.alive]]


def test_a_step_removes_the_loser_of_a_pair_and_the_winner_is_the_parent():
    """Pair step: after one step the loser is absent, the winner is still there, size unchanged, child's parent id =
    winner."""
    trials, alive = history(searcher(population=9), 60)
    for number in range(9, 60):
        gone = set(alive[number]) - set(alive[number + 1])
        assert set(alive[number + 1]) - set(alive[number]) == {number}
        assert gone == {trials[number].note["dies"]} and trials[number].parent in alive[number + 1]
        winner, loser = trials[trials[number].parent], trials[gone.pop()]
        assert winner.metrics["score"] >= loser.metrics["score"]
        assert sum(trials[number].candidate[path] != winner.candidate[path] for path in SPACE.from_genes({})) == 1
        assert len(alive[number + 1]) == 9


def test_the_pair_is_drawn_uniformly():
    """Pick two individuals uniformly at random, compare fitness."""
    watched = searcher(population=5)
    simulate(watched, lambda candidate: 0.0, 5)
    losers = [watched.ask(5, [], stream(seed, "ask", 5)).note["dies"] for seed in range(1000)]
    shares = [losers.count(number) / 1000 for number in range(5)]
    expected = [0.4, 0.3, 0.2, 0.1, 0.0]
    assert np.allclose(shares, expected, atol=0.05)


def test_the_best_of_the_population_never_gets_worse():
    """Max fitness of the population never decreases (only the worse of a pair is removed; fix a rule for ties)."""
    trials, alive = history(searcher(population=6), 80, lambda candidate: round(SCORE(candidate), 2), parallel=4)
    best = [max(trials[number].metrics["score"] for number in members) for members in alive if len(members) >= 6]
    assert best == sorted(best) and best[-1] > best[0]


@pytest.mark.parametrize(("population", "parallel"), [(20, 8), (4, 8), (2, 3)])
def test_no_individual_is_lost_or_killed_twice(population, parallel):
    """Two-worker run with a lock gives no lost or duplicated individual; collisions are simply retried."""
    watched = searcher(population=population)
    trials, _ = history(watched, 60, parallel=parallel)
    assert len(trials) == 60 and len(watched.alive) == population
    dead = [trial.note["dies"] for trial in trials if "dies" in trial.note]
    assert len(set(dead)) == len(dead) == 60 - population
    assert {individual.number for individual in watched.alive} == set(range(60)) - set(dead)


def test_a_doomed_loser_is_in_no_other_tournament():
    """Kill the worse one immediately: also while its replacement is still being trained."""
    watched = searcher(population=12)

    def watch(event, watched, number, pending):
        if event == "ask" and number >= 20:
            doomed = {proposal.note["dies"] for proposal in pending.values()}
            proposal = watched.ask(number, list(pending.values()), stream(5, "ask", number))
            assert proposal.note["dies"] not in doomed and proposal.parent not in doomed

    simulate(watched, SCORE, 80, parallel=8, watch=watch)


def test_only_who_lives_and_finished_gives_weights():
    """Copy the better, mutate once, inherit weights."""
    watched = searcher(population=5)
    trials, _ = history(watched, 40, lambda candidate: None if candidate["c0"] in "abc" else SCORE(candidate))
    assert all(trials[trial.parent].metrics for trial in trials if trial.parent is not None)
    assert watched.keep() == {individual.number for individual in watched.alive}
    assert all(trial.parent is None for trial in history(searcher(population=5), 20, lambda candidate: None)[0])
    assert searcher(inherit=False).keep() == set()


def test_all_start_as_the_same_simple_individual():
    """Initial individual: single linear layer, no convolution. Must stay: trivial initial individuals."""
    trials, _ = history(searcher(population=4, start="first"), 12)
    assert all(set(trial.candidate.values()) == {"a"} for trial in trials[:4])
    assert any(set(trial.candidate.values()) != {"a"} for trial in trials[4:])
    named = replace(target_of(SPACE), references={"net": dict.fromkeys(SPACE.from_genes({}), "d")})
    watched = Tournament(named, stream(0, "build"), population=2, start="net")
    assert set(watched.ask(0, [], stream(0, "ask", 0)).candidate.values()) == {"d"}


def test_the_population_never_shrinks_where_nobody_dies():
    """Population never shrinks; size after n evaluations = init + n; tournament size follows 5%."""
    watched = searcher(population=20, **HIERARCHICAL)
    trials, alive = history(watched, 100)
    assert [len(members) for members in alive] == list(range(101))
    assert all(trial.parent is None and "dies" not in trial.note for trial in trials)
    for size, drawn in ((20, 2), (60, 3), (100, 5)):
        assert len(watched._drawn(watched.alive[:size], np.random.default_rng(0))) == drawn


def test_all_of_the_population_selects_the_best_and_one_is_random():
    """Selection: with S = |P| the parent is the global best; S = 1 is random."""
    watched = searcher(population=10, share=1.0, dies="nobody")
    trials, _ = history(watched, 40)
    for number in range(10, 40):
        assert trials[trials[number].parent].metrics["score"] == max(t.metrics["score"] for t in trials[:number])
    watched = searcher(population=10, sample=1, dies="nobody")
    simulate(watched, SCORE, 10)
    parents = [watched.ask(10, [], stream(seed, "ask", 10)).parent for seed in range(500)]
    assert all(25 < parents.count(number) < 80 for number in range(10))


def test_starts_are_diversified_by_mutations():
    """A trivial genotype, then many random mutations applied to diversify it."""
    trials, _ = history(searcher(population=20, **HIERARCHICAL), 20)
    assert len({SPACE.key(trial.candidate) for trial in trials}) > 15


def test_a_fixed_seed_gives_the_same_lineage():
    """Fixed seed -> identical lineage."""
    assert history(searcher(), 50)[0] == history(searcher(), 50)[0]


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
def test_what_failed_or_is_not_finite_loses(bad):
    watched = searcher(population=8)
    trials, _ = history(watched, 60, lambda candidate: 0.5 if candidate["c0"] in "ab" else bad)
    assert sum(individual.standing.failed for individual in watched.alive) < 4
    for trial in trials[8:]:
        loser = trials[trial.note["dies"]].candidate["c0"] in "ab"
        winner = trial.parent is not None
        assert winner or not loser


def test_limits_come_before_the_objective():
    target = replace(target_of(SPACE), objectives=(Objective("score"), Objective("macs_m", "min", limit=3)))
    watched = Tournament(target, stream(0, "build"), population=2)
    for number, (score, macs) in enumerate([(0.9, 7.0), (0.1, 5.0)]):
        proposal = watched.ask(number, [], stream(0, "ask", number))
        metrics = {"score": score, "macs_m": macs}
        watched.tell(Trial(number, "search", proposal.candidate, proposal.note, None, 0, None, metrics), None)
    proposal = watched.ask(2, [], stream(0, "ask", 2))
    assert (proposal.parent, proposal.note["dies"]) == (1, 0)


@pytest.mark.parametrize(("options", "said"), [({"population": 1}, "population"), ({"sample": 1}, "sample")])
def test_a_fight_needs_two(options, said):
    with pytest.raises(ValueError, match=rf"searcher\.{said}: at least 2"):
        searcher(**options)
