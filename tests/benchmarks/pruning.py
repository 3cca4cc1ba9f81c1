"""AMC's question on a real network: ResNet-20 at half of its MACs, before fine-tuning, on test images.

    python tests/benchmarks/pruning.py [--data ../shared/data] [--trials 100] [--seeds 3] [--workers 2]

Every searcher gets the same evaluations, reconstruction and reward images (1,000 validation images); the best by
validation is measured once on the 5,000 test images, beside the references with the same reconstruction. A seed fixes
the calibration and reward images and the search. Prints one row a seed while it works and a Markdown table at the end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from automl_ext import Run, search

SEARCHERS: dict[str, dict[str, Any]] = {
    "random": {"name": "random"},
    "local": {"name": "local"},
    "regularized-evolution": {"name": "regularized-evolution", "population": 20, "sample": 5},
    "ddpg": {"name": "ddpg", "warmup": 25},
}


def environment(data: Path, seed: int, **options: Any) -> dict[str, Any]:
    return {
        "id": "automl_ext/Pruning-v0",
        "network": "resnet20",
        "weights": str((data / "resnet20-cifar10.npz").resolve()),
        "dataset": f"npz:{(data / 'cifar10-jpeg.npz').resolve()}",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "macs_kept": 0.5,
        "seed": seed,
        **options,
    }


def measure(env: dict[str, Any], searcher: dict[str, Any], trials: int, seed: int, workers: int) -> dict[str, float]:
    """Test accuracy in percent by name: "searched", and each reference."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(
            env=env,
            searcher=searcher,
            trials=trials,
            seed=seed,
            parallel=2,
            final=[{"top": 1}],
            executor={"name": "process", "workers": workers},
            out=folder,
        )
        search(run)
        run.close()
        found = {}
        for trial in run.trials("test"):
            name = "searched" if trial.note["role"] == "searched" else str(trial.note["name"])
            if trial.metrics is not None:
                found[name] = 100 * trial.metrics["test_accuracy"]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--searchers", nargs="*", default=list(SEARCHERS), choices=list(SEARCHERS))
    options = parser.parse_args()
    rows: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for name in options.searchers:
            began = time.perf_counter()
            found = measure(environment(options.data, seed), SEARCHERS[name], options.trials, seed, options.workers)
            rows.setdefault(name, []).append(found.pop("searched"))
            if name == options.searchers[0]:
                for reference, value in found.items():
                    rows.setdefault(reference, []).append(value)
            print(f"seed {seed} {name:<22} {rows[name][-1]:.2f} %  in {time.perf_counter() - began:.0f} s", flush=True)
    print_table(rows)


def print_table(rows: dict[str, list[float]]) -> None:
    uniform = rows["uniform"]
    print("\n| policy | test accuracy %, median | from | to | above uniform, paired median |\n|---|---|---|---|---|")
    for name, values in sorted(rows.items(), key=lambda row: -statistics.median(row[1])):
        above = statistics.median(value - base for value, base in zip(values, uniform, strict=True))
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} | {above:+.2f} |")


if __name__ == "__main__":
    main()
