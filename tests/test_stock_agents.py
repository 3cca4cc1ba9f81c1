"""Agents of other libraries train on our environments unchanged."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from automl_ext import Objective, SearchEnv
from automl_ext.testing.planted import planted_score, spaces

pytestmark = [pytest.mark.sb3, pytest.mark.slow]
stable_baselines3 = pytest.importorskip("stable_baselines3", reason="the extra `sb3` is not installed")
sb3_contrib = pytest.importorskip("sb3_contrib", reason="the extra `sb3` is not installed")


class Planted(SearchEnv):
    """The reward falls with the distance from a planted candidate."""

    def __init__(self, kind: str = "choice"):
        self.space, self.objectives = spaces()[kind], (Objective("score"),)
        self.score = planted_score(self.space, 0)

    def evaluate(self, job, report):
        return {"score": self.score(job.candidate)}


gymnasium.register("tests_stock_agents/Planted-v0", entry_point=Planted)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mean_reward(env, act, episodes=60):
    """Mean reward of whole episodes, each action from act(observation, masks)."""
    rewards = []
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            observation, reward, ended, _, info = env.step(act(observation, env.unwrapped.action_masks()))
        assert info["candidate"] in env.unwrapped.space
        rewards.append(reward)
    return np.mean(rewards)


def random_choice(env):
    rng = np.random.default_rng(0)
    if env.unwrapped.discrete:
        return lambda observation, masks: rng.choice(np.flatnonzero(masks))
    return lambda observation, masks: rng.random(1, dtype=np.float32)


@pytest.mark.parametrize("kind", ["choice", "conditional", "mixed"])
def test_maskable_ppo_of_sb3_contrib_trains_and_gets_better(kind):
    env = gymnasium.make("tests_stock_agents/Planted-v0", kind=kind)
    agent = sb3_contrib.MaskablePPO(
        "MlpPolicy", env, n_steps=256, batch_size=64, learning_rate=3e-3, seed=0, device="cpu"
    )
    agent.learn(3000)
    learned = mean_reward(env, lambda observation, masks: agent.predict(observation, action_masks=masks)[0])
    assert learned > mean_reward(env, random_choice(env)) + 0.05


@pytest.mark.parametrize("kind", ["number", "narrowed"])
def test_ddpg_of_stable_baselines3_trains_and_gets_better(kind):
    env = gymnasium.make("tests_stock_agents/Planted-v0", kind=kind)
    noise = stable_baselines3.common.noise.NormalActionNoise(np.zeros(1), np.full(1, 0.3))
    agent = stable_baselines3.DDPG(
        "MlpPolicy", env, learning_starts=200, batch_size=64, gamma=1.0, action_noise=noise, seed=0, device="cpu",
        policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    agent.learn(1500)
    learned = mean_reward(env, lambda observation, masks: agent.predict(observation, deterministic=True)[0], 3)
    assert learned > mean_reward(env, random_choice(env)) + 0.05
