"""Fine-grained pruning on digits: searches of a share of the weights, beside one threshold over all layers.

    python tests/benchmarks/pruning_weights.py [--shares 0.25 0.1] [--trials 100] [--seeds 0 1 2]
        [--searchers regularized-evolution ddpg random] [--budget weights_kept]

`small` is trained once; each search takes its evaluations one after the other, and the best by validation is measured
once on the test images, without fine-tuning. Prints a Markdown table: test accuracy in percent, median (from to).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from automl_ext.tasks.pruning.weight_env import WeightPruningEnv

from automl_ext import Run, search

SEARCHERS: dict[str, dict[str, Any]] = {
    "regularized-evolution": {"name": "regularized-evolution", "population": 20},
    "ddpg": {"name": "ddpg", "warmup": 25},
    "random": {"name": "random"},
}


def played(env: dict[str, Any], searcher: dict[str, Any], trials: int, seed: int, out: Path) -> dict[str, float]:
    """Test accuracy in percent: of the best policy, by the searcher's name, and of the references by theirs."""
    run = Run.create(
        env={"id": "automl_ext/WeightPruning-v0", **env}, searcher=searcher, trials=trials, seed=seed, parallel=1,
        final=[{"top": 1}], executor="serial", out=out,
    )  # fmt: skip
    search(run)
    notes = [(trial.note, trial.metrics) for trial in run.trials("test") if trial.metrics]
    run.close()
    named = {searcher["name"] if note["role"] == "searched" else note["name"]: made for note, made in notes}
    return {name: 100 * made["test_accuracy"] for name, made in named.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.25, 0.1])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--searchers", nargs="*", default=list(SEARCHERS), choices=list(SEARCHERS))
    parser.add_argument("--budget", default="weights_kept", choices=["weights_kept", "macs_kept"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[float, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        WeightPruningEnv().prepare(Path(folder))
        for share in given.shares:
            env = {"weights": f"{folder}/network.safetensors", "high": {"conv": 0.95}, given.budget: share}
            for seed in given.seeds:
                for name in given.searchers:
                    for policy, right in played(env, SEARCHERS[name], given.trials, seed, Path(folder)).items():
                        rows.setdefault(policy, {}).setdefault(share, []).append(right)
    print("| policy | " + " | ".join(f"{share:.0%} of {given.budget}" for share in given.shares) + " |")
    print("|---" * (1 + len(given.shares)) + "|")
    for policy, found in rows.items():
        cells = [f"{statistics.median(found[share]):.2f} ({min(found[share]):.2f} to {max(found[share]):.2f})"
                 for share in given.shares]  # fmt: skip
        print(f"| {policy} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
