"""Advantages: how much better a trial was than those before it, the weight of its policy gradient."""

from __future__ import annotations

import math


class Advantage:
    """Rewards against an exponential moving average of the earlier ones, in units of their spread.

    decay: weight of the past in both averages. mean, square: the averages as they run from 0, of rewards and of squared
    deviations; they are used divided by the weight they have seen, so that the first rewards count in full.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.mean = self.square = 0.0
        self.seen = 0
        self.worst = math.inf

    @property
    def baseline(self) -> float:
        """The moving average of the rewards so far; 0 before the first."""
        return self.mean / (1.0 - self.decay**self.seen) if self.seen else 0.0

    def of(self, value: float) -> float | None:
        """The advantage of the next reward, which then counts as an earlier one.

        A reward that is not finite (a failed trial, one that misses a limit) counts as the worst so far. None before
        the first finite one: nothing can be learned yet. 0 for the first.
        """
        if math.isfinite(value):
            self.worst = min(self.worst, value)
        elif math.isinf(self.worst):
            return None
        value = value if math.isfinite(value) else self.worst
        gap = value - self.baseline if self.seen else 0.0
        self.seen += 1
        self.mean = self.decay * self.mean + (1.0 - self.decay) * value
        self.square = self.decay * self.square + (1.0 - self.decay) * gap**2
        spread = math.sqrt(self.square / (1.0 - self.decay**self.seen))
        return gap / spread if spread > 1e-12 * max(1.0, abs(value)) else 0.0
