"""Advantages: how much better a trial was than those before it, the weight of its policy gradient."""

from __future__ import annotations

import math

FARTHEST = 3.0


class Advantage:
    """Rewards against an exponential moving average of the earlier ones, in units of their spread.

    The spread is the mean distance from that average. A reward more than FARTHEST spreads away counts as one that is so
    far away, for the averages, too: one broken network among good ones must not make all that follow look good.

    decay: weight of the past in both averages. mean, gaps: the averages of rewards and of distances as they run from 0;
    they are used divided by the weight they have seen, so that the first rewards count in full.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.mean = self.gaps = 0.0
        self.seen = 0
        self.worst = math.inf

    @property
    def baseline(self) -> float:
        """The moving average of the rewards so far; 0 before the first."""
        return self.mean / (1.0 - self.decay**self.seen) if self.seen else 0.0

    @property
    def spread(self) -> float:
        """The moving average of the distances so far, of which the first reward has none; 0 before the second."""
        return self.gaps / (1.0 - self.decay ** (self.seen - 1)) if self.seen > 1 else 0.0

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
        if self.spread > 0.0:
            gap = min(max(gap, -FARTHEST * self.spread), FARTHEST * self.spread)
        self.mean = self.decay * self.mean + (1.0 - self.decay) * (self.baseline + gap if self.seen else value)
        self.gaps = self.decay * self.gaps + (1.0 - self.decay) * abs(gap)
        self.seen += 1
        return gap / self.spread if self.spread > 1e-12 * max(1.0, abs(value)) else 0.0
