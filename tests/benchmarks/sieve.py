"""What a sieve ahead of the full evaluation saves: ResNet-20 at half of its MACs, before fine-tuning.

    python tests/benchmarks/sieve.py [--data ../shared/data] [--trials 100] [--seeds 0 1 2] [--policies 60]
        [--share 0.5] [--importance magnitude] [--only none small gram]

Regularized evolution without and with a sieve, paired by seed. A trial goes on where its cheap accuracy is better than
`--quantile` of those of the trials that went on before. Time is the processor's seconds in evaluations of the search,
on one thread; the best by the 1,000 reward images is measured once on the 5,000 test images. Then the rank correlation
of the cheap with the full accuracy over random policies. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from evaluation import environment
from scipy.stats import spearmanr

from automl_ext import Run, search
from automl_ext.env import Job, Report
from automl_ext.objective import Metrics

spent: list[float] = []
evaluate = PruningEnv.evaluate


def timed(self: PruningEnv, job: Job, report: Report) -> Metrics:
    began = time.process_time()
    metrics = evaluate(self, job, report)
    if job.stage == "search":
        spent.append(time.process_time() - began)
    return metrics


def play(data: Path, sieve: str, quantile: float, trials: int, seed: int, **options: Any) -> tuple[float, int, float]:
    """Processor seconds, trials evaluated in full, and test accuracy of the best in percent."""
    spent.clear()
    stopping = {"name": "median", "warmup": 0, "quantile": quantile}
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(
            env={"id": "automl_ext/Pruning-v0", **environment(data, seed, sieve=sieve, **options)},
            searcher={"name": "regularized-evolution", "population": 20, "sample": 5},
            trials=trials,
            seed=seed,
            parallel=2,
            final=[{"top": 1}],
            executor="serial",
            out=folder,
            **({} if sieve == "none" else {"stopping": stopping}),
        )
        search(run)
        run.close()
        whole = sum(trial.origin == "evaluated" for trial in run.trials("search"))
        tested = [trial.metrics for trial in run.trials("test") if trial.note["role"] == "searched"]
        return sum(spent), whole, 100 * tested[0]["test_accuracy"] if tested[0] else 0.0


def correlation(data: Path, sieve: str, policies: int) -> float:
    """Spearman's, of the cheap with the full accuracy over random policies."""
    env, rng, rows = PruningEnv(**environment(data, 0, sieve=sieve)), np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as shared:
        env.prepare(Path(shared))
        for _ in range(policies):
            found = env.evaluate(Job(0, env.space.sample(rng), shared=shared), lambda step, value: False)
            rows.append((found["accuracy_sieve"], found["accuracy"]))
    return float(spearmanr(*zip(*rows, strict=True)).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--policies", type=int, default=60)
    parser.add_argument("--quantile", type=float, default=0.95)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--importance", default="magnitude")
    parser.add_argument("--only", nargs="*", default=["none", "small", "gram"], choices=["none", "small", "gram"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    PruningEnv.evaluate = timed  # type: ignore[method-assign]
    rows: dict[str, list[tuple[float, int, float]]] = {sieve: [] for sieve in options.only}
    for seed in options.seeds:
        for sieve in options.only:
            asked = {"macs_kept": options.share, "importance": options.importance}
            rows[sieve].append(play(options.data, sieve, options.quantile, options.trials, seed, **asked))
            print(f"seed {seed} {sieve:<6} {' '.join(f'{value:.2f}' for value in rows[sieve][-1])}", flush=True)
    print("\n| sieve | seconds | evaluated in full | test accuracy %, median | by seed |\n|---|---|---|---|---|")
    for sieve, found in rows.items():
        seconds, whole, right = ([row[column] for row in found] for column in range(3))
        by_seed = ", ".join(f"{value:.2f}" for value in right)
        print(
            f"| `{sieve}` | {statistics.median(seconds):.0f} | {statistics.median(whole):.0f} | "
            f"{statistics.median(right):.2f} | {by_seed} |"
        )
    for sieve in options.only if options.policies else []:
        if sieve != "none":
            print(f"{sieve}: rank correlation {correlation(options.data, sieve, options.policies):.2f}", flush=True)


if __name__ == "__main__":
    main()
