"""Density matching as a sieve: does it rank policies as training does, and what does it save?

    python tests/benchmarks/augmentation_sieve.py [digits | cifar10 --data FOLDER | fashion-mnist] [--policies 40]
        [--retrained 2] [--rows rows.jsonl] [--write tasks/augmentation/README.md]

Random policies are scored by density and trained from scratch in full, with several seeds. Spearman's rank
correlations, with 95 % intervals by bootstrap over the policies: of the density with the mean of the trainings and with
one of them, and of one training with another, which is what any cheaper score can hope for. Costs are the seconds that
the process ran: of 200 policies by density, with the networks that `prepare` trains, and of training 200 of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from augmentation import TASKS, environment
from numpy.typing import NDArray
from pruning_table import write
from scipy.stats import spearmanr

from automl_ext import Job, make
from automl_ext.env import never_stop
from automl_ext.worker import one_thread

MANY = 200
"""Policies of the search whose cost is told."""
Row = dict[str, Any]
"""task, number, density, trained: accuracies in percent; density_s, trained_s: seconds of one; prepare_s."""


def measured(name: str, given: argparse.Namespace, rows: list[Row], keep: Callable[[Row], None]) -> None:
    """Append a row a policy to `rows`, those that are not there yet."""
    options = environment(name, 0, given.data, estimator="density", draws=given.draws)
    env = make(options.pop("id"), **options).unwrapped
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        env.prepare(Path(folder))
        prepared = time.process_time() - began
        for number in range(given.policies):
            if any((row["task"], row["number"]) == (name, number) for row in rows):
                continue
            candidate = env.space.sample(np.random.default_rng((7, number)))
            score, cheap = _timed(env, Job(number, candidate, shared=folder))
            trained = [
                _timed(env, Job(number, candidate, budget=env.epochs, seed=seed)) for seed in range(given.retrained)
            ]
            rows.append(
                {
                    "task": name, "number": number, "density": score, "trained": [value for value, _ in trained],
                    "density_s": cheap, "trained_s": statistics.mean(took for _, took in trained),
                    "prepare_s": prepared,
                }
            )  # fmt: skip
            keep(rows[-1])


def _timed(env: Any, job: Job) -> tuple[float, float]:
    began = time.process_time()
    accuracy = 100 * env.evaluate(job, never_stop)["accuracy"]
    return accuracy, time.process_time() - began


def table(rows: list[Row], name: str) -> str:
    some = [row for row in rows if row["task"] == name]
    density = np.array([row["density"] for row in some])
    trained = np.array([row["trained"] for row in some])
    cheap = statistics.median(row["prepare_s"] for row in some) + MANY * statistics.median(
        row["density_s"] for row in some
    )
    dear = MANY * statistics.median(row["trained_s"] for row in some)
    env = TASKS[name]["env"]
    lines = [
        f"{name}, {env['images']} labelled images: {len(some)} random policies, {trained.shape[1]} trainings of"
        f" {env['epochs']} epochs each.",
        "",
        "| rank correlation | Spearman's (95 % interval) |",
        "|---|---|",
        f"| density, mean of the trainings | {_interval(density, trained.mean(1))} |",
        f"| density, one training | {_interval(density, trained[:, 0])} |",
    ]
    if trained.shape[1] > 1:
        lines.append(f"| one training, another | {_interval(trained[:, 0], trained[:, 1])} |")
    lines += [
        "",
        f"{MANY} policies by density take {cheap:.0f} seconds, {MANY} trainings {dear:.0f}: 1/{dear / cheap:.0f}.",
    ]
    return "\n".join(lines)


def _interval(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(one), size=len(one)) for _ in range(2000)]
    values = [spearmanr(one[places], other[places]).statistic for places in drawn]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{spearmanr(one, other).statistic:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=list(TASKS), default="digits")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--policies", type=int, default=40)
    parser.add_argument("--retrained", type=int, default=2, help="trainings a policy")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--rows", type=Path, help="JSON lines: what stands there is kept, what is new is added")
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    given = parser.parse_args()
    one_thread()
    rows = (
        [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows and given.rows.exists() else []
    )

    def keep(row: Row) -> None:
        print({name: row[name] for name in ("number", "density", "trained")}, flush=True)
        if given.rows:
            with given.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")

    measured(given.task, given, rows, keep)
    text = table(rows, given.task)
    print(text)
    if given.write:
        write(text, given.write, ("<!-- sieve: begin -->", "<!-- sieve: end -->"))


if __name__ == "__main__":
    main()
