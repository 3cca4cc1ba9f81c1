"""Progressive search: the properties that its specification lists, each quoted.

Left out: "the same network output with matched weights" of swapped branches, which belongs to the cells of
architecture search; here the two have one key. |O|, I and b below are a small copy of the paper's cell space.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from automl_ext.controllers.block_predictors import LSTM, MLP, Ensemble, Reader
from automl_ext.controllers.levels import Levels
from automl_ext.controllers.progressive import Progressive
from automl_ext.controllers.sentences import Vocabulary, ranks
from automl_ext.decisions import Choice, Integer, SpaceError
from automl_ext.objective import Objective
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, spaces, target_of

torch.set_num_threads(1)


def cells(blocks, ops):
    """PNAS's space: how many blocks, and of each (I1, O1), (I2, O2); swapped pairs mean the same."""

    def block(index):
        inputs = list(range(index + 2))
        return [Choice(f"{index}{name}", inputs if name[0] == "i" else ops, kind=name[0]) for name in PARTS]

    def sized(count):
        return Space(*(decision for index in range(count) for decision in block(index)))

    sizes = list(range(1, blocks + 1))
    return Space(Choice("size", sizes, branches={count: sized(count) for count in sizes}), canonical=unswapped)


PARTS = ("i1", "o1", "i2", "o2")


def block_of(candidate, index):
    return tuple(candidate[f"size/{index}{name}"] for name in PARTS)


def unswapped(candidate):
    """With the pairs of every block in order."""
    form = dict(candidate)
    for index in range(candidate["size"]):
        left, right = sorted([block_of(candidate, index)[:2], block_of(candidate, index)[2:]])
        form |= dict(zip((f"size/{index}{name}" for name in PARTS), (*left, *right), strict=True))
    return form


def searcher(space, seed=0, **options):
    return Progressive(target_of(space), stream(seed, "build"), **options)


class Oracle:
    """A perfect predictor."""

    def __init__(self, score):
        self.score = score

    def train(self, *args):
        pass

    def predict(self, candidates):
        return np.array([self.score(candidate) for candidate in candidates])


def additive(seed, ops):
    """A score of a cell: the sum over its blocks of a table's entries for inputs and operations."""
    rng = np.random.default_rng(seed)
    worth = {op: rng.normal() for op in ops} | {index: rng.normal() for index in range(9)}
    return lambda cell: float(sum(worth[part] for b in range(cell["size"]) for part in block_of(cell, b)))


def levels_of(trials):
    return [[t.candidate for t in group] for _, group in itertools.groupby(trials, lambda t: t.note["level"])]


@pytest.mark.parametrize("ops", [2, 3, 8])
def test_level_1_is_every_block_once(ops):
    """Level 1 count = n(n+1)/2, n = 2|O| (136 for 8 ops); extension count per parent = (b+1)^2|O|^2 before and
    m(m+1)/2 (m=(b+1)|O|) after symmetry removal."""
    space = cells(2, [f"op{index}" for index in range(ops)])
    n, m = 2 * ops, 3 * ops
    first = searcher(space, size="size", first=1000).queue
    assert len(first) == len({space.key(cell) for cell in first}) == n * (n + 1) // 2
    assert all(cell["size"] == 1 for cell in first)
    assert {2: 10, 3: 21, 8: 136}[ops] == n * (n + 1) // 2
    if ops < 8:
        extensions = list(Levels(space, 1, 8, "size").extensions(first[0], 1))
        assert len(extensions) == m**2 == len({str(cell) for cell in extensions})
        assert len({space.key(cell) for cell in extensions}) == m * (m + 1) // 2


@pytest.mark.parametrize("parallel", [1, 8])
def test_a_level_extends_the_level_before(parallel):
    """Every cell of S_b extends a member of S_{b-1}; |S_b| <= K; all canonical forms distinct.
    Evaluations = |S_1| + (B-1)K exactly."""
    ops = ["a", "b"]
    space = cells(3, ops)
    watched = searcher(space, size="size", beam=7, expansions=5000, finish=True, steps=5, later_steps=5)
    trials = simulate(watched, additive(0, ops), 1000, parallel=parallel)
    levels = levels_of(trials)
    assert [len(level) for level in levels] == [10, 7, 7]
    assert len({space.key(trial.candidate) for trial in trials}) == len(trials) == 10 + 2 * 7
    for smaller, larger in itertools.pairwise(levels):
        parents = [{path: value for path, value in cell.items() if path != "size"} for cell in smaller]
        assert all(any(parent.items() <= cell.items() for parent in parents) for cell in larger)


def test_a_perfect_predictor_gives_the_beam_of_brute_force():
    """for b = 2..B: S'_b = all one-block extensions of cells in S_{b-1}; S_b = top-K by predicted accuracy."""
    ops = ["a"]
    space, score = cells(3, ops), additive(3, ops)
    watched = searcher(space, size="size", beam=4, expansions=5000, finish=True)
    watched.predictor = Oracle(score)
    levels = levels_of(simulate(watched, score, 1000))
    every = {space.key(cell): cell for cell in space.candidates(2)}
    beam = [cell for cell in every.values() if cell["size"] == 1]
    assert sorted(map(space.key, levels[0])) == sorted(map(space.key, beam))
    for size, level in enumerate(levels[1:], 2):
        forms = [{path: value for path, value in cell.items() if path != "size"} for cell in map(unswapped, beam)]
        grown = [
            c for c in every.values() if c["size"] == size and any(f.items() <= unswapped(c).items() for f in forms)
        ]
        wanted = sorted((score(cell) for cell in grown), reverse=True)[:4]
        np.testing.assert_allclose([score(cell) for cell in level], wanted)
        beam = level


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "lstm"])
def test_the_predictor_ranks_larger_cells(network):
    """With an additive synthetic accuracy the surrogate's Spearman on b+1 blocks exceeds 0.5 and the beam finds the
    optimum of a small space."""
    ops = ["a", "b", "c"]
    space, score = cells(2, ops), additive(1, ops)
    reached, correlations = [], []
    for seed in range(2):
        watched = searcher(space, seed, size="size", finish=True, predictor=network)
        for number in range(21):
            proposal = watched.ask(number, [], stream(seed, "ask", number))
            metrics = {"score": score(proposal.candidate)}
            trial = Trial(number, "search", proposal.candidate, proposal.note, None, 0, None, metrics)
            watched.tell(trial, stream(seed, "tell", number))
        cells_of_2 = list(watched.levels.extensions(watched.best[0][0], 1))
        cells_of_2 += list(watched.levels.extensions(watched.data[0][0], 1))
        predicted = watched.predictor.predict(cells_of_2)
        correlations.append(spearmanr(predicted, [score(cell) for cell in cells_of_2]).statistic)
        whole = searcher(space, seed, size="size", finish=True, predictor=network, expansions=5000)
        reached.append(max(trial.metrics["score"] for trial in simulate(whole, score, 100)))
    assert min(correlations) > 0.5
    assert np.median(reached) == pytest.approx(max(map(score, space.candidates(2))))


def test_predictors_take_any_number_of_blocks():
    """Predictor accepts any b and is in (0,1); MLP predictor is invariant to block order (mean), LSTM is not."""
    space = cells(4, ["a", "b", "c"])
    reader = Reader(Levels(space, 1, 8, "size"), Vocabulary(space, 8))
    ordered = {
        "size": 2,
        **{f"size/{b}{n}": v for b in (0, 1) for n, v in zip(PARTS, [b, "abc"[b], 1, "c"], strict=True)},
    }
    turned = {"size": 2, **{f"size/{b}{n}": ordered[f"size/{1 - b}{n}"] for b in (0, 1) for n in PARTS}}
    rng = np.random.default_rng(0)
    sampled = [space.sample(rng) for _ in range(40)]
    assert {cell["size"] for cell in sampled} == {1, 2, 3, 4}
    for network, invariant in ((MLP, True), (LSTM, False)):
        ensemble = Ensemble(network, reader, stream(0, "build"), 2, 16)
        ensemble.train(sampled, rng.random(40), 20, 0.01, rng)
        predicted = ensemble.predict(sampled)
        assert ((predicted > 0) & (predicted < 1)).all() and np.ptp(predicted) > 1e-3
        together = [ensemble.predict([cell])[0] for cell in sampled]
        np.testing.assert_allclose(predicted, together, atol=1e-6)
        one, other = ensemble.predict([ordered, turned])
        assert (abs(one - other) < 1e-6) == invariant


def test_swapped_pairs_are_one_cell():
    """Swapping (I1,O1) with (I2,O2) yields the same canonical genome."""
    space = cells(2, ["a", "b"])
    cell = {"size": 1, "size/0i1": 0, "size/0o1": "b", "size/0i2": 1, "size/0o2": "a"}
    swapped = {"size": 1, "size/0i1": 1, "size/0o1": "a", "size/0i2": 0, "size/0o2": "b"}
    assert cell in space and swapped in space and space.key(cell) == space.key(swapped)


def test_undecided_blocks_take_the_first_value():
    """Level b of a flat space: b blocks decided, the rest at the first legal value; known ones stay in the beam."""
    space = Space(*(Choice(f"c{index}", list("abc")) for index in range(4)))
    score = planted_score(space, 0)
    watched = searcher(space, beam=4, finish=True, block=1)
    watched.predictor = Oracle(score)
    levels = levels_of(simulate(watched, score, 100))
    assert len(levels) == 4 and len(levels[0]) == 3
    for index, level in enumerate(levels):
        assert all(list(cell.values())[index + 1 :] == ["a"] * (3 - index) for cell in level)
    assert max(score(cell) for level in levels for cell in level) == 0.0
    pairs = searcher(space, block=2)
    assert len(pairs.queue) == 9 and all(cell["c2"] == cell["c3"] == "a" for cell in pairs.queue)


def test_a_chain_grows_by_its_steps():
    """In a chain whose first option ends it, a candidate of level b has b blocks."""
    chain, op = Space(), Choice("op", list("ab"))
    for _ in range(3):
        chain = Space(Choice("more", [False, True], branches={True: Space(op, *chain.decisions)}))
    watched = searcher(chain, beam=50, block=2, finish=True)
    lengths = [
        {sum("op" in path for path in cell) for cell in level} for level in levels_of(simulate(watched, len, 99))
    ]
    assert lengths == [{0, 1}, {2}, {3}]


@pytest.mark.slow
def test_without_finish_it_goes_on_and_finds_what_growing_missed():
    """A block that is worth nothing without the last one is put right after the last level."""
    space = Space(*(Choice(f"c{index}", list("abcd")) for index in range(3)))

    def score(candidate):
        whole = sum(value == "d" for value in candidate.values())
        return float(whole) if candidate["c2"] == "d" else -float(whole)

    watched = searcher(space, beam=2, steps=20, later_steps=10)
    trials = simulate(watched, score, 64)
    assert max(trial.metrics["score"] for trial in trials) == 3.0
    assert len({space.key(trial.candidate) for trial in trials}) == len(trials)
    assert len(simulate(searcher(space, steps=1, later_steps=1), score, 200)) == 64


@pytest.mark.slow
def test_failed_candidates_are_not_extended():
    space = Space(*(Choice(f"c{index}", list("abc")) for index in range(3)))
    trials = simulate(searcher(space, finish=True), lambda c: None if c["c0"] == "b" else 1.0, 50)
    assert [t.candidate["c0"] for t in trials].count("b") == 1
    assert len(simulate(searcher(space, finish=True), lambda candidate: None, 50)) > 3


def test_sampled_levels_have_the_size_asked_for():
    space = spaces()["number"]
    watched = searcher(space, block=2, first=20, expansions=30, beam=5, steps=5, later_steps=5, finish=True)
    assert [len(level) for level in levels_of(simulate(watched, planted_score(space, 0), 99))] == [20, 5]


def test_ranks_are_even_whatever_the_scale():
    assert ranks([(0.0, 3.0), (0.0, 1e9), (-np.inf, -np.inf), (-1.0, 1e12)]).tolist() == pytest.approx(
        [2 / 3, 1, 0, 1 / 3]
    )
    assert ranks([(0.0, 1.0), (0.0, 1.0)]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("size", ["nothing", "flag", "n"])
def test_a_size_that_is_none_is_refused(size):
    space = Space(Choice("flag", [0, 1]), Integer("n", 1, 3))
    with pytest.raises(SpaceError, match=f"searcher.size.*{size}"):
        searcher(space, size=size)


@pytest.mark.parametrize("space", [Space(), Space(Choice("a", [1]))])
def test_a_space_of_one_candidate_is_searched_once(space):
    assert len(simulate(searcher(space), lambda candidate: 0.0, 5)) == 1


def test_several_objectives_are_refused():
    with pytest.raises(ValueError, match="progressive takes one objective"):
        Progressive(target_of(spaces()["choice"], Objective("cost", "min")), stream(0, "build"))
