"""PPO on an LSTM policy: the controller of NASNet, AutoAugment and MnasNet, and of Neural Optimizer Search.

B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le, "Learning Transferable Architectures for Scalable Image Recognition", CVPR
2018, arXiv 1707.07012; E. D. Cubuk et al., "AutoAugment", CVPR 2019, arXiv 1805.09501; M. Tan et al., "MnasNet", CVPR
2019, arXiv 1807.11626; I. Bello et al., "Neural Optimizer Search with Reinforcement Learning", ICML 2017, arXiv
1709.07417. The objective after J. Schulman et al., "Proximal Policy Optimization Algorithms", 2017, arXiv 1707.06347.

Differs from the papers:
1. Made for 100 to 300 trials: 48 units instead of 100, a learning rate of 0.01 instead of 3.5e-4, batches of 8 instead
   of 20, a baseline that forgets faster (0.9 instead of 0.95), and a larger entropy bonus (0.1 instead of 1e-5; Neural
   Optimizer Search has 0.0015): with a smaller one the policy settles before it has seen enough.
2. What the papers leave open: the ratio is clipped at 0.2 a decision, the advantage is the candidate's, a batch is
   learned from in 6 epochs, with Adam.
3. Rewards are divided by their spread, so that one learning rate serves every target, and one more than three spreads
   from the baseline counts as that far away.
4. Several trials may be out at once (`parallel`): some of a batch may come from an older policy, which the ratio to the
   log-probability at sampling accounts for. One at a time all of a batch come from the policy that they update.
5. A failed trial, and one that misses a limit, counts as the worst reward so far.
6. Neural Optimizer Search used TRPO, which PPO replaced in the later work of its authors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from automl_ext.controllers.advantage import Advantage
from automl_ext.controllers.policy import Policy
from automl_ext.controllers.trace import Trace
from automl_ext.objective import reward
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's objective of each decision: min(r A, clip(r, 1 - clip, 1 + clip) A)."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


class PPO:
    """hidden, layers: of the LSTM. rate: of Adam. batch: trials an update. epochs: how often each is learned from.
    clip: how far a decision's probability may move an update. decay: of the baseline. entropy: weight of the bonus, for
    the mean entropy of a decision. Raises ValueError for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 48,
        layers: Annotated[int, Field(ge=1, le=8)] = 1,
        rate: Annotated[float, Field(gt=0, le=1)] = 0.01,
        batch: Annotated[int, Field(ge=1, le=4096)] = 8,
        epochs: Annotated[int, Field(ge=1, le=100)] = 6,
        clip: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        entropy: Annotated[float, Field(ge=0, le=10)] = 0.1,
    ) -> None:
        one_objective(target.objectives, "ppo")
        self.target, self.size, self.epochs, self.clip, self.entropy = target, batch, epochs, clip, entropy
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        self.policy = Policy(target.space, generator, hidden, layers)
        self.step = torch.optim.Adam(self.policy.parameters(), rate)
        self.advantage = Advantage(decay)
        self.batch: list[tuple[Trace, float, list[float]]] = []

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        candidate, log_probs = self.policy.sample(rng)
        return Proposal(candidate, {"log_probs": log_probs})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Collect; learn from a whole batch for some epochs, then forget it."""
        advantage = self.advantage.of(reward(trial.metrics, self.target.objectives))
        trace = self.policy.layout.trace(trial.candidate)
        if advantage is None or not trace.open:
            return
        self.batch.append((trace, advantage, list(trial.note["log_probs"])))
        if len(self.batch) == self.size:
            self._learn()
            self.batch = []

    def _learn(self) -> None:
        walks = self.policy.batch([trace for trace, _, _ in self.batch])
        advantage = torch.tensor([advantage for _, advantage, _ in self.batch])[walks.owner]
        sampled = torch.tensor([log_prob for _, _, log_probs in self.batch for log_prob in log_probs])
        for _ in range(self.epochs):
            log_prob, entropy = self.policy(walks)
            gain = clipped((log_prob - sampled).exp(), advantage, self.clip).mean() + self.entropy * entropy.mean()
            self.step.zero_grad()
            (-gain).backward()
            self.step.step()
