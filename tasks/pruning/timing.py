"""Wall-clock quantities: what the parts of an evaluation cost.

They are reported and stay outside the promise of determinism (`SearchEnv.measured`).
"""

from __future__ import annotations

import time
from typing import final

from automl_ext.latency import settle

__all__ = ["MEASURED", "Laps"]

MEASURED = (
    "latency_ms", "latency_iqr_ms",
    "seconds_sieve", "seconds_prune", "seconds_reconstruct", "seconds_tune", "seconds_measure",
)  # fmt: skip
"""Names of the metrics that are made here and by automl_ext/latency.py."""


@final
class Laps:
    """Seconds by part of an evaluation: each part begins where the last one ended, the first where this is made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, part: str) -> None:
        """Count the time since the last call as `seconds_<part>`. Waits for what a GPU is still to do."""
        settle()
        now = time.perf_counter()
        name = f"seconds_{part}"
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
