"""REINFORCE: what NAS-RL's specification says of the algorithm, each property quoted, and a brute-force oracle.

Left out: skips, repair, golden cells and the depth schedule, which belong to the task; what concerns the network is in
test_policy.py, the baseline in test_advantage.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_ext.controllers.reinforce import Reinforce
from automl_ext.decisions import Choice, Integer
from automl_ext.objective import Objective
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import hash_of, spaces, target_of

torch.set_num_threads(1)
LEAF = {"wide": Space(Integer("width", 1, 4))}
SPACE = Space(Choice("a", ["wide", "flat", "none"], LEAF), Choice("b", ["x", "y"]))


def searcher(space=SPACE, **options):
    return Reinforce(target_of(space), stream(0, "build"), **options)


def gradient(watched, gain):
    watched.step.zero_grad()
    gain.backward()
    return torch.cat([weight.grad.flatten() for weight in watched.policy.parameters() if weight.grad is not None])


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_the_expected_gradient_is_that_of_the_expected_reward(baseline):
    """g = (1/m) sum_k sum_t grad log P(a_t | a_<t) * (R_k - b) against the derivative of the sum of P R over all
    candidates; the baseline changes nothing."""
    watched = searcher(hidden=6, entropy=0.0)
    candidates = list(SPACE.candidates(100))
    rewards = torch.tensor(np.random.default_rng(0).normal(size=len(candidates)), dtype=torch.float32)
    walks = watched.policy.batch([watched.policy.layout.trace(candidate) for candidate in candidates])
    whole = torch.zeros(len(candidates)).index_add(0, walks.owner, watched.policy(walks)[0]).exp()
    brute = gradient(watched, (whole * rewards).sum())
    shares = whole.detach()
    weights = shares * (rewards - baseline) * len(candidates)
    assert np.allclose(gradient(watched, watched.gain(walks, weights)), brute, atol=1e-6) and brute.abs().max() > 1e-2


@pytest.mark.slow
def test_a_bandit_is_learned():
    """Bandit check: one decision with 3 options and rewards (0,0,1): P(best) > 0.9 after a few hundred updates."""
    watched = searcher(Space(Choice("a", ["x", "y", "z"])), hidden=8, entropy=0.0, batch=1)
    simulate(watched, lambda candidate: float(candidate["a"] == "z"), 200)
    walks = watched.policy.batch([watched.policy.layout.trace({"a": "z"})])
    assert float(watched.policy(walks)[0].detach().exp()[0]) > 0.9


def test_constant_rewards_move_nothing():
    """constant rewards -> advantage tends to 0 and parameters stop moving."""
    watched = searcher(hidden=8, entropy=0.0)
    before = [weight.detach().clone() for weight in watched.policy.parameters()]
    simulate(watched, lambda candidate: 0.3, 20)
    assert all(torch.equal(old, new) for old, new in zip(before, watched.policy.parameters(), strict=True))


@pytest.mark.slow
def test_the_mean_reward_rises():
    """For tests replace the child by a synthetic reward (e.g. count of 3x3 choices): mean reward must rise."""
    space = Space(*(Choice(f"kernel{index}", [1, 3, 5, 7], kind="kernel") for index in range(6)))
    watched = searcher(space, hidden=16)
    trials = simulate(watched, lambda candidate: float(sum(value == 3 for value in candidate.values())), 160)
    scores = [trial.metrics["score"] for trial in trials]
    assert np.mean(scores[-40:]) > np.mean(scores[:40]) + 1


@pytest.mark.slow
def test_entropy_keeps_the_policy_open():
    space = Space(Choice("a", ["x", "y", "z"]))
    spread = []
    for weight in (0.0, 1.0):
        watched = searcher(space, hidden=8, entropy=weight, batch=1)
        simulate(watched, lambda candidate: float(candidate["a"] == "z"), 100)
        walks = watched.policy.batch([watched.policy.layout.trace({"a": "z"})])
        spread.append(float(watched.policy(walks)[1].detach()[0]))
    assert spread[1] > spread[0] + 0.2


@pytest.mark.parametrize("name", spaces())
def test_failures_move_nothing_before_the_first_reward(name):
    """Nor does a trial that misses a limit; after it both count as the worst so far."""
    watched = Reinforce(
        target_of(spaces()[name], Objective("score", limit=0.0)), stream(0, "build"), hidden=8, batch=2, entropy=0.0
    )
    before = [weight.detach().clone() for weight in watched.policy.parameters()]
    simulate(watched, lambda candidate: None if hash_of(candidate) % 2 else -1.0, 12, parallel=8)
    assert all(torch.equal(old, new) for old, new in zip(before, watched.policy.parameters(), strict=True))
    simulate(watched, lambda c: None if hash_of(c) % 3 == 0 else float(hash_of(c) % 7), 12)
    assert not all(torch.equal(old, new) for old, new in zip(before, watched.policy.parameters(), strict=True))
