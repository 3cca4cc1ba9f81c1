"""The policy network against oracles: enumeration, integration, frequencies; and what shares what.

The quoted properties are those of NAS-RL, Neural Optimizer Search and AutoAugment that concern the controller. Left
out: repair of skips, golden cells, depth schedules, token counts and masks of particular spaces, which belong to the
tasks' spaces; ENAS's bound on logits, since this network has no tanh constant.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from automl_ext.controllers.policy import Policy
from automl_ext.decisions import Choice, Integer, Real
from automl_ext.space import Space
from automl_ext.testing.planted import spaces

torch.set_num_threads(1)


def at_most(most):
    """Later numbers and choices get what earlier ones leave of `most`."""

    def narrow(path, decision, made):
        left = most - sum(int(value) for value in made.values())
        if isinstance(decision, Choice):
            return decision.keep([option for option in decision.options if option <= left])
        return decision.within(decision.low, max(decision.low, left))

    return narrow


LEAF = {"conv": Space(Integer("width", 1, 5), Choice("act", ["relu", "tanh"])), "pool": Space(Integer("size", 2, 4))}
NODES = Space(
    Choice("a", ["x", "y"], kind="op"),
    Choice("b", ["x", "y"], kind="op"),
    Choice("from", ["in", "a", "b"], refers={"a": "a", "b": "b"}),
)
FINITE = {
    "choice": Space(Choice("a", [True, 1.5, None]), Choice("b", list("xyz"))),
    "integer": Space(Integer("n", 3, 17, step=2), Integer("m", 1, 20, log=True)),
    "conditional": Space(Choice("one", ["conv", "pool"], LEAF), Choice("two", ["none", "conv", "pool"], LEAF)),
    "narrowed": Space(Integer("n", 0, 6), Choice("c", [0, 1, 2, 5]), Integer("m", 0, 9, step=3), narrow=at_most(7)),
    "pointing": NODES,
}


def network(space, hidden=8, spread=0.8, seed=0, **options):
    """A policy with weights large enough that its probabilities are far from even."""
    return Policy(space, torch.Generator().manual_seed(seed), hidden, init=spread, **options)


def rewalked(policy, candidates):
    """The log-probability of each candidate as one number."""
    batch = policy.batch([policy.layout.trace(candidate) for candidate in candidates])
    with torch.no_grad():
        log_prob, _ = policy(batch)
    return torch.zeros(len(candidates)).index_add(0, batch.owner, log_prob).numpy()


@pytest.mark.parametrize("name", FINITE)
def test_the_probabilities_of_all_candidates_sum_to_one(name):
    """Sum of probabilities over an enumerated tiny space is 1."""
    candidates = list(FINITE[name].candidates(1000))
    shares = np.exp(rewalked(network(FINITE[name]), candidates))
    assert len(candidates) > 5 and abs(shares.sum() - 1) < 1e-5
    assert shares.max() > 3 * shares.min() > 0


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", spaces())
def test_sampling_and_walking_again_give_one_log_probability(name, layers):
    """log P of a sampled sequence equals the teacher-forced log P of the same tokens (1e-5).
    Sampler log-probability equals the re-scored log-probability. log-probability additive over 30 decisions."""
    policy, rng = network(spaces()[name], layers=layers), np.random.default_rng(0)
    sampled = [policy.sample(rng) for _ in range(12)]
    batch = policy.batch([policy.layout.trace(candidate) for candidate, _ in sampled])
    log_prob, entropy = policy(batch)
    noted = [value for _, log_probs in sampled for value in log_probs]
    assert np.allclose(log_prob.detach(), noted, atol=1e-5)
    assert batch.owner.tolist() == [index for index, (_, log_probs) in enumerate(sampled) for _ in log_probs]
    assert (entropy > 0).all() and len({len(log_probs) for _, log_probs in sampled}) >= (name == "conditional") + 1
    alone = [sum(log_probs) for _, log_probs in sampled]
    assert np.allclose(rewalked(policy, [candidate for candidate, _ in sampled]), alone, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINITE)
def test_samples_come_as_often_as_their_probability_says(name):
    policy, rng = network(FINITE[name]), np.random.default_rng(1)
    candidates = list(FINITE[name].candidates(1000))
    shares = np.exp(rewalked(policy, candidates).astype(float))
    drawn = Counter(str(policy.sample(rng)[0]) for _ in range(400))
    counts = np.array([drawn[str(candidate)] for candidate in candidates])
    often = shares * 400 >= 5
    groups = [[index] for index in np.flatnonzero(often)] + ([np.flatnonzero(~often)] if not often.all() else [])
    seen, expected = (np.array([values[group].sum() for group in groups]) for values in (counts, shares))
    assert counts.sum() == 400 and len(groups) > 4
    assert chisquare(seen, expected / expected.sum() * 400).pvalue > 1e-3


@pytest.mark.parametrize(
    "space",
    [
        Space(Real("x", -2.0, 3.0)),
        Space(Real("x", 1e-3, 10.0, log=True)),
        Space(Real("x", 0.0, 1.0), narrow=lambda path, decision, made: decision.within(0.6, 0.7)),
    ],
    ids=["plain", "log", "narrowed"],
)
def test_the_density_of_a_real_integrates_to_one_over_what_is_legal(space):
    policy, walk = network(space), space.walk()
    ends = [walk.declared.to_unit(end) for end in (walk.decision.low, walk.decision.high)]
    places = np.linspace(*ends, 401)
    density = np.exp(rewalked(policy, [{"x": walk.declared.from_unit(place)} for place in places]))
    assert abs(np.trapezoid(density, places) - 1) < 1e-3


@pytest.mark.slow
def test_samples_respect_every_constraint():
    """masks: 10 000 random samples never break a constraint (a thousand here)."""
    options = ["g", "m", "v"]
    space = Space(
        Choice("left", options),
        Choice("right", options),
        narrow=lambda path, decision, made: decision.keep([o for o in decision.options if o != made.get("left")]),
    )
    policy, rng = network(space), np.random.default_rng(0)
    for _ in range(1000):
        candidate, log_probs = policy.sample(rng)
        assert candidate["left"] != candidate["right"] and len(log_probs) == 2


def test_a_later_value_leaves_earlier_probabilities_as_they_are():
    """causality: changing token t leaves earlier logits."""
    space = Space(*(Choice(f"c{index}", list("abc"), kind="op") for index in range(5)))
    policy = network(space)
    one = dict.fromkeys([f"c{index}" for index in range(5)], "a")
    for changed in range(5):
        other = {**one, f"c{changed}": "b"}
        log_prob, entropy = policy(policy.batch([policy.layout.trace(c) for c in (one, other)]))
        assert torch.equal(log_prob[:changed], log_prob[5 : 5 + changed])
        assert torch.equal(entropy[: changed + 1], entropy[5 : 6 + changed])
        assert not torch.isclose(entropy[changed + 1 : 5], entropy[6 + changed :]).any()


def test_the_entropy_is_that_of_the_probabilities():
    """Choices and small integers exactly."""
    for space in (Space(Choice("a", list("wxyz"))), Space(Integer("n", 1, 16))):
        policy, candidates = network(space), list(space.candidates(100))
        log_p = rewalked(policy, candidates)
        _, entropy = policy(policy.batch([policy.layout.trace(candidates[0])]))
        assert abs(float(entropy.detach()[0]) + float((np.exp(log_p) * log_p).sum())) < 1e-4


def rows(policy, candidate):
    return [asked.rows if hasattr(asked, "rows") else asked.row for asked in policy.layout.trace(candidate).open]


def test_decisions_of_one_kind_and_the_same_options_share_a_head():
    space = Space(
        Choice("a", ["x", "y"], kind="op"),
        Choice("b", ["x", "y"], kind="op"),
        Choice("c", ["x", "z"], kind="op"),
        Choice("d", ["x", "y"]),
        Choice("e", ["x", "y"]),
        Integer("n", 1, 8, kind="size"),
        Integer("m", 1, 8, kind="size"),
        Integer("k", 1, 9, kind="size"),
    )
    policy = network(space)
    a, b, c, d, e, n, m, k = rows(policy, next(space.candidates(9)))
    assert a == b and n == m
    assert not {*a} & {*c} and not {*a} & {*d} and not {*d} & {*e} and n != k
    before = [policy(policy.batch([policy.layout.trace(next(space.candidates(9)))]))[0].detach()][0]
    with torch.no_grad():
        policy.bias[a[0]] += 1.0
    after = policy(policy.batch([policy.layout.trace(next(space.candidates(9)))]))[0].detach()
    assert (after[:2] > before[:2] + 0.01).all() and torch.equal(after[2:], before[2:])


@pytest.mark.slow
def test_pointing_finds_the_earlier_decision_with_a_property():
    """Reward where the decision pointed at was made "red": learned where that is among the first three of five, it
    holds for the last two, which a head with one weight an option could not know."""
    names = [f"n{index}" for index in range(5)]
    space = Space(
        *(Choice(name, ["red", "blue", "green"], kind="colour") for name in names),
        Choice("pick", names, refers={name: name for name in names}),
    )
    policy, rng = network(space, hidden=24, spread=0.1), np.random.default_rng(0)
    step = torch.optim.Adam(policy.parameters(), 0.01)

    def drawn(red, pick):
        colours = rng.choice(["blue", "green"], 5).tolist()
        colours[red] = "red"
        return {**dict(zip(names, colours, strict=True)), "pick": names[pick]}

    for _ in range(150):
        picked = [(int(rng.integers(3)), int(rng.integers(5))) for _ in range(24)]
        batch = policy.batch([policy.layout.trace(drawn(red, pick)) for red, pick in picked])
        better = torch.tensor([1.0 if red == pick else 0.0 for red, pick in picked])
        expected = (policy(batch)[0][5::6].exp() * better).sum()
        step.zero_grad()
        (-expected).backward()
        step.step()
    for red in range(5):
        assert np.exp(rewalked_last(policy, [drawn(red, red) for _ in range(20)])).mean() > 0.8


def rewalked_last(policy, candidates):
    with torch.no_grad():
        return policy(policy.batch([policy.layout.trace(c) for c in candidates]))[0][5::6].numpy()


def test_a_space_with_one_candidate_has_nothing_to_decide():
    space = Space(Choice("a", ["x"]), Integer("n", 3, 3))
    policy = network(space)
    assert policy.sample(np.random.default_rng(0)) == ({"a": "x", "n": 3}, [])
    assert policy.layout.trace({"a": "x", "n": 3}).open == []


def test_a_new_policy_is_close_to_even():
    """Weights start within 0.1: the first trials are as good as random ones."""
    for space in (FINITE["choice"], Space(Integer("n", 3, 17, step=2), Choice("c", ["x", "y"]))):
        policy = Policy(space, torch.Generator().manual_seed(0), 48)
        shares = np.exp(rewalked(policy, list(space.candidates(100))))
        assert shares.max() < 2.5 * shares.min()
