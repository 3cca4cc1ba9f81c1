"""MetaQNN: a table of Q values over the walk, epsilon-greedy episodes, replay of whole episodes in reverse.

B. Baker, O. Gupta, N. Naik, R. Raskar, "Designing Neural Network Architectures using Reinforcement Learning",
ICLR 2017, arXiv 1611.02167.

As in the paper: new entries start at 0.5, the discount is 1, the reward comes at the end of an episode and nothing in
between, the schedule counts unique candidates and ends at 0.1, ties among the best actions are broken evenly.

Differs from the paper:
1. The state is what the target observes of an unfinished walk: a target that buckets its observations, as the paper
   does with feature-map sizes, shares entries between walks; the generic observation tells all walks apart.
2. Made for 100 to 300 trials: the epsilon table is the paper's divided by 50 (54 unique candidates instead of 2700),
   and the learning rate is 0.5 instead of 0.01, at which so few updates hardly move an entry.
3. The search does not end with the table: the last epsilon stays.
4. The reward is the share of all candidates so far that are worse (ties count half), not the accuracy itself: the start
   value of 0.5 is then the average candidate on any target, "near, and rather below" which the authors put it. Failed
   trials are the worst; candidates that miss a limit are ranked by how far they miss it, below all others.
5. An episode that ends at a known candidate costs the paper no training and is remembered again. So it is here, up to
   `redraws` times an ask: the table learns from it when the new candidate is told, not at once.
6. Several trials may be out at once (`parallel`): an episode that ends at a candidate that is out is drawn anew.
7. While a state's entry is new, the greedy action goes by the mean reward of all candidates that took the action at
   this path, learned in the same replay with the rate `prior`; 0 is the paper. With so few trials most states are new.
8. Whole numbers are actions, too, up to 64 values a decision.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from automl_ext.decisions import Choice, Decision, Integer, SpaceError, Value
from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate, Space, Walk

MOST = 64
"""How many values a number may have."""
WORST = rank(None, ())
PAPER_EPSILONS = (
    *((1.0, 1500), (0.9, 100), (0.8, 100), (0.7, 100), (0.6, 150)),
    *((0.5, 150), (0.4, 150), (0.3, 150), (0.2, 150), (0.1, 150)),
)
"""(epsilon, unique candidates) of the paper, in order."""
EPSILONS = tuple((epsilon, count // 50) for epsilon, count in PAPER_EPSILONS)

Phase = tuple[Annotated[float, Field(ge=0, le=1)], Annotated[int, Field(ge=1, le=1_000_000)]]


@dataclass(frozen=True)
class Step:
    """One decision of an episode.

    row: the table's entries of the state, by action. means: mean rewards at this path, by action. legal: the actions
    that were open.
    """

    row: dict[Value, float]
    means: dict[Value, float]
    action: Value
    legal: Sequence[Value]


@dataclass
class Episode:
    """A candidate's steps, and the standing (`objective.rank`) that it got."""

    steps: list[Step]
    standing: tuple[float, float]


class QLearning:
    """The table learns in `tell`.

    epsilons: (epsilon, unique candidates) in order; the last epsilon stays. rate: of learning. batch: episodes replayed
    a told trial. initial: of new entries. discount: of what comes later. replay: episodes remembered. redraws: how
    often an episode that ends at a known candidate is drawn anew. prior: rate of the mean rewards by path.
    Raises SpaceError for a space with reals, or numbers of more than 64 values, naming the first of them; ValueError
    for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        epsilons: Annotated[tuple[Phase, ...], Field(min_length=1)] = EPSILONS,
        rate: Annotated[float, Field(gt=0, le=1)] = 0.5,
        batch: Annotated[int, Field(ge=1, le=10_000)] = 128,
        initial: Annotated[float, Field(ge=0, le=1)] = 0.5,
        discount: Annotated[float, Field(ge=0, le=1)] = 1.0,
        replay: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000,
        redraws: Annotated[int, Field(ge=0, le=1000)] = 10,
        prior: Annotated[float, Field(ge=0, le=1)] = 0.02,
    ) -> None:
        countable_only(target.space)
        one_objective(target.objectives, "q-learning")
        if not epsilons:
            raise ValueError("searcher.epsilons: at least one pair")
        self.target, self.epsilons = target, tuple((float(epsilon), int(count)) for epsilon, count in epsilons)
        self.rate, self.batch, self.initial, self.discount = rate, batch, initial, discount
        self.redraws, self.prior = redraws, prior
        self.table: dict[bytes, dict[Value, float]] = {}
        self.means: dict[str, dict[Value, float]] = {}
        self.known: dict[str, Episode] = {}
        self.replay: deque[Episode] = deque(maxlen=replay)
        self.standings: list[tuple[float, float]] = []

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        """The note's `again`: keys of known candidates at which episodes ended before this one."""
        out = {self.target.space.key(proposal.candidate) for proposal in pending}
        epsilon, again = self.epsilon, list[str]()
        candidate = self.episode(epsilon, rng)
        for _ in range(self.redraws):
            key = self.target.space.key(candidate)
            if key not in self.known and key not in out:
                break
            if key in self.known:
                again.append(key)
            candidate = self.episode(epsilon, rng)
        return Proposal(candidate, {"again": again})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Remember the episode, and such as ended at known candidates; then replay `batch` drawn with replacement."""
        standing = rank(trial.metrics, self.target.objectives)
        if not all(math.isfinite(value) for value in standing):
            standing = WORST
        key = self.target.space.key(trial.candidate)
        if key in self.known:
            self.known[key].standing = standing
        else:
            self.known[key] = Episode(self.steps(trial.candidate), standing)
            insort(self.standings, standing)
        self.replay.extend(self.known[again] for again in (*trial.note.get("again", ()), key))
        for index in rng.integers(len(self.replay), size=self.batch):
            episode = self.replay[index]
            self.learn(episode.steps, self.share(episode.standing))

    @property
    def epsilon(self) -> float:
        """The chance of a random action, by how many unique candidates were told."""
        left = len(self.known)
        for epsilon, count in self.epsilons:
            if left < count:
                return epsilon
            left -= count
        return self.epsilons[-1][0]

    def share(self, standing: tuple[float, float]) -> float:
        """The share of all unique candidates told that are worse, ties counted half."""
        places = bisect_left(self.standings, standing) + bisect_right(self.standings, standing)
        return places / 2 / len(self.standings)

    def episode(self, epsilon: float, rng: np.random.Generator) -> Candidate:
        """Each decision at random with probability `epsilon`, else a best one; legal ones only."""

        def act(walk: Walk) -> Value:
            legal = values(walk.decision)
            if rng.random() < epsilon:
                return legal[int(rng.integers(len(legal)))]
            row, means = self.table.get(self.seen(walk), {}), self.means.get(walk.path, {})
            worth = [row.get(action, means.get(action, self.initial)) for action in legal]
            most = max(worth)
            best = [index for index, value in enumerate(worth) if value == most]
            return legal[best[int(rng.integers(len(best)))]]

        return self.target.space.build(act)

    def learn(self, steps: Sequence[Step], reward: float) -> None:
        """One episode from its end to its start: the last step gets the reward, the others the next state's best."""
        goal = reward
        for step in reversed(steps):
            row, means, action = step.row, step.means, step.action
            means[action] += self.prior * (reward - means[action])
            row[action] += self.rate * (goal - row[action])
            goal = self.discount * self.best(row, step.legal)

    def best(self, row: Mapping[Value, float], legal: Sequence[Value]) -> float:
        """The largest entry among the legal actions of a state; new ones count with the start value."""
        known = [row[action] for action in row if action in legal]
        most = max(known, default=self.initial)
        return most if most > self.initial or len(known) == len(legal) else self.initial

    def seen(self, walk: Walk) -> bytes:
        """16 bytes that stand for the bytes of the target's observation."""
        observed = np.ascontiguousarray(self.target.observe(walk), np.float32)
        return hashlib.blake2b(observed.tobytes(), digest_size=16).digest()

    def steps(self, candidate: Candidate) -> list[Step]:
        """The decisions of a candidate's walk, each with its entry in the table; none where all are settled."""
        found, walk = list[Step](), Walk(self.target.space)
        while not walk.done:
            action = candidate[walk.path]
            row, means = self.table.setdefault(self.seen(walk), {}), self.means.setdefault(walk.path, {})
            row.setdefault(action, self.initial)
            means.setdefault(action, self.initial)
            found.append(Step(row, means, action, values(walk.decision)))
            walk.choose(action)
        return found


def values(decision: Decision) -> Sequence[Value]:
    """All legal values of a choice or a whole number. SpaceError for a real."""
    if isinstance(decision, Choice):
        return decision.options
    if isinstance(decision, Integer):
        return range(decision.low, decision.high + 1, decision.step)
    raise SpaceError(f"{decision.name}: a real has no list of values")


def countable_only(space: Space) -> None:
    """SpaceError naming the first number of `space` that has too many values for a table."""
    for slot in space.slots:
        for decision in slot.decisions:
            if isinstance(decision, Choice) or (decision.count is not None and decision.count <= MOST):
                continue
            count = decision.count or "infinitely many"
            raise SpaceError(
                f"{slot.path}: q-learning keeps a table, and this number has {count} values of at most {MOST}; "
                "use another searcher"
            )
