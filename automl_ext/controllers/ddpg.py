"""DDPG, the agent of AMC: layer by layer a continuous action, one reward at the end.

Y. He, J. Lin, Z. Liu, H. Wang, L.-J. Li, S. Han, "AMC: AutoML for Model Compression and Acceleration on Mobile
Devices", ECCV 2018, arXiv 1802.03494; the agent after Lillicrap et al., 2015, arXiv 1509.02971.

Differs from the paper:
1. General for number spaces: a step is any Integer or Real decision; the action in [0, 1] is its place in the declared
   range, and the space's `narrow` (AMC's Algorithm 1) clips it. The realised value is what the replay stores.
2. Made for 60 to 150 episodes: hidden layers of 64 instead of 300, learning rates of 1e-3 (actor) and 1e-2 (critic)
   instead of 1e-4 and 1e-3, and a warm-up of 25 episodes instead of 100, of uniform actions as in the released code.
3. Several episodes may be out at once (`parallel`); each is learned from when it is told, in number order.
4. Rewards are divided by the spread of the warm-up's, so that one learning rate serves every target.
5. A failed episode, and one that misses a limit, counts as the worst reward so far, so that an agent that settles where
   evaluations fail is driven off; before the first success it gives no transitions.
6. After the warm-up's last episode the replay so far is learned from `passes` times, since few episodes follow.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import truncnorm
from torch import Tensor, nn

from automl_ext.objective import reward
from automl_ext.refusal import numbers_only, one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate, Walk

Floats = NDArray[np.float32]


def noise(warmup: int, number: int, sigma: float, decay: float) -> float:
    """Width of the exploration in episode `number`: constant in the warm-up, then falling by `decay` an episode."""
    return sigma * decay ** max(0, number - warmup)


def truncated_normal(mean: float, sigma: float, rng: np.random.Generator) -> float:
    """A draw from N(mean, sigma^2) cut to [0, 1]."""
    if sigma <= 1e-6:
        return min(max(mean, 0.0), 1.0)
    low, high = (0.0 - mean) / sigma, (1.0 - mean) / sigma
    return float(np.clip(truncnorm.rvs(low, high, loc=mean, scale=sigma, random_state=rng), 0.0, 1.0))


class Critic(nn.Module):
    """Q(state (n, d), action (n, 1)) -> (n, 1)."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.state = nn.Linear(size, hidden)
        self.action = nn.Linear(1, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        first = torch.relu(self.state(state) + self.action(action))
        value: Tensor = self.out(torch.relu(self.hidden(first)))
        return value


def actor(size: int, hidden: int) -> nn.Sequential:
    """mu(state (n, d)) -> (n, 1) in (0, 1)."""
    return nn.Sequential(
        nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
    )


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights and biases uniformly within 1 / sqrt(inputs), from `generator`."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)


def soften(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """slow <- (1 - tau) slow + tau fast."""
    with torch.no_grad():
        for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
            old.lerp_(new, tau)


class DDPG:
    """The agent learns in `tell`.

    warmup: episodes of random actions first. sigma, decay: exploration after that. hidden: width of the layers.
    actor_rate, critic_rate: of Adam. tau: of the soft updates. batch, replay: numbers of transitions. passes: over the
    replay when the warm-up ends. Raises SpaceError for a space with choices, naming the first of them; ValueError for
    several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        warmup: Annotated[int, Field(ge=1, le=100_000)] = 25,
        sigma: Annotated[float, Field(gt=0, le=10)] = 0.5,
        decay: Annotated[float, Field(gt=0, le=1)] = 0.95,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 64,
        actor_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        critic_rate: Annotated[float, Field(gt=0, le=1)] = 1e-2,
        tau: Annotated[float, Field(gt=0, le=1)] = 0.01,
        batch: Annotated[int, Field(ge=1, le=4096)] = 64,
        replay: Annotated[int, Field(ge=1, le=1_000_000)] = 2000,
        passes: Annotated[int, Field(ge=0, le=1000)] = 10,
    ) -> None:
        numbers_only(target.space, "ddpg")
        one_objective(target.objectives, "ddpg")
        for name, value in (("hidden", hidden), ("batch", batch), ("replay", replay)):
            if value < 1:
                raise ValueError(f"searcher.{name}: at least 1, not {value}")
        self.target, self.warmup, self.sigma, self.decay = target, warmup, sigma, decay
        self.tau, self.batch, self.passes = tau, batch, passes
        walk = target.space.walk()
        size = 1 if walk.done else len(self.observed(walk))
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        with torch.random.fork_rng(devices=[]):
            self.actor, self.critic = actor(size, hidden), Critic(size, hidden)
        for network in (self.actor, self.critic):
            initialise(network, generator)
        self.slow_actor, self.slow_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_step = torch.optim.Adam(self.actor.parameters(), actor_rate)
        self.critic_step = torch.optim.Adam(self.critic.parameters(), critic_rate)
        self.replay: deque[tuple[Floats, float, float, Floats, bool]] = deque(maxlen=replay)
        self.told = 0
        self.rewards: list[float] = []
        self.worst = math.inf
        self.baseline: float | None = None

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        if number < self.warmup:
            return Proposal(self.target.space.build(lambda walk: walk.declared.from_unit(float(rng.random()))))
        width = noise(self.warmup, number, self.sigma, self.decay)

        def act(walk: Walk) -> float | int | str | None:
            with torch.no_grad():
                mean = float(self.actor(torch.from_numpy(self.observed(walk)[None]))[0, 0])
            return walk.declared.from_unit(truncated_normal(mean, width, rng))

        return Proposal(self.target.space.build(act))

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Store the episode's transitions, all with the same reward, then one update a transition."""
        self.told += 1
        value = reward(trial.metrics, self.target.objectives)
        if math.isfinite(value):
            self.worst = min(self.worst, value)
            if self.told <= self.warmup:
                self.rewards.append(value)
        if math.isfinite(self.worst):
            steps = self.transitions(trial.candidate, value if math.isfinite(value) else self.worst)
            self.replay.extend(steps)
            if self.told > self.warmup:
                self._learn(len(steps), rng)
        if self.told == self.warmup:
            self._learn(self.passes * len(self.replay) // self.batch, rng)

    def observed(self, walk: Walk) -> Floats:
        """The target's features (d,) of an unfinished walk."""
        return np.asarray(self.target.observe(walk), np.float32)

    def transitions(self, candidate: Candidate, value: float) -> list[tuple[Floats, float, float, Floats, bool]]:
        """(state, realised action, reward, next state, done) of each step of a candidate's walk."""
        states, actions, walk = [], [], Walk(self.target.space)
        while not walk.done:
            states.append(self.observed(walk))
            actions.append(walk.declared.to_unit(candidate[walk.path]))
            walk.choose(candidate[walk.path])
        after = [*states[1:], np.zeros_like(states[0])] if states else []
        last = len(states) - 1
        return [(states[i], actions[i], value, after[i], i == last) for i in range(len(states))]

    def _learn(self, updates: int, rng: np.random.Generator) -> None:
        scale = max(float(np.std(self.rewards)), 1e-3) if self.rewards else 1.0
        for _ in range(updates if self.replay else 0):
            chosen = [self.replay[int(i)] for i in rng.integers(len(self.replay), size=self.batch)]
            states, actions, values, after, done = map(np.array, zip(*chosen, strict=True))
            mean = float(np.mean(values))
            self.baseline = mean if self.baseline is None else 0.5 * self.baseline + 0.5 * mean
            self._update(
                torch.from_numpy(states),
                torch.from_numpy(actions.astype(np.float32))[:, None],
                torch.from_numpy(((values - self.baseline) / scale).astype(np.float32))[:, None],
                torch.from_numpy(after),
                torch.from_numpy(done.astype(np.float32))[:, None],
            )

    def _update(self, state: Tensor, action: Tensor, value: Tensor, after: Tensor, done: Tensor) -> None:
        with torch.no_grad():
            goal = value + (1 - done) * self.slow_critic(after, self.slow_actor(after))
        loss = nn.functional.mse_loss(self.critic(state, action), goal)
        self.critic_step.zero_grad()
        loss.backward()
        self.critic_step.step()
        gain = self.critic(state, self.actor(state)).mean()
        self.actor_step.zero_grad()
        (-gain).backward()
        self.actor_step.step()
        soften(self.slow_actor, self.actor, self.tau)
        soften(self.slow_critic, self.critic, self.tau)
