"""NSGA-II and NSGA-Net: the properties that their specification lists, each quoted.

Left out: bit counts, repairs of phases, common-bit crossover and mult-adds, which belong to the target that brings
NSGA-Net's bit strings and their variation.
"""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from fronts import CELLS, COST, gains, priced, search, volume, whole_front
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from automl_ext.decisions import Choice
from automl_ext.evolution.chain import Chain
from automl_ext.evolution.nsga2 import NSGA2, Individual, pairs, survivors
from automl_ext.evolution.standing import Standing
from automl_ext.evolution.variation import GenericVariation
from automl_ext.objective import Objective
from automl_ext.searcher import Proposal, Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, spaces, target_of


def searcher(space=CELLS, objectives=(COST,), **options):
    return NSGA2(target_of(space, *objectives), stream(0, "build"), **options)


def crowd(points, violations=None):
    violations = violations or [0.0] * len(points)
    return [
        Individual({"name": index}, Standing(violation, tuple(map(float, point))))
        for index, (point, violation) in enumerate(zip(points, violations, strict=True))
    ]


def ranks(individuals):
    """Number of the front of each individual, by peeling."""
    left, found, front = set(range(len(individuals))), {}, 0
    while left:
        first = {
            i for i in left if not any(individuals[j].standing.dominates(individuals[i].standing) for j in left - {i})
        }
        found |= dict.fromkeys(first, front)
        left, front = left - first, front + 1
    return found


def crowding(points):
    """The distance by its definition: ends infinite, inside the sum of the gaps over the range."""
    distances = np.zeros(len(points))
    for values in np.transpose(points):
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        distances[order[[0, -1]]] = np.inf
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            distances[here] += (values[after] - values[before]) / span if span else 0.0
    return distances


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_survivors_are_whole_fronts_in_order(dimensions):
    """Sort and crowding agree with brute force on random sets with ties; survivors of 2N are exactly N; a non-dominated
    point is never dropped while a dominated one stays."""
    rng = np.random.default_rng(dimensions)
    for _ in range(30):
        individuals = crowd(rng.integers(0, 6, (20, dimensions)), list(rng.integers(0, 2, 20) * 0.5))
        front = ranks(individuals)
        kept = [individual.genes["name"] for individual in survivors(individuals, 10)]
        assert len(set(kept)) == len(kept) == 10
        lost = set(front) - set(kept)
        assert max(front[name] for name in kept) <= min(front[name] for name in lost)


def test_of_the_last_front_the_least_crowded_stay():
    """Crowding: per objective, sort the front, ends = infinity, inside add (f[i+1]-f[i-1])/(max-min)."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        first = np.sort(rng.random(12))
        points = np.column_stack([first, 1 - first**2])
        kept = {individual.genes["name"] for individual in survivors(crowd(points), 7)}
        distances = crowding(points)
        assert kept == set(np.argsort(-distances, kind="stable")[:7].tolist())
        assert {0, 11} <= kept


def test_limits_come_before_objectives():
    individuals = crowd([(9, 9), (1, 1), (8, 8), (0, 2), (7, 7)], [2.0, 0.0, 1.0, 0.0, np.inf])
    assert {i.genes["name"] for i in survivors(individuals, 2)} == {1, 3}
    assert [i.genes["name"] for i in survivors(individuals, 5)][2:] == [2, 0, 4]


def test_no_tournament_returns_a_dominated_loser():
    """Tournament never returns a dominated loser; two random permutations of the population: nobody wins more than
    twice in a round."""
    chain = crowd([(index, index) for index in range(8)])
    for seed in range(50):
        wins = Counter(
            individual.genes["name"] for pair in pairs(chain, 4, np.random.default_rng(seed)) for individual in pair
        )
        assert 0 not in wins and wins[7] == 2 and max(wins.values()) <= 2 and sum(wins.values()) == 8


@pytest.mark.parametrize("size", [4, 5, 6, 7, 9])
def test_a_population_that_is_no_multiple_of_four_has_its_pairs(size):
    """With N not a multiple of 4 the pairing loop drops or repeats parents; handle short generations."""
    assert len(pairs(crowd(np.random.default_rng(0).random((size, 2))), size, np.random.default_rng(0))) == size
    watched = searcher(population=size)
    assert len(simulate(watched, priced, 5 * size)) == 5 * size and len(watched.parents) == size


def test_one_at_a_time_it_is_the_generational_algorithm():
    """parents + children -> fast non-dominated sort; fill fronts in order; all children of a generation come from the
    parents that the generation before left."""
    populations = []

    def watch(event, watched, number, pending):
        if event == "ask":
            populations.append((watched.parents, watched.mating))

    simulate(searcher(population=8), priced, 48, watch=watch)
    for start in range(8, 48, 8):
        generation = populations[start : start + 8]
        assert all(parents is generation[0][0] and len(parents) == 8 for parents, _ in generation)
        assert all(mating is generation[0][1] and len(mating) == 4 for _, mating in generation)
        assert generation[0][0] is not populations[start - 1][0]


@pytest.mark.parametrize(("offspring", "length"), [(0, 8), (1, 1), (3, 3)])
def test_generations_have_the_wanted_length(offspring, length):
    """Offspring 1 = steady state."""
    watched, changes = searcher(population=8, offspring=offspring), []

    def watch(event, watched, number, pending):
        if event == "tell":
            changes.append(id(watched.mating))

    simulate(watched, priced, 40, watch=watch)
    ends = [number for number in range(8, 40) if changes[number] != changes[number - 1]]
    assert ends == list(range(7 + length, 40, length))


def test_workers_are_never_idle():
    out = []

    def watch(event, watched, number, pending):
        if event == "finish":
            out.append(len(pending))

    trials = simulate(searcher(population=12), priced, 60, parallel=8, watch=watch)
    assert out[: 60 - 8] == [8] * (60 - 8) and len(trials) == 60


@pytest.mark.parametrize("parallel", [1, 8])
def test_nothing_is_evaluated_twice(parallel):
    """Archive: no network evaluated twice."""
    trials = simulate(searcher(), priced, 200, parallel=parallel)
    assert len({CELLS.key(trial.candidate) for trial in trials}) == 200


def test_equal_meanings_count_as_equal():
    """Same network, different bits: compare decoded graphs (canonical form), not strings, or budget is wasted."""
    space = Space(
        *(Choice(f"c{index}", list("abcd")) for index in range(6)),
        canonical=lambda c: dict(zip(c, sorted(c.values()), strict=True)),
    )
    trials = simulate(searcher(space, ()), planted_score(space, 0), 40)
    assert len({space.key(trial.candidate) for trial in trials}) == 40


def test_a_space_that_is_used_up_goes_on():
    tiny = Space(Choice("a", [1, 2]), Choice("b", [1, 2]))
    assert len(simulate(searcher(tiny, ()), planted_score(tiny, 0), 40, parallel=8)) == 40


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(sorted(spaces())), seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 6))
def test_crossover_always_yields_a_legal_candidate(kind, seed, depth):
    space, rng = spaces()[kind], np.random.default_rng(seed)
    variation = GenericVariation(space)
    genes = [variation.sample(rng), space.sample(rng)]
    for _ in range(depth):
        genes.append(variation.crossover(genes[-1], genes[-2], rng))
        genes.append(variation.mutate(genes[-1], rng))
        for made in genes[-2:]:
            space.check(space.from_genes(made))
            assert json.loads(json.dumps(made)) == made


def test_without_crossover_and_mutation_a_child_differs_all_the_same():
    watched = searcher(crossover=0.0, mutations=0.0, population=6)
    trials = simulate(watched, priced, 60)
    assert len({CELLS.key(trial.candidate) for trial in trials}) == 60


def exploiting(trials=60, explore=20, **options):
    space = Space(*(Choice(f"bit{index}", [0, 1]) for index in range(9)))
    watched = searcher(space, (), population=10, explore=explore, **options)
    return space, watched, simulate(watched, lambda c: float(sum(c.values())), trials)


def test_exploitation_samples_what_it_saw_in_the_better_half():
    """Exploitation samples only phases seen in the base, and only (ph1, ph2) and (ph2, ph3) pairs seen there."""
    space, watched, trials = exploiting(20)
    assert watched.chain.ready
    chosen = survivors([Individual(t.note["genes"], Standing(0.0, (t.metrics["score"],))) for t in trials], 10)
    values = [tuple(space.from_genes(i.genes).values()) for i in chosen]
    for seed in range(300):
        drawn = tuple(space.from_genes(watched.chain.draw(np.random.default_rng(seed))).values())
        assert any(drawn[:6] == seen[:6] for seen in values) or (
            any(drawn[:3] == seen[:3] for seen in values) and any(drawn[3:6] == seen[3:6] for seen in values)
        )
        assert any(drawn[3:] == seen[3:] for seen in values)


def test_the_chain_counts():
    """phase 1 ~ empirical P(ph1), phase 2 ~ P(ph2 | ph1)."""
    chain = Chain(["a", "b"], 2)
    chain.fit([{"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": 0, "b": 1}, {"a": 1, "b": 5}])
    drawn = Counter(tuple(chain.draw(np.random.default_rng(seed)).values()) for seed in range(4000))
    assert set(drawn) == {(0, 0), (0, 1), (1, 5)}
    assert abs(drawn[0, 1] - 2000) < 150 and abs(drawn[1, 5] - 1000) < 150


def test_exploitation_begins_when_it_is_told_to_and_evaluates_nothing_twice():
    """Retry up to 20 times if the combination is already in the archive; evaluate N new ones."""
    space, watched, trials = exploiting(100, 50)
    assert len({space.key(trial.candidate) for trial in trials}) == 100
    assert not exploiting(40, 50)[1].chain.ready and watched.chain.ready
    assert not exploiting(60, 0)[1].chain.ready


def test_failures_keep_generations_whole_and_never_win():
    """NaN compares as better in both directions: it enters behind all others and never as NaN."""
    watched = searcher(population=8)

    def some(candidate):
        bad = {"a": None, "b": {"score": np.nan, "cost": 0.0}}
        return bad.get(candidate["edge0"], priced(candidate))

    simulate(watched, some, 80, parallel=8)
    assert len(watched.parents) == 8
    assert all(np.isfinite(individual.standing.violation) for individual in watched.parents)


def test_a_limit_is_kept_where_it_can_be():
    watched = NSGA2(target_of(CELLS, Objective("cost", "min", limit=6.0)), stream(0, "build"))
    trials = simulate(watched, priced, 150)
    assert all(individual.standing.violation == 0 for individual in watched.parents)
    kept = [trial.metrics["cost"] <= 6 for trial in trials]
    assert np.mean(kept[100:]) > 0.5 > np.mean(kept[:20])


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("name", ["cells", "curve"])
def test_its_front_covers_more_than_random_search(name, parallel):
    won = gains(name, "nsga2", 200, parallel=parallel)
    assert wilcoxon(won, alternative="greater").pvalue < 0.01


def test_it_comes_near_to_the_whole_front():
    share = volume("cells", search("cells", "nsga2", 400)) / volume("cells", whole_front())
    assert 0.97 < share <= 1.0 + 1e-12


def test_asks_stay_cheap():
    """An ask looks at the parents and what is pending; what is held does not grow, but for the archive of keys."""
    watched = searcher(Space(*(Choice(f"c{index}", list("abcdef")) for index in range(12))))
    for number in range(60):
        proposal = watched.ask(number, [], stream(0, "ask", number))
        metrics = {"score": float(number % 7), "cost": float(number % 5)}
        trial = Trial(number, "search", proposal.candidate, proposal.note, None, 0, None, metrics)
        watched.tell(trial, stream(0, "tell", number))
    held = (len(watched.parents), len(watched.children), len(watched.mating), len(watched.pool))
    assert held == (16, 12, 8, 0)
    assert isinstance(watched.ask(60, [], stream(0, "ask", 60)), Proposal)


def test_sizes_below_four_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        searcher(population=3)
