"""How busy two process workers are at `parallel: 8`: constant, lognormal and ASHA-like durations.

    python tests/benchmarks/utilisation.py [--trials 60] [--seeds 3]

Utilisation = seconds inside evaluations / (workers x seconds from the first evaluation's start to the last one's end).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from automl_ext import Run, search


class Span:
    """Notes when the search stage began to run (the first tell minus its seconds) and ended."""

    def __init__(self):
        self.began: float | None = None
        self.busy = self.ended = 0.0

    def start(self, run): ...
    def stage(self, name, total): ...
    def note(self, text): ...
    def close(self): ...

    def trial(self, trial, told, out, best, left_s):
        now = time.perf_counter()
        if self.began is None:
            self.began = now - trial.seconds
        self.busy += trial.seconds
        self.ended = now


def utilisation(durations: str, trials: int, seed: int, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(
            env={"id": "sleeper:bench/Sleeper-v0", "durations": durations},
            searcher="random",
            trials=trials,
            seed=seed,
            final=[],
            executor={"name": "process", "workers": workers},
            out=folder,
        )
        span = Span()
        search(run, progress=span)
        run.close()
    return span.busy / (workers * (span.ended - (span.began or 0.0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"2 process workers, parallel 8, {options.trials} trials of 0.2 s in the mean, {options.seeds} seeds")
    for durations in ("constant", "lognormal", "asha"):
        values = [utilisation(durations, options.trials, seed, 2) for seed in range(options.seeds)]
        print(f"{durations:<10} median {statistics.median(values):.3f}  (from {min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    os.chdir(here)
    sys.path.append(here)
    main()
