"""What the loop itself costs a trial: a target that does nothing, the durable journal included.

    python tests/benchmarks/overhead.py [--trials 100000]

Prints milliseconds a trial beside Optuna with its SQLite storage in the same run (where Optuna is installed), then the
time of the last tenth of a long search against its first tenth, and how much the driver's memory grew.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import gymnasium

from automl_ext import Choice, Integer, Objective, Real, Run, SearchEnv, Space, search


class Noop(SearchEnv):
    """Three decisions, no work."""

    def __init__(self):
        self.space = Space(Choice("a", ["x", "y", "z"]), Integer("b", 0, 1000), Real("c", 0.0, 1.0))
        self.objectives = (Objective("score"),)

    def evaluate(self, job, report):
        return {"score": job.candidate["c"]}


class Clock:
    """A progress display that only notes when each trial was told, and the memory then."""

    def __init__(self):
        self.times: list[float] = []
        self.memory: dict[int, float] = {}

    def start(self, run): ...
    def stage(self, name, total): ...
    def note(self, text): ...
    def close(self): ...

    def trial(self, trial, told, out, best, left_s):
        self.times.append(time.perf_counter())
        if told % 1000 == 0:
            self.memory[told] = resident_mb()


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def ours(trials: int, folder: str) -> Clock:
    gymnasium.register("bench/Noop-v0", entry_point=Noop)
    clock = Clock()
    fields = {
        "env": "bench/Noop-v0",
        "searcher": "random",
        "trials": trials,
        "final": [],
        "executor": {"name": "serial"},
    }
    run = Run.create(fields, out=folder)
    search(run, env=Noop(), progress=clock)
    run.close()
    return clock


def optuna_ms(trials: int, folder: str) -> list[float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", sampler=sampler, direction="maximize")

    def objective(trial):
        trial.suggest_categorical("a", ["x", "y", "z"])
        trial.suggest_int("b", 0, 1000)
        return trial.suggest_float("c", 0.0, 1.0)

    costs = []
    for _ in range(trials):
        began = time.perf_counter()
        study.optimize(objective, n_trials=1)
        costs.append((time.perf_counter() - began) * 1e3)
    return costs


def spread(costs: list[float]) -> str:
    low, middle, high = statistics.quantiles(costs, n=4)
    return f"{middle:8.3f} ms a trial (quartiles {low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clock = ours(options.trials, folder)
        steps = [(right - left) * 1e3 for left, right in zip(clock.times, clock.times[1:], strict=False)]
        print(f"automl-ext, random, serial, journal   {spread(steps)}")
        try:
            theirs = optuna_ms(200, folder)
        except ImportError:
            print("optuna is not installed (pip install automl-ext[optuna]): no comparison")
        else:
            print(f"Optuna, random, SQLite storage        {spread(theirs)}")
            print(f"ratio of the medians                  1/{statistics.median(theirs) / statistics.median(steps):.0f}")
        tenth = len(steps) // 10
        first, last = sum(steps[:tenth]), sum(steps[-tenth:])
        print(f"{options.trials} trials: last tenth / first tenth = {last / first:.2f}")
        marks = sorted(clock.memory)
        if marks:
            first_mb, last_mb = clock.memory[marks[0]], clock.memory[marks[-1]]
            print(f"driver memory: {first_mb:.0f} MB after {marks[0]} trials, +{last_mb - first_mb:.1f} MB at the end")


if __name__ == "__main__":
    main()
