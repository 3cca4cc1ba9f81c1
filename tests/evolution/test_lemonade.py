"""LEMONADE: the properties that its specification lists, each quoted. Densities: test_density.py.

Left out: morphisms, their parameter counts, pruning, distillation and where a child's training starts, which belong to
the target that trains networks.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from fronts import CELLS, COST, CURVE, PROBLEMS, gains, priced, search, volume, whole_front, zdt1
from scipy.stats import spearmanr, wilcoxon

from automl_ext.evolution.lemonade import Lemonade, _Scale
from automl_ext.objective import Objective, front
from automl_ext.searcher import stream
from automl_ext.testing import check_searcher, simulate
from automl_ext.testing.planted import target_of

OBJECTIVES = (Objective("score"), COST)
START = dict.fromkeys((f"edge{index}" for index in range(6)), "b")


def searcher(space=CELLS, objectives=(COST,), **options):
    target = replace(target_of(space, *objectives), references={"small": START})
    return Lemonade(target, stream(0, "build"), **options)


def best_of(trials):
    """Numbers of the trials on the front by brute force, the first of equal candidates only."""
    first = {CELLS.key(trial.candidate): trial for trial in reversed(trials) if trial.metrics}
    kept = sorted(first.values(), key=lambda trial: trial.number)
    return {kept[index].number for index in front([trial.metrics for trial in kept], OBJECTIVES)}


@pytest.mark.parametrize("parallel", [1, 8])
def test_the_population_is_the_front_of_all_that_was_told(parallel):
    """Pareto front equals brute force; no member of P dominates another after any update; with a mock f_exp the front's
    hypervolume never decreases."""
    told, volumes = [], []

    def watch(event, watched, number, pending):
        if event == "tell":
            members = [member.number for member in watched.front]
            assert len(set(members)) == len(members)
            assert not any(a.standing.dominates(b.standing) for a, b in itertools.permutations(watched.front, 2))
            told.append(set(members))
            volumes.append(volume("cells", [(m.standing.values[0], -m.standing.values[1]) for m in watched.front]))

    trials = simulate(searcher(), priced, 100, parallel=parallel, watch=watch)
    assert all(told[number] == best_of(trials[: number + 1]) for number in range(0, 100, 9))
    assert volumes == sorted(volumes) and volumes[-1] > volumes[9]


def test_equal_points_stay_and_equal_candidates_do_not():
    """Equal points do not dominate each other; adding a dominated point changes nothing; duplicates of an architecture
    in P should be skipped."""
    watched = searcher(starts=4)
    simulate(watched, lambda candidate: {"score": 1.0, "cost": 1.0}, 12)
    assert len(watched.front) == 12
    keys = {CELLS.key(CELLS.from_genes(member.genes)) for member in watched.front}
    assert len(keys) == 12


def test_one_at_a_time_only_accepted_children_are_evaluated():
    """Number of expensive evaluations = |P0| + n_gen*n_ac at most; f_cheap is called for all n_pc, f_exp never for
    rejected ones."""
    plans = []

    def watch(event, watched, number, pending):
        if event == "ask":
            plans.append(watched.children)

    trials = simulate(searcher(starts=5, proposed=12, accepted=3), priced, 5 + 3 * 10, watch=watch)
    for first in range(5, 35, 3):
        plan = plans[first]
        assert plans[first] is plans[first + 2] and plan is not plans[first - 1]
        assert len(plan) == len({child.key for child in plan}) == 12
        assert [CELLS.key(t.candidate) for t in trials[first : first + 3]] == [child.key for child in plan[:3]]
        assert [t.parent for t in trials[first : first + 3]] == [child.parent for child in plan[:3]]


def test_parents_are_of_the_front_and_drawn_from_its_gaps():
    """p_P(N) = c / p_KDE(f_cheap(N)), c normalises over P."""
    watched = searcher(starts=6, proposed=500, accepted=1, mutations=9)
    points = iter([(1.0, 1.0), (1.1, 1.1), (1.2, 1.2), (1.3, 1.3), (9.0, 17.0), (0.5, 18.0)])
    simulate(watched, lambda candidate: dict(zip(("score", "cost"), next(points), strict=True)), 6)
    parents = [child.parent for child in watched.children]
    shares = [parents.count(number) / len(parents) for number in range(6)]
    assert shares[5] == 0 and np.allclose(shares[:5], watched.chances, atol=0.07)
    assert shares[4] > 2 * max(shares[:4])


def test_accepted_children_fill_gaps_too():
    """p_child(N) = c' / p_KDE(f_cheap(N)): parents and children from sparsely covered regions are preferred."""
    watched = searcher(starts=20, proposed=64, accepted=8, mutations=3)
    simulate(watched, priced, 20)
    costs = [priced(CELLS.from_genes(child.genes))["cost"] for child in watched.children]
    held = np.array([-member.standing.values[1] for member in watched.front])
    gaps = [np.abs(held - cost).min() for cost in costs]
    assert np.mean(gaps[:16]) > np.mean(gaps[-16:])


@pytest.mark.parametrize(("problem", "space"), [(priced, CELLS), (zdt1, CURVE)])
def test_cheap_objectives_are_predicted_well(problem, space):
    """Cheap: read off the architecture. Here they are learned; what counts is who is larger than whom."""
    rng = np.random.default_rng(0)
    known, new = ([space.sample(rng) for _ in range(60)] for _ in range(2))
    truth = np.array([[problem(candidate)["cost"]] for candidate in new])
    scale = _Scale(np.array([[problem(candidate)["cost"]] for candidate in known]))
    vectors = [np.array([space.to_vector(candidate) for candidate in each]) for each in (known, new)]
    assert spearmanr(scale.predicted(*vectors)[:, 0], scale(truth)[:, 0]).statistic > 0.95


def test_sizes_are_seen_in_logarithms_where_all_are_positive():
    """KDE on raw parameter counts is dominated by the largest net: use logs."""
    scale = _Scale(np.array([[1.0, 0.0], [100.0, 5.0]]))
    assert np.allclose(scale(np.array([[10.0, 5.0]])), [[np.log(10.0), 5.0]])


@pytest.mark.parametrize("parallel", [1, 8])
def test_nothing_is_evaluated_twice_and_workers_are_busy(parallel):
    """Duplicates of an architecture should be skipped; only the starts are waited for."""
    out = []

    def watch(event, watched, number, pending):
        if event == "finish":
            out.append(len(pending))

    trials = simulate(searcher(), priced, 120, parallel=parallel, watch=watch)
    assert len({CELLS.key(trial.candidate) for trial in trials}) == 120
    assert set(out[10 : 120 - parallel]) == {parallel}


def test_children_inherit_from_parents_that_are_kept():
    def watch(event, watched, number, pending):
        if event == "tell":
            assert {member.number for member in watched.front} <= watched.keep()
            assert {child.parent for child in watched.children} <= watched.keep() | {None}

    trials = simulate(searcher(), priced, 80, watch=watch)
    assert all(trial.parent is not None for trial in trials[10:])
    watched = searcher(inherit=False)
    assert all(trial.parent is None for trial in simulate(watched, priced, 40)) and watched.keep() == set()


def test_a_small_network_may_start():
    """P = initial population of a few small trained nets."""
    trials = simulate(searcher(start="small"), priced, 20)
    assert trials[0].candidate == START and trials[1].parent == 0
    trials = simulate(searcher(start="small"), lambda c: None if c == START else priced(c), 20)
    assert [trial.parent for trial in trials[:2]] == [None, None] and trials[-1].parent is not None


def test_failures_never_enter_the_front():
    def some(candidate):
        bad = {"a": None, "b": {"score": np.nan, "cost": 0.0}, "c": {"score": 1.0, "cost": -np.inf}}
        return bad.get(candidate["edge0"], priced(candidate))

    watched = searcher()
    trials = simulate(watched, some, 100, parallel=8)
    assert watched.front and all(trials[member.number].candidate["edge0"] == "d" for member in watched.front)
    watched = searcher()
    assert len(simulate(watched, lambda candidate: None, 60, parallel=8)) == 60 and not watched.front


def test_limits_come_first():
    watched = searcher(objectives=(Objective("cost", "min", limit=6.0),))
    trials = simulate(watched, priced, 120)
    assert all(trials[member.number].metrics["cost"] <= 6 for member in watched.front)


@pytest.mark.slow
def test_without_cheap_objectives_it_keeps_the_contract():
    check_searcher(Lemonade, options={"starts": 3, "accepted": 1, "proposed": 3}, learns=False, trials=9)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("name", PROBLEMS)
def test_its_front_covers_more_than_random_search(name, parallel):
    won = gains(name, "lemonade", 150, parallel=parallel)
    assert wilcoxon(won, alternative="greater").pvalue < 0.01


@pytest.mark.slow
def test_it_comes_near_to_the_whole_front():
    share = volume("cells", search("cells", "lemonade", 300)) / volume("cells", whole_front())
    assert 0.97 < share <= 1.0 + 1e-12


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"searcher\.cheap: no objective 'macs_m'; the target has score, cost"):
        searcher(cheap=("macs_m",))
    with pytest.raises(ValueError, match=r"searcher\.accepted: from 1 to proposed \(4\), not 5"):
        searcher(proposed=4, accepted=5)
