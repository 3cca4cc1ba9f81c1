"""PPO: the properties of NASNet's and AutoAugment's specifications that concern the controller, each quoted.

Left out: token counts, masks, cells, drop path and parameter counts, which belong to the tasks; MnasNet's reward, which
is an objective's; the baseline is in test_advantage.py, the network in test_policy.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_ext.controllers.ppo import PPO, clipped
from automl_ext.controllers.reinforce import Reinforce
from automl_ext.decisions import Choice
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, spaces, target_of

torch.set_num_threads(1)
SPACE = Space(*(Choice(f"c{index}", list("abcd"), kind="op") for index in range(5)))


def searcher(space=SPACE, **options):
    return PPO(target_of(space), stream(0, "build"), **options)


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [(1.0, 2.0, True), (1.3, 2.0, False), (0.7, 2.0, True), (1.3, -2.0, True), (0.7, -2.0, False)],
)
def test_the_clipped_objective(ratio, advantage, moves):
    """with A>0 and r>1+eps gradient is 0; with A<0 and r<1-eps gradient is 0."""
    value = torch.tensor([ratio], requires_grad=True)
    clipped(value, torch.tensor([advantage]), 0.2).sum().backward()
    assert float(value.grad) == (advantage if moves else 0.0)


@pytest.mark.parametrize("name", spaces())
def test_the_ratio_is_one_at_first_use(name):
    """Old log-probs must be stored at sampling time, not recomputed after an update. One at a time every trial of a
    batch comes from the policy that learns from it first."""
    space, worst = spaces()[name], []
    watched = searcher(space, hidden=8, batch=4, epochs=2)

    def watch(event, searcher, number, pending):
        if event == "finish" and watched.batch:
            walks = watched.policy.batch([trace for trace, _, _ in watched.batch])
            noted = torch.tensor([value for _, _, log_probs in watched.batch for value in log_probs])
            worst.append(float((watched.policy(walks)[0].detach() - noted).abs().max()))

    simulate(watched, planted_score(space, 0), 16, watch=watch)
    assert len(worst) == 12 and max(worst) < 1e-4


def test_many_at_once_are_weighed_by_the_ratio():
    """Of trials that were out when the policy changed, the ratio is not 1."""
    watched, gaps = searcher(hidden=8, batch=4), []

    def watch(event, searcher, number, pending):
        if event == "tell" and len(watched.batch) == 3:
            walks = watched.policy.batch([trace for trace, _, _ in watched.batch])
            noted = torch.tensor([value for _, _, log_probs in watched.batch for value in log_probs])
            gaps.append(float((watched.policy(walks)[0].detach() - noted).abs().max()))

    simulate(watched, planted_score(SPACE, 0), 40, parallel=8, watch=watch)
    assert gaps[0] < 1e-5 and max(gaps) > 1e-3


def test_with_a_ratio_of_one_the_gradient_is_that_of_reinforce():
    """PPO: with r=1 the gradient equals REINFORCE (which sums over decisions where PPO takes the mean)."""
    watched = searcher(hidden=8, batch=4, epochs=1, entropy=0.0, rate=1e-12)
    other = Reinforce(target_of(SPACE), stream(0, "build"), hidden=8, batch=4, entropy=0.0, rate=1e-12)
    for each in (watched, other):
        simulate(each, planted_score(SPACE, 0), 4)
    for one, two in zip(watched.policy.parameters(), other.policy.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        if one.grad is not None:
            assert torch.allclose(one.grad * 5, two.grad, atol=1e-6)
    assert float(watched.policy.bias.grad.abs().max()) > 1e-3


@pytest.mark.slow
def test_a_planted_reward_is_learned_within_200_samples():
    """controller learns a planted reward (e.g. count of Rotate) above 2x the random mean in < 200 samples; the space is
    AutoAugment's: 5 sub-policies of 2 operations, 16 types, 11 probabilities, 10 magnitudes."""
    operations = [
        (
            Choice(f"type{index}", ["Rotate", *(f"op{number}" for number in range(15))], kind="type"),
            Choice(f"probability{index}", list(range(11)), kind="probability"),
            Choice(f"magnitude{index}", list(range(10)), kind="magnitude"),
        )
        for index in range(10)
    ]
    space = Space(*(decision for operation in operations for decision in operation))
    trials = simulate(
        searcher(space), lambda candidate: float(sum(value == "Rotate" for value in candidate.values())), 200
    )
    scores = [trial.metrics["score"] for trial in trials]
    assert np.mean(scores[-30:]) > 2 * 10 / 16


def test_a_batch_is_learned_from_once_and_forgotten():
    watched, steps = searcher(hidden=8, batch=5, epochs=3), []
    watched.step.register_step_post_hook(lambda *_: steps.append(1))
    simulate(watched, planted_score(SPACE, 0), 14)
    assert len(steps) == 2 * 3 and len(watched.batch) == 4


def test_failures_move_nothing_before_the_first_reward():
    watched = searcher(hidden=8, batch=2)
    before = [weight.detach().clone() for weight in watched.policy.parameters()]
    simulate(watched, lambda candidate: None, 12, parallel=8)
    assert all(torch.equal(old, new) for old, new in zip(before, watched.policy.parameters(), strict=True))
