"""REINFORCE on an LSTM policy: the first neural architecture search.

B. Zoph, Q. V. Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017, arXiv 1611.01578; the gradient
after R. J. Williams, 1992.

Differs from the paper:
1. Made for 100 to 300 trials: one layer of 48 units instead of two of 35, a learning rate of 0.02 instead of 6e-4, and
   batches of 4 children instead of 800.
2. Rewards are divided by their spread, so that one learning rate serves every target, and one more than three spreads
   from the baseline counts as that far away.
3. An entropy bonus (the paper has none) keeps so small a sample from collapsing the policy; `entropy: 0` is the paper.
4. Several trials may be out at once (`parallel`); as in the paper's asynchronous training their gradient is the one of
   the policy when they are told. One at a time all children of a batch come from the policy that they update.
5. A failed trial, and one that misses a limit, counts as the worst reward so far.
6. What the child's reward is (the cube of its accuracy) is the target's matter, as is the growing depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from automl_ext.controllers.advantage import Advantage
from automl_ext.controllers.policy import Batch, Policy
from automl_ext.controllers.trace import Trace
from automl_ext.objective import reward
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial


class Reinforce:
    """hidden, layers: of the LSTM. rate: of Adam. batch: children an update. decay: of the baseline. entropy: weight of
    the bonus. Raises ValueError for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 48,
        layers: Annotated[int, Field(ge=1, le=8)] = 1,
        rate: Annotated[float, Field(gt=0, le=1)] = 0.02,
        batch: Annotated[int, Field(ge=1, le=4096)] = 4,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        entropy: Annotated[float, Field(ge=0, le=10)] = 0.2,
    ) -> None:
        one_objective(target.objectives, "reinforce")
        self.target, self.size, self.entropy = target, batch, entropy
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        self.policy = Policy(target.space, generator, hidden, layers)
        self.step = torch.optim.Adam(self.policy.parameters(), rate)
        self.advantage = Advantage(decay)
        self.batch: list[tuple[Trace, float]] = []

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        candidate, log_probs = self.policy.sample(rng)
        return Proposal(candidate, {"log_prob": sum(log_probs)})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Collect; with a whole batch take one step up the gradient of the expected reward."""
        advantage = self.advantage.of(reward(trial.metrics, self.target.objectives))
        trace = self.policy.layout.trace(trial.candidate)
        if advantage is None or not trace.open:
            return
        self.batch.append((trace, advantage))
        if len(self.batch) < self.size:
            return
        walks = self.policy.batch([trace for trace, _ in self.batch])
        gain = self.gain(walks, torch.tensor([advantage for _, advantage in self.batch]))
        self.batch = []
        self.step.zero_grad()
        (-gain).backward()
        self.step.step()

    def gain(self, walks: Batch, advantages: Tensor) -> Tensor:
        """The mean over candidates of log-probability times advantage (b,), plus the entropy bonus."""
        log_prob, entropy = self.policy(walks)
        gain: Tensor = (log_prob * advantages[walks.owner] + self.entropy * entropy).sum() / len(advantages)
        return gain
