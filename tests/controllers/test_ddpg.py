"""AMC's agent: the properties of the specification that concern it, each quoted.

Left out: what concerns the environment (removed fraction, bookkeeping, state, dense accuracy), reconstruction, rewards
and export is tested with the pruning task.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from automl_ext.controllers.ddpg import DDPG, noise, soften, truncated_normal
from automl_ext.decisions import Choice, Integer, SpaceError
from automl_ext.searcher import Trial, stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import planted_score, spaces, target_of

torch.set_num_threads(1)
SPACE = Space(*(Integer(f"n{index}", 1, 32) for index in range(3)))


def agent(space=SPACE, **options):
    return DDPG(target_of(space), stream(0, "build"), **options)


def told(searcher, number, value):
    candidate = {"n0": 1, "n1": 16, "n2": 32}
    trial = Trial(number, "search", candidate, {}, None, 0, None, None if value is None else {"score": value})
    searcher.tell(trial, stream(0, "tell", number))


@pytest.mark.slow
def test_truncated_normal():
    """truncated normal: samples in [0,1], sigma at episode warmup+k is 0.5*0.95^k, mean -> mu as sigma -> 0"""
    rng = np.random.default_rng(0)
    for mean in (0.0, 0.3, 1.0):
        draws = [truncated_normal(mean, 0.5, rng) for _ in range(300)]
        assert all(0 <= draw <= 1 for draw in draws)
        assert abs(np.mean([truncated_normal(mean, 1e-3, rng) for _ in range(100)]) - mean) < 1e-3
        assert truncated_normal(mean, 0.0, rng) == mean
    assert [noise(25, 25 + k, 0.5, 0.95) for k in range(4)] == [0.5 * 0.95**k for k in range(4)]
    assert noise(25, 3, 0.5, 0.95) == 0.5


@pytest.mark.slow
def test_a_constant_reward_gives_targets_of_zero():
    """moving baseline: constant reward gives targets -> 0 for the last step"""
    searcher = agent(warmup=1)
    seen = []
    searcher._update = lambda state, action, value, after, done: seen.append(float(value.abs().max()))
    for number in range(6):
        told(searcher, number, 0.7)
    assert seen and max(seen) < 1e-6


@pytest.mark.slow
def test_soft_update():
    """soft update formula"""
    fast, slow = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    expected = [0.99 * old + 0.01 * new for old, new in zip(slow.parameters(), fast.parameters(), strict=True)]
    soften(slow, fast, 0.01)
    for value, wanted in zip(slow.parameters(), expected, strict=True):
        torch.testing.assert_close(value, wanted)


@pytest.mark.slow
def test_the_last_step_has_no_future():
    """done masks bootstrap: at the last step the target is R - b, whatever the next state's value is."""
    searcher = agent(warmup=1)
    state, action, value = torch.zeros(1, searcher.actor[0].in_features), torch.zeros(1, 1), torch.full((1, 1), 3.0)
    goals = []
    original = torch.nn.functional.mse_loss
    torch.nn.functional.mse_loss = lambda guess, goal: goals.append(goal.clone()) or original(guess, goal)
    try:
        searcher._update(state, action, value, state + 9, torch.ones(1, 1))
        searcher._update(state, action, value, state + 9, torch.zeros(1, 1))
    finally:
        torch.nn.functional.mse_loss = original
    assert float(goals[0]) == 3.0 and float(goals[1]) != 3.0


@pytest.mark.slow
def test_every_step_of_an_episode_gets_the_same_reward_and_the_realised_action():
    """Transitions are (s_t, a_t, R, s_{t+1}) with the SAME final reward R on every step."""
    steps = agent().transitions({"n0": 1, "n1": 16, "n2": 32}, 0.25)
    assert [step[2] for step in steps] == [0.25] * 3
    assert [step[1] for step in steps] == [0.0, pytest.approx(15 / 31), 1.0]
    assert [step[4] for step in steps] == [False, False, True]
    assert all((steps[i][3] == steps[i + 1][0]).all() for i in range(2))


@pytest.mark.slow
def test_warm_up_does_not_learn_and_what_follows_does():
    searcher = agent(warmup=4)
    weights = [weight.clone() for weight in searcher.actor.parameters()]
    for number in range(3):
        told(searcher, number, number / 10)
    assert all((old == new).all() for old, new in zip(weights, searcher.actor.parameters(), strict=True))
    for number in range(3, 7):
        told(searcher, number, number / 10)
    assert any((old != new).any() for old, new in zip(weights, searcher.actor.parameters(), strict=True))


@pytest.mark.slow
def test_failed_episodes_count_as_the_worst_reward_so_far():
    """Before the first success they leave nothing; afterwards an agent that settles where evaluations fail moves on."""
    searcher = agent(warmup=2)
    for number in range(3):
        told(searcher, number, None)
    assert len(searcher.replay) == 0 and searcher.told == 3
    for number, value in enumerate([0.4, 0.2, 0.9, None], 3):
        told(searcher, number, value)
    assert [step[2] for step in searcher.replay][::3] == [0.4, 0.2, 0.9, 0.2]


@pytest.mark.slow
def test_one_update_per_transition_after_an_episode():
    """after an episode ends, push its T transitions and do one update per transition"""
    searcher, updates = agent(warmup=1, passes=0), []
    searcher._update = lambda *batch: updates.append(len(batch[0]))
    for number in range(5):
        told(searcher, number, number / 10)
    assert updates == [64] * 3 * 4


def test_the_action_is_a_place_in_the_declared_range_and_narrow_clips_it():
    """The space's narrow bounds the action; the stored action is the realised one, in the declared range."""
    space = spaces()["narrowed"]
    searcher = agent(space, warmup=0, sigma=3.0)
    for number in range(40):
        candidate = searcher.ask(number, [], stream(0, "ask", number)).candidate
        assert candidate in space
        for path, step in zip(candidate, searcher.transitions(candidate, 1.0), strict=False):
            assert step[1] == pytest.approx((candidate[path] - 1) / 15)


def test_features_of_any_float_type_are_taken():
    target = target_of(SPACE)
    wide = replace(target, observe=lambda walk: target.observe(walk).astype(np.float64))
    trials = [simulate(DDPG(t, stream(0, "build"), warmup=2), planted_score(SPACE, 0), 6) for t in (target, wide)]
    assert trials[0] == trials[1]


@pytest.mark.parametrize("option", ["hidden", "batch", "replay"])
def test_sizes_below_one_are_refused(option):
    with pytest.raises(ValueError, match=rf"searcher.{option}: at least 1, not 0"):
        agent(**{option: 0})


def test_it_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    simulate(agent(warmup=3), planted_score(SPACE, 0), 8)
    assert (torch.random.get_rng_state() == before).all()


def test_a_space_with_choices_is_refused_by_name():
    with pytest.raises(SpaceError, match="activation: ddpg decides numbers only"):
        agent(Space(Integer("n", 1, 2), Choice("activation", ["relu", "tanh"])))
