"""AMC's question on a real network: ResNet-20 at a share of its MACs, on test images, before and after fine-tuning.

    python tests/benchmarks/pruning.py [--data ../shared/data] [--shares 0.5 0.3] [--tuned 0.5] [--trials 200]
        [--reward-images 1000] [--seeds 3] [--workers 2] [--rows rows.jsonl] [--write tasks/pruning/README.md]

Every searcher gets as many evaluations on the same validation images, 1,000 by default; the best by
validation is measured once on the 5,000 test images, beside uniform counts and what torch-pruning's criteria prune in
one shot. Rivals are recovered as the searched policies are (sequential reconstruction) and, as is usual for them, by
estimating batch norms anew on the same 500 calibration images. A seed fixes calibration and reward images, search and
fine-tuning. Fine-tuning: the best searched policy, the criterion that was best on the *test* images with either
recovery, and the dense network, as many epochs each; all but the last also with the tuned dense network as a teacher.
With --rows what was measured is kept in a file, and what stands
there is not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pruning_table
import torch
from automl_ext.tasks.pruning import prepared as shared_state
from automl_ext.tasks.pruning.dense import rewarded_accuracy
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.evaluate import Recovery, slim
from automl_ext.tasks.pruning.prepared import Prepared
from automl_ext.tasks.pruning.tuning import tune
from pruning_rivals import one_shot
from torch import nn

from automl_ext import Run, make, search
from automl_ext.env import Job, never_stop
from automl_ext.training import Recipe
from automl_ext.worker import one_thread

SEARCHERS: dict[str, dict[str, Any]] = {
    "regularized-evolution": {"name": "regularized-evolution", "population": 20, "sample": 5},
    "ddpg": {"name": "ddpg", "warmup": 25},
    "random": {"name": "random"},
    "local": {"name": "local"},
}
SAME = Recovery("sequential", refit=True, ridge=0.1, recalibrate=False)
OWN = Recovery("none", refit=False, ridge=0.1, recalibrate=True)
RECOVERIES = {"reconstructed": SAME, "norms": OWN}
Row = dict[str, Any]
"""seed, share, policy, and what was measured: seconds; in percent reconstructed, norms, each also tuned and taught."""


def environment(data: Path, seed: int, share: float, **options: Any) -> dict[str, Any]:
    return {
        "id": "automl_ext/Pruning-v0",
        "network": "resnet20",
        "weights": str((data / "resnet20-cifar10.npz").resolve()),
        "dataset": f"npz:{(data / 'cifar10-jpeg.npz').resolve()}",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "macs_kept": share,
        "seed": seed,
        **options,
    }


def searched(env: dict[str, Any], searcher: dict[str, Any], trials: int, workers: int, out: Path) -> Row:
    """The best policy by validation, and the seconds of the whole search."""
    began = time.perf_counter()
    run = Run.create(
        env=env, searcher=searcher, trials=trials, seed=env["seed"], parallel=2, final=[{"top": 1}],
        executor={"name": "process", "workers": workers}, out=out,
    )  # fmt: skip
    search(run)
    best = run.best()
    run.close()
    return {
        "policy": searcher["name"], "seed": env["seed"], "share": env["macs_kept"], "counts": dict(best.candidate),
        "validation": 100 * best.metrics["accuracy"], "seconds": time.perf_counter() - began, "trials": trials,
    }  # fmt: skip


def compared(env: dict[str, Any], found: list[Row], epochs: int, rivals: bool) -> list[Row]:
    """Test accuracies of the searched policies `found` (one seed, one share), and of their rivals where asked."""
    one_thread()
    target = make(env["id"], **{name: value for name, value in env.items() if name != "id"}).unwrapped
    with tempfile.TemporaryDirectory() as folder:
        target.prepare(Path(folder))
        known = shared_state.load(Path(folder), target._dense(), target.plan, target.device)
    rows, networks = [], {}
    for policy, ranking, counts in _policies(target, known, found, env["seed"], rivals):
        row: Row = {"policy": policy, "seed": env["seed"], "share": env["macs_kept"]}
        row |= next((one for one in found if one["policy"] == policy), {})
        for name, recovery in RECOVERIES.items():
            network = slim(replace(known, ranking=ranking), counts, recovery)
            row[name] = _tested(target, network)
            networks[policy, name] = network
        rows.append(row)
    wanted = _tuned(rows, found) if epochs else set()
    teacher = copy.deepcopy(known.network)
    dense = _tuned_accuracy(target, teacher, epochs, env["seed"]) if wanted else 0.0
    for row in rows:
        for name in RECOVERIES:
            if (row["policy"], name) not in wanted:
                continue
            if row["policy"] == "dense":
                row[f"{name}_tuned"] = dense
                continue
            for how, given in (("tuned", None), ("taught", teacher)):
                twin = copy.deepcopy(networks[row["policy"], name])
                row[f"{name}_{how}"] = _tuned_accuracy(target, twin, epochs, env["seed"], given)
    return rows


def _policies(
    target: PruningEnv, known: Prepared, found: list[Row], seed: int, rivals: bool
) -> Iterator[tuple[str, dict[str, list[int]], dict[str, int]]]:
    for row in found:
        yield row["policy"], dict(known.ranking), row["counts"]
    if not rivals:
        return
    for name in ("uniform", "dense"):
        yield name, dict(known.ranking), dict(target.references[name])
    generator = torch.Generator().manual_seed(seed)  # as `prepare` draws the calibration images
    chosen = torch.randperm(len(target.data.train), generator=generator)[: target.calibration_images]
    yield from one_shot(known, target._layout.legal, target._layout.target, target.data.train.label[chosen])


def _tuned(rows: list[Row], found: list[Row]) -> set[tuple[str, str]]:
    """Which networks are worth tuning: (policy, recovery)."""
    mine = {row["policy"] for row in found}
    rivals = [row for row in rows if row["policy"] not in {*mine, "uniform", "dense"}]
    wanted = {("dense", "reconstructed")}
    if found:
        wanted.add((max(found, key=lambda row: row["validation"])["policy"], "reconstructed"))
    if rivals:
        wanted |= {(max(rivals, key=lambda row: row[name])["policy"], name) for name in RECOVERIES}
    return wanted


def _tested(target: PruningEnv, network: nn.Module) -> float:
    return 100 * rewarded_accuracy(network, target.data, target.device, target.data.test)


def _tuned_accuracy(
    target: PruningEnv, network: nn.Module, epochs: int, seed: int, teacher: nn.Module | None = None
) -> float:
    recipe = Recipe(rate=0.02, batch=64, flip=True, shift=2)
    job = Job(0, {}, budget=epochs, seed=seed)
    tune(network, target.data, recipe, job, target.device, never_stop, teacher=teacher)
    return _tested(target, network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--shares", type=float, nargs="*", default=[0.5, 0.3])
    parser.add_argument("--tuned", type=float, nargs="*", default=[0.5], help="shares with fine-tuning")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3, help="of fine-tuning")
    parser.add_argument("--importance", default="reconstruction", help="for searched and uniform policies")
    parser.add_argument("--reward-images", type=int, default=1000, help="validation images of an evaluation")
    parser.add_argument("--searchers", nargs="*", default=["regularized-evolution", "ddpg"], choices=list(SEARCHERS))
    parser.add_argument("--rows", type=Path, help="JSON lines: what stands there is kept, what is new is added")
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    given = parser.parse_args()
    rows = (
        [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows and given.rows.exists() else []
    )
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        waiting = []
        for env in (environment(given.data, seed, share, importance=given.importance, reward_images=given.reward_images)
                    for share in given.shares for seed in range(given.seeds)):  # fmt: skip
            have = {row["policy"] for row in rows if (row["share"], row["seed"]) == (env["macs_kept"], env["seed"])}
            found = []
            for name in given.searchers:
                if name not in have:
                    found.append(searched(env, SEARCHERS[name], given.trials, given.workers, Path(folder)))
                    _say_found(found[-1])
            if found or "dense" not in have:
                epochs = given.epochs if env["macs_kept"] in given.tuned else 0
                waiting.append((env, found, epochs, "dense" not in have))
        compares = [pool.submit(compared, *job) for job in waiting]  # when no search is timed any more
        for done, future in enumerate(as_completed(compares), 1):
            print(f"compared: {done} of {len(waiting)}", flush=True)
            for row in future.result():
                rows.append(row)
                print("   ", {name: round(v, 2) if isinstance(v, float) else v for name, v in row.items()}, flush=True)
                if given.rows:
                    with given.rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    order = {name: place for place, name in enumerate(given.searchers)}
    text = pruning_table.text(sorted(rows, key=lambda r: (-r["share"], order.get(r["policy"], 99))), given.epochs)
    print(text)
    if given.write:
        pruning_table.write(text, given.write)


def _say_found(row: Row) -> None:
    print(f"{row['share']:g} seed {row['seed']} {row['policy']:<22} {row['validation']:.2f} % of validation images"
          f" in {row['seconds']:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
