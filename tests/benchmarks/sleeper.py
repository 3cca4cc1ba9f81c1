"""A target that sleeps, for measuring how busy workers are."""

from __future__ import annotations

import time

import gymnasium
import numpy as np

from automl_ext import Objective, Real, SearchEnv, Space


class Sleeper(SearchEnv):
    """Sleeps instead of training. durations: constant | lognormal (sigma 1) | asha (1, 3, 9, 27 shares)."""

    def __init__(self, durations: str = "constant", mean: float = 0.2):
        self.space = Space(Real("x", 0.0, 1.0))
        self.objectives = (Objective("score"),)
        self.durations, self.mean = durations, mean

    def evaluate(self, job, report):
        time.sleep(self.seconds(np.random.default_rng(job.seed)))
        return {"score": job.candidate["x"]}

    def seconds(self, rng) -> float:
        if self.durations == "lognormal":
            return self.mean * float(rng.lognormal(-0.5, 1.0))
        if self.durations == "asha":
            return self.mean * float(rng.choice([1, 3, 9, 27], p=[27 / 40, 9 / 40, 3 / 40, 1 / 40])) * 40 / 108
        return self.mean


gymnasium.register("bench/Sleeper-v0", entry_point="sleeper:Sleeper")
