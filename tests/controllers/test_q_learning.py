"""MetaQNN's Q-learning: the properties that its specification lists, each quoted.

Left out: "Dropout probabilities are i/(2n)" and the transition rules of its layers (no P-P, FC sizes, size buckets),
which belong to the architecture space; here any narrowed space stands for them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from automl_ext.controllers.q_learning import EPSILONS, PAPER_EPSILONS, WORST, QLearning, values
from automl_ext.decisions import Choice, Integer, Real, SpaceError
from automl_ext.objective import Objective
from automl_ext.options import check_options
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space, Walk
from automl_ext.testing import simulate
from automl_ext.testing.planted import hash_of, spaces, target_of

SMALL = Space(Choice("a", ["x", "y", "z"]), Choice("b", [1, 2]), Integer("c", 0, 2))


def learner(space=SMALL, target=None, **options):
    return QLearning(target or target_of(space), stream(0, "build"), **options)


def told(searcher, number, candidate, value, again=()):
    metrics = None if value is None else {"score": value}
    trial = Trial(number, "search", candidate, {"again": list(again)}, None, 0, None, metrics)
    searcher.tell(trial, stream(0, "tell", number))


def runs(path, decision, made):
    """No letter twice in a row: the shape of MetaQNN's "P -> anything but P"."""
    index = int(path[1:])
    if index == 0:
        return decision
    return decision.keep([option for option in decision.options if option != made[f"l{index - 1}"]])


RUNS = Space(*(Choice(f"l{index}", ["c", "p", "f"]) for index in range(4)), narrow=runs)


def test_the_schedule_counts_unique_candidates():
    """eps schedule: after k unique models the eps equals the table; duplicates do not advance it"""
    table = [(1.0, 3), (0.5, 2), (0.1, 2)]
    searcher = learner(epsilons=table, batch=1)
    expected = [1.0] * 3 + [0.5] * 2 + [0.1] * 13
    for number, candidate in enumerate(SMALL.candidates(9)):
        assert searcher.epsilon == expected[number]
        told(searcher, 2 * number, candidate, 0.5)
        after = searcher.epsilon
        told(searcher, 2 * number + 1, candidate, 0.5)
        assert searcher.epsilon == after == [*expected, 0.1][number + 1]


def test_the_default_table_is_the_papers_to_scale():
    """1.0 .9 .8 .7 .6 .5 .4 .3 .2 .1: 1500 100 100 100 150 150 150 150 150 150; total 2700 at paper scale; it stops at
    0.1, not 0."""
    assert [epsilon for epsilon, _ in PAPER_EPSILONS] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert [count for _, count in PAPER_EPSILONS] == [1500, 100, 100, 100, 150, 150, 150, 150, 150, 150]
    assert sum(count for _, count in PAPER_EPSILONS) == 2700
    assert tuple((epsilon, 50 * count) for epsilon, count in EPSILONS) == PAPER_EPSILONS
    assert learner(epsilons=PAPER_EPSILONS).epsilon == 1.0


def test_the_schedule_is_an_option_of_a_config():
    assert check_options(QLearning, {"epsilons": [[1, 30], [0.1, 5]]}, "searcher") == {"epsilons": ((1, 30), (0.1, 5))}
    for wrong in ([[1.5, 30]], [[1.0, 0]], [], [[1.0]]):
        with pytest.raises(ValueError, match="epsilons"):
            check_options(QLearning, {"epsilons": wrong}, "searcher")


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 0.7])
def test_every_sampled_path_is_legal_and_every_legal_path_is_sampled(epsilon):
    """Every sampled path is legal; enumerate a tiny space and compare the set of reachable paths with brute force."""
    searcher, rng = learner(RUNS), np.random.default_rng(0)
    for number, candidate in enumerate(RUNS.candidates(9)):
        told(searcher, number, candidate, hash_of(candidate) / 2**32)
    drawn = [searcher.episode(epsilon, rng) for _ in range(2000)]
    for candidate in drawn:
        RUNS.check(candidate)
    assert {RUNS.key(candidate) for candidate in drawn} == {RUNS.key(candidate) for candidate in RUNS.candidates(9)}


def test_a_narrowed_option_is_never_taken_even_where_it_looks_best():
    """States may merge (the observation hides what was made): the best entry is taken among the legal actions."""
    target = replace(target_of(RUNS), observe=lambda walk: np.array([len(walk.candidate) / 4], np.float32))
    searcher = learner(target=target, rate=1.0, prior=0.0)
    searcher.learn(searcher.steps({"l0": "f", "l1": "p", "l2": "c", "l3": "p"}), 0.6)
    searcher.learn(searcher.steps({"l0": "p", "l1": "c", "l2": "f", "l3": "c"}), 0.9)
    candidate = searcher.episode(0.0, np.random.default_rng(0))
    assert candidate == {"l0": "p", "l1": "c", "l2": "f", "l3": "c"}
    searcher.learn(searcher.steps({"l0": "c", "l1": "f", "l2": "p", "l3": "f"}), 1.0)
    best = searcher.best(searcher.table[searcher.seen(RUNS.walk({"l0": "f"}))], ("c", "p"))
    assert best == 0.9, "f leads to 1.0 in this state, and is not legal after f"


def test_one_trajectory_backwards():
    """One trajectory, Q0 = 0.5, alpha = 0.01, R = 1: terminal Q becomes 0.505; because of the reverse order the edge
    before it, in the same sweep, uses max(0.505, 0.5) and becomes 0.50005. A forward sweep would leave it 0.5."""
    searcher = learner(rate=0.01)
    steps = searcher.steps({"a": "y", "b": 2, "c": 1})
    searcher.learn(steps, 1.0)
    found = [step.row[step.action] for step in steps]
    np.testing.assert_allclose(found, [0.5 + 0.01**3 * 0.5, 0.50005, 0.505], rtol=0, atol=1e-12)
    assert sum(map(len, searcher.table.values())) == 3


def test_intermediate_steps_have_no_reward_and_the_last_no_future():
    """last step: Q <- (1-alpha) Q + alpha R (no bootstrap at the terminal state); earlier: Q <- (1-alpha) Q + alpha
    gamma max Q(next) (intermediate reward 0)"""
    searcher = learner(rate=1.0, discount=0.9, initial=0.0)
    steps = searcher.steps({"a": "y", "b": 2, "c": 1})
    searcher.learn(steps, 1.0)
    found = [step.row[step.action] for step in steps]
    np.testing.assert_allclose(found, [0.81, 0.9, 1.0])


def test_epsilon_zero_is_greedy_with_random_ties():
    """eps=0 is greedy with random ties"""
    searcher, rng = learner(rate=1.0, prior=0.0), np.random.default_rng(0)
    searcher.learn(searcher.steps({"a": "y", "b": 2, "c": 1}), 1.0)
    searcher.learn(searcher.steps({"a": "y", "b": 2, "c": 2}), 1.0)
    drawn = [searcher.episode(0.0, rng) for _ in range(400)]
    assert {(candidate["a"], candidate["b"]) for candidate in drawn} == {("y", 2)}
    counts = Counter(candidate["c"] for candidate in drawn)
    assert set(counts) == {1, 2} and chisquare(list(counts.values())).pvalue > 0.001


def test_epsilon_one_is_uniform_over_legal_actions():
    """eps=1 is uniform over legal actions (chi-square)"""
    searcher, rng = learner(RUNS, rate=1.0), np.random.default_rng(0)
    searcher.learn(searcher.steps({"l0": "c", "l1": "p", "l2": "c", "l3": "p"}), 1.0)
    counts = Counter(RUNS.key(searcher.episode(1.0, rng)) for _ in range(2400))
    assert len(counts) == 24 and chisquare(list(counts.values())).pvalue > 0.001


def optimum(searcher, space, reward, made=None):
    """The best reward behind each state and action, by dynamic programming from the ends: {(state, action): value}."""
    found = {}

    def best(made):
        walk = space.walk(made)
        if walk.done:
            return reward(walk.candidate)
        state = searcher.seen(walk)
        worth = {action: best({**walk.candidate, walk.path: action}) for action in values(walk.decision)}
        found.update({(state, action): value for action, value in worth.items()})
        return max(worth.values())

    best(made or {})
    return found


@pytest.mark.parametrize(("space", "rate"), [(SMALL, 0.1), (RUNS, 1.0)])
def test_the_table_converges_to_dynamic_programming(space, rate):
    """A known optimum on a toy reward table: greedy path converges to it as replays grow."""
    searcher, everything = learner(space, rate=rate, batch=400), list(space.candidates(9))

    def score(candidate):
        return hash_of(candidate) / 2**32

    for number, candidate in enumerate(everything * 2):
        told(searcher, number, candidate, score(candidate))
    worth = {candidate_key: episode.standing for candidate_key, episode in searcher.known.items()}
    wanted = optimum(searcher, space, lambda candidate: searcher.share(worth[space.key(candidate)]))
    assert {(state, action) for state, row in searcher.table.items() for action in row} == set(wanted)
    for (state, action), value in wanted.items():
        assert searcher.table[state][action] == pytest.approx(value, abs=0.02)
    greedy = searcher.episode(0.0, np.random.default_rng(0))
    assert greedy == max(everything, key=score)


def test_equal_observations_share_one_entry():
    """Bucketing: Q is keyed by what the target observes, so that walks which look alike learn from each other."""
    bits = Space(*(Choice(f"b{index}", [0, 1]) for index in range(5)))
    target = replace(
        target_of(bits),
        observe=lambda walk: np.array([len(walk.candidate) / 5, sum(walk.candidate.values()) / 5], np.float32),
    )
    searcher = learner(target=target)
    simulate(searcher, lambda candidate: sum(candidate.values()), 60)
    assert len(searcher.table) <= 1 + 2 + 3 + 4 + 5
    assert searcher.episode(0.0, np.random.default_rng(0)) == dict.fromkeys((f"b{i}" for i in range(5)), 1)


def test_a_known_candidate_is_not_evaluated_again_but_remembered_again():
    """Re-sampling a trained architecture calls the trainer zero times; it is appended to the replay again."""
    searcher, everything = learner(redraws=200), list(SMALL.candidates(9))
    for number, candidate in enumerate(everything[:-1]):
        told(searcher, number, candidate, 0.1 * number)
    remembered = len(searcher.replay)
    proposal = searcher.ask(17, [], stream(0, "ask", 17))
    assert proposal.candidate == everything[-1], "the only one that is not known"
    assert proposal.note["again"] and set(proposal.note["again"]) <= set(searcher.known)
    told(searcher, 17, proposal.candidate, 0.3, proposal.note["again"])
    assert len(searcher.replay) == remembered + len(proposal.note["again"]) + 1
    assert searcher.ask(18, [], stream(0, "ask", 18)) is not None, "nothing new is left: a known one is proposed"


def test_candidates_that_are_out_are_not_proposed_again():
    searcher = learner(redraws=200)
    pending = []
    for number in range(17):
        pending.append(searcher.ask(number, pending, stream(0, "ask", number)))
    assert len({SMALL.key(proposal.candidate) for proposal in pending}) == 17


def test_the_reward_is_the_share_that_is_worse():
    """The authors advise to set the start value near, and rather below, an average model's accuracy: shares have the
    average 0.5 on any scale. Too-large models must return a result: failures are the worst, missed limits come next."""
    target = target_of(SMALL, Objective("macs_m", "min", limit=3.0))
    searcher = learner(target=target, batch=1)
    metrics = [{"score": -700.0, "macs_m": 1.0}, {"score": 9.0, "macs_m": 5.0}, None, {"score": 3.0, "macs_m": 3.0}]
    for number, (candidate, found) in enumerate(zip(SMALL.candidates(9), metrics, strict=False)):
        trial = Trial(number, "search", candidate, {"again": []}, None, 0, None, found)
        searcher.tell(trial, stream(0, "tell", number))
    shares = [searcher.share(episode.standing) for episode in searcher.known.values()]
    assert shares == [5 / 8, 3 / 8, 1 / 8, 7 / 8] and np.mean(shares) == 0.5
    assert [episode.standing for episode in searcher.known.values()][2] == WORST


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_the_worst(bad):
    searcher = learner(batch=4)
    for number, candidate in enumerate(SMALL.candidates(9)):
        told(searcher, number, candidate, bad if number == 3 else float(number))
    assert searcher.standings[0] == WORST and searcher.standings == sorted(searcher.standings)
    assert all(0 <= value <= 1 for row in searcher.table.values() for value in row.values())


def test_new_entries_go_by_the_mean_of_their_path():
    """Where nothing is known of a state, what paid elsewhere at this path comes first; prior 0: all are equal."""
    counts = {}
    for prior in (0.0, 0.5):
        searcher, rng = learner(rate=1.0, prior=prior), np.random.default_rng(0)
        for value, c in ((0.9, 2), (0.1, 0), (0.2, 1)):
            searcher.learn(searcher.steps({"a": "x", "b": 1, "c": c}), value)
        walk = Walk(SMALL)
        walk.choose("y")
        walk.choose(2)
        assert searcher.seen(walk) not in searcher.table
        searcher.learn(searcher.steps({"a": "y", "b": 2, "c": 0}), 0.95)
        searcher.table[searcher.seen(walk)] = {}
        counts[prior] = Counter(searcher.episode(0.0, rng)["c"] for _ in range(100))
    assert set(counts[0.0]) == {0, 1, 2} and counts[0.5] == {2: 100}


def test_a_space_that_no_table_holds_is_refused():
    real = Space(Choice("a", ["x", "y"], branches={"y": Space(Real("rate", 0.0, 1.0))}))
    with pytest.raises(SpaceError, match=r"^a/rate: q-learning keeps a table.*infinitely many values of at most 64"):
        learner(real)
    with pytest.raises(SpaceError, match=re.escape("n: q-learning keeps a table, and this number has 65 values")):
        learner(Space(Integer("n", 0, 64)))
    learner(Space(Integer("n", 0, 63), Real("fixed", 0.5, 0.5)))
    with pytest.raises(SpaceError, match=r"^x: q-learning"):
        learner(spaces()["number"])


def test_a_space_of_one_candidate_is_searched():
    trials = simulate(learner(Space(Choice("a", ["only"]))), lambda candidate: 1.0, 3)
    assert [trial.candidate for trial in trials] == [{"a": "only"}] * 3
