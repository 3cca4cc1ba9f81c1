"""DeepArchitect's tree search: the properties that its specification lists, each quoted.

Left out: what concerns the language of modules (enumeration counts of Concat, Or, Repeat; tied copies; Residual shapes;
get_outdim), which belongs to the architecture space; "no get_choices list has length < 2", which is the walk's
(test_space.py).
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from automl_ext.controllers.mcts import MCTS, NOWHERE, Node, piece
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.objective import Objective
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import hash_of, planted_score, spaces, target_of

LETTERS = Space(*(Choice(f"c{index}", list("abcd")) for index in range(4)))


def tree(space=LETTERS, *others, **options):
    return MCTS(target_of(space, *others), stream(0, "build"), **options)


def random_score(candidate):
    return hash_of(candidate) / 2**32


def nodes(node):
    """Every node with its children, from `node` down."""
    yield node
    for child in node.children.values():
        yield from nodes(child)


def split(searcher, part, cuts=0):
    """The parts, level by level, down to what the tree splits no further: [(part, number of levels)]."""
    width = searcher.width(part, cuts)
    if width == 0:
        return [(part, cuts)]
    return [leaf for index in range(width) for leaf in split(searcher, piece(part, width, index), cuts + 1)]


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 100])
def test_bisection_reaches_every_value_once(count):
    """Bisection: a list of n values needs between floor(log2 n) and ceil(log2 n) binary choices and reaches every value
    exactly once."""
    searcher = tree(widest=1, cuts=50)
    for decision in (Choice("c", list(range(count))), Integer("n", 10, 10 + 3 * (count - 1), step=3)):
        leaves = split(searcher, decision)
        assert [part.first for part, _ in leaves] == [
            decision.first + k * (leaves[1][0].first - decision.first) for k in range(count)
        ]
        assert all(part.count == 1 for part, _ in leaves)
        assert {levels for _, levels in leaves} <= {math.floor(math.log2(count)), math.ceil(math.log2(count))}


def test_the_middle_is_the_floor():
    """mid = floor((l+r)/2), 0 -> [l,mid), 1 -> [mid,r)"""
    choice = Choice("c", list("abcde"))
    assert [piece(choice, 2, index).options for index in (0, 1)] == [("a", "b"), ("c", "d", "e")]
    number = Integer("n", 0, 4)
    assert [(piece(number, 2, k).low, piece(number, 2, k).high) for k in (0, 1)] == [(0, 1), (2, 4)]


def test_numbers_on_a_log_scale_are_halved_in_the_logarithm():
    low, high = (piece(Integer("n", 1, 1024, log=True), 2, index) for index in (0, 1))
    assert (low.low, low.high, high.low, high.high) == (1, 31, 32, 1024)
    low, high = (piece(Real("x", 1e-4, 1.0, log=True), 2, index) for index in (0, 1))
    assert low.low == 1e-4 and high.high == 1.0 and low.high == high.low == pytest.approx(1e-2)
    assert all(part.count == 1 for part, _ in split(tree(cuts=50), Integer("n", 1, 40, log=True)))


def test_numbers_are_cut_so_many_times_and_then_drawn():
    decision = Real("x", 0.0, 1.0)
    leaves = split(tree(cuts=3), decision)
    assert [(part.low, part.high) for part, _ in leaves] == [(k / 8, (k + 1) / 8) for k in range(8)]
    assert split(tree(cuts=0), decision) == [(decision, 0)]
    leaves = split(tree(cuts=2), Integer("n", 1, 10))
    assert [(part.low, part.high) for part, _ in leaves] == [(1, 2), (3, 5), (6, 7), (8, 10)]
    searcher = tree(Space(decision), cuts=1)
    trials = simulate(searcher, lambda candidate: candidate["x"], 40)
    assert len({trial.candidate["x"] for trial in trials}) == 40
    assert not any(node.closed for node in nodes(searcher.root))


def test_only_long_choices_are_cut():
    """Large branching factors make UCT spend its budget on first visits: that is why bisection exists."""
    assert [searcher.width(Choice("c", list(range(9))), 0) for searcher in (tree(widest=8), tree(widest=9))] == [2, 9]


@pytest.mark.parametrize("space", [Space(Choice("c", list("abcde"))), Space(Integer("n", 1, 11))])
def test_rollouts_are_uniform(space):
    """Then rollout: uniform random choices to a leaf. The rest is drawn among values, not among bits."""
    searcher, rng = tree(space, widest=1), np.random.default_rng(0)
    counts = Counter(space.key(searcher.descend(Node(), rng)[0].candidate) for _ in range(2200))
    assert len(counts) == space.decisions[0].count and chisquare(list(counts.values())).pvalue > 0.001


def brute_force(searcher, node, width):
    """The indices with the largest mean + c sqrt(2 ln n / n_i), among what is open; unvisited ones first."""
    open_ = [k for k in range(width) if k not in node.children or not node.children[k].closed]
    new = [k for k in open_ if k not in node.children]
    if new:
        return set(new)
    worth = {}
    for k in open_:
        child = node.children[k]
        mean = child.total / child.count
        worth[k] = mean + searcher.exploration * (2 * math.log(node.count) / child.count) ** 0.5
    return {k for k in open_ if worth[k] == pytest.approx(max(worth.values()), abs=1e-12)}


@pytest.mark.parametrize("exploration", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["choice", "conditional"])
def test_uct_takes_the_largest_upper_bound(exploration, kind):
    """Tree policy: from root, while node has children: pick argmax_i [ mean_i + c*sqrt(2 ln n_parent / n_i) ];
    unvisited child = +inf; ties random. On reaching a node without children: rollout."""
    searcher = tree(spaces()[kind], exploration=exploration, redraws=0)
    checked = []

    def watch(event, searcher, number, pending):
        if event != "ask":
            return
        note = searcher.ask(number, [], stream(0, "ask", number)).note
        node = searcher.root
        for index, width in zip(note["path"], note["widths"], strict=True):
            assert node.count > 0 and index in brute_force(searcher, node, width)
            node = node.children.get(index, NOWHERE)
            checked.append(index)
        assert node.count == 0 or note["whole"]

    simulate(searcher, random_score, 120, watch=watch)
    assert len(checked) > 100


def test_every_child_is_visited_once_before_any_is_visited_twice():
    """UCT: all children of a node are visited once before any is visited twice; n_root = number of evaluations; sum of
    child counts = n_parent - (visits that expanded it)."""
    searcher = tree(exploration=0.5, redraws=0)

    def watch(event, searcher, number, pending):
        if event != "tell":
            return
        assert searcher.root.count == number + 1
        for node in nodes(searcher.root):
            counts = [child.count for child in node.children.values()]
            assert sum(counts) == (node.count - 1 if counts else 0) or node.closed
            assert len(counts) in (0, 4) or set(counts) <= {1}

    simulate(searcher, random_score, 150, watch=watch)


def test_choose_count_equals_the_depth_of_the_leaf():
    """`choose` count equals depth of the leaf: the note's path holds one index a split, and the tree no more."""
    searcher = tree()
    trials = simulate(searcher, random_score, 200)
    for trial in trials:
        assert len(trial.note["path"]) == len(trial.note["widths"]) <= 4
        letters = ["abcd".index(value) for value in trial.candidate.values()]
        assert trial.note["path"] == letters[: len(trial.note["path"])]
    assert searcher.size == sum(1 for _ in nodes(searcher.root))


def test_the_search_concentrates_on_what_pays():
    """On a synthetic reward that depends on the first decision only, MCTS concentrates on the best first value."""
    trials = simulate(tree(), lambda candidate: {"a": 0.1, "b": 0.9, "c": 0.3, "d": 0.2}[candidate["c0"]], 60)
    first = Counter(trial.candidate["c0"] for trial in trials)
    assert first["b"] > 40 and all(first[letter] >= 1 for letter in "acd")


@pytest.mark.parametrize("before", [0, 1, 30, 120])
@pytest.mark.parametrize("kind", ["choice", "conditional", "number"])
def test_what_is_out_is_not_asked_again(before, kind):
    """Virtual loss: eight asks without a tell between them are eight different candidates."""
    space = spaces()[kind]
    searcher, score = tree(space), planted_score(space, 0)
    simulate(searcher, score, before)
    pending = []
    for number in range(before, before + 8):
        pending.append(searcher.ask(number, pending, stream(0, "ask", number)))
    assert len({space.key(proposal.candidate) for proposal in pending}) == 8


def test_a_virtual_loss_is_a_visit_without_reward():
    searcher = tree(redraws=0, exploration=0.0, power=0.1)
    for number, letter in enumerate("xabcd"):
        candidate = {"c0": "a" if letter == "x" else letter, "c1": "a", "c2": "a", "c3": "a"}
        path, widths = ([], []) if letter == "x" else (["abcd".index(letter)], [4])
        note = {"path": path, "widths": widths, "whole": False}
        value = {"x": 0.0, "a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}[letter]
        searcher.tell(Trial(number, "search", candidate, note, None, 0, None, {"score": value}), None)
    means = [searcher.root.children[index].total for index in range(4)]
    assert means == sorted(means) and means[1] > means[3] / 2, "one loss takes half of a mean of one visit"
    first = searcher.ask(5, [], stream(0, "ask", 5))
    second = searcher.ask(6, [first], stream(0, "ask", 6))
    third = searcher.ask(7, [first, second], stream(0, "ask", 7))
    assert [proposal.note["path"][0] for proposal in (first, second, third)] == [3, 2, 1]


def test_branches_without_news_are_closed():
    """A space that is told as a whole is searched at random: nothing in the tree is left to go to."""
    space = Space(Choice("a", ["x", "y", "z"]), Integer("b", 0, 4))
    searcher = tree(space, redraws=0)
    trials = simulate(searcher, random_score, 200)
    assert len({space.key(trial.candidate) for trial in trials}) == 15 and searcher.root.closed
    assert searcher.ask(200, [], stream(0, "ask", 200)).note["path"] == []
    leaves = [tuple(trial.note["path"]) for trial in trials if trial.note["whole"]]
    assert len(leaves) == len(set(leaves)) == 15, "a closed leaf is not gone to again"


def test_a_draw_of_a_known_candidate_starts_its_random_rest_higher():
    space = Space(Choice("a", ["x", "y", "z"]), Integer("b", 0, 4))
    counts = [
        len({space.key(t.candidate) for t in simulate(tree(space, redraws=r), random_score, 15)}) for r in (0, 50)
    ]
    assert counts[0] < counts[1] == 15


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_rewards_are_shares(scale):
    """Scores must be bounded near [0,1] or c must be rescaled: a search goes the same way on any scale."""
    plain = simulate(tree(), random_score, 80)
    scaled = simulate(tree(), lambda candidate: scale * random_score(candidate) - 7, 80)
    assert [trial.candidate for trial in plain] == [trial.candidate for trial in scaled]


@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_failures_and_missed_limits_are_the_worst(bad):
    searcher = tree(LETTERS, Objective("macs_m", "min", limit=3.0), power=2.0)
    metrics = [{"score": 0.1, "macs_m": 1.0}, {"score": 9.0, "macs_m": 5.0}, {"score": 9.0, "macs_m": 9.0}]
    metrics.append(None if bad is None else {"score": bad, "macs_m": 1.0})
    for number, found in enumerate(metrics):
        note = {"path": [], "widths": [], "whole": False}
        searcher.tell(Trial(number, "search", LETTERS.sample(stream(number, "x")), note, None, 0, None, found), None)
    assert [searcher.share(standing) for standing in searcher.standings] == [1 / 8, 3 / 8, 5 / 8, 7 / 8]
    assert searcher.standings[0] == (-np.inf, -np.inf) and searcher.standings[-1] == (0.0, 0.1)
    assert searcher.root.total == pytest.approx(sum(share**2 for share in (1 / 2, 1 / 4, 1 / 6, 1 / 8)))


def test_a_full_tree_grows_no_more_and_the_search_goes_on():
    searcher = tree(nodes=12)
    trials = simulate(searcher, planted_score(LETTERS, 0), 120, parallel=4)
    assert len(trials) == 120 and searcher.size == sum(1 for _ in nodes(searcher.root)) == 12
    assert searcher.root.count == 120 and len({LETTERS.key(trial.candidate) for trial in trials}) > 60
