"""A small MobileNet-V2 on Fashion-MNIST at a share of its latency: time and test accuracy, dense and pruned.

    apt-get install dataset-fashion-mnist
    python tests/benchmarks/pruning_latency.py [--width 0.5] [--images 4000] [--epochs 10] [--latency-kept 0.53]
        [--round-to 16] [--trials 40] [--tune 6] [--seeds 3] [--workers 2] [--out FOLDER] [--write FILE]

The network is trained once, on 4,000 of the images, and searched once a seed, within a share of its latency by the
table that prepare measures. The six best policies are fine-tuned for two epochs, the best of these and all references
for six, with the tuned dense network as a teacher. At the end the exported networks are timed beside the dense one, by
turns, on one thread. Runs that stand in --out go on, or are read where they are whole.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pruning_table import write
from torch import nn

from automl_ext import Run, make, search
from automl_ext.data import load
from automl_ext.memory import keep_memory
from automl_ext.worker import one_thread

VAL = 2500
"""Validation images that judge a policy: so many tell policies apart that lie within a point."""
MARKS = ("<!-- latency: begin -->", "<!-- latency: end -->")


def environment(given: argparse.Namespace, seed: int, **options: Any) -> dict[str, Any]:
    return {
        "network": "mobilenet-v2", "width": given.width, "dataset": f"npz:{given.dataset}", "epochs": given.epochs,
        "rate": 0.1, "flip": True, "shift": 2, "tune_rate": 0.05, "latency_kept": given.latency_kept,
        "latency_batch": given.batch, "round_to": given.round_to, "teacher_epochs": given.tune, "reward_images": VAL,
        "seed": seed, **options,
    }  # fmt: skip


def drawn(images: int, folder: Path) -> Path:
    """Fashion-MNIST with fewer train images, so that a training takes minutes on one core. All test images stay."""
    file = folder / "fashion.npz"
    if file.exists():
        return file
    whole = load("fashion-mnist")
    parts = {"train": whole.train[:images], "val": whole.val[:VAL], "test": whole.test}
    arrays = {f"{name}_image": part.image.permute(0, 2, 3, 1).numpy() for name, part in parts.items()}
    labels = {f"{name}_label": part.label.numpy().astype(np.uint8) for name, part in parts.items()}
    np.savez(file, **arrays, **labels)
    return file


def trained(given: argparse.Namespace, folder: Path) -> Path:
    """The dense network's weights, trained by `prepare` as for any search."""
    weights = folder / "dense" / "network.safetensors"
    if not weights.exists():
        env = make("automl_ext/Pruning-v0", **environment(given, 0)).unwrapped
        weights.parent.mkdir(exist_ok=True)
        env.prepare(weights.parent)
    return weights


def searched(given: argparse.Namespace, seed: int, weights: Path, out: Path) -> Run:
    folder = out / f"latency-s{seed}"
    if folder.exists():
        return search(Run.resume(folder))
    run = Run.create(
        name="latency",
        env={"id": "automl_ext/Pruning-v0", **environment(given, seed, weights=str(weights))},
        searcher={"name": "regularized-evolution", "population": 20, "sample": 5},
        trials=given.trials, seed=seed, parallel=2, final=[{"top": 6, "budget": 2}, {"top": 1, "budget": given.tune}],
        executor={"name": "process", "workers": given.workers}, out=out,
    )  # fmt: skip
    return search(run)


def exported(folder: Path) -> nn.Module:
    spec = spec_from_file_location(f"model_{folder.parent.name}".replace("-", "_"), folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.load()
    return network


def milliseconds(networks: dict[str, nn.Module], images: torch.Tensor, repeats: int = 60) -> dict[str, list[float]]:
    """Forward passes of all networks by turns, after 5 warm-ups."""
    found: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for turn in range(repeats + 5):
            for name, network in networks.items():
                began = time.perf_counter()
                network(images)
                if turn >= 5:
                    found[name].append(1000 * (time.perf_counter() - began))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=10, help="of the dense network")
    parser.add_argument("--images", type=int, default=4000, help="of the train part; a fifth of it is for validation")
    parser.add_argument("--batch", type=int, default=32, help="images a pass")
    parser.add_argument("--latency-kept", type=float, default=0.53)
    parser.add_argument("--round-to", type=int, default=16, help="channels: what vector units of 512 bits like")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--tune", type=int, default=6, help="epochs of fine-tuning")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where runs stay; they go with the process otherwise")
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    given = parser.parse_args()
    one_thread()
    keep_memory()  # as evaluations do, or passes pay for memory that comes and goes
    with tempfile.TemporaryDirectory() as place:
        folder = (given.out or Path(place)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        given.dataset = drawn(given.images, folder)
        began = time.perf_counter()
        weights = trained(given, folder)
        print(f"dense network: {time.perf_counter() - began:.0f} s", flush=True)
        rows, networks = [], {}
        for seed in range(given.seeds):
            run = searched(given, seed, weights, folder)
            rows.append(_row(run, seed))
            networks[f"seed {seed}"] = exported(run.folder / "best")
            run.close()
            print({name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
        env = make("automl_ext/Pruning-v0", **environment(given, 0, weights=str(weights))).unwrapped
        images = torch.randn(given.batch, *env.data.train.image.shape[1:])
        times = milliseconds({"dense": env._dense(), **networks}, images)
    text = table(rows, times, given)
    print(text)
    if given.write:
        write(text, given.write, MARKS)


def _row(run: Run, seed: int) -> dict[str, float]:
    """Test accuracies, in percent, of the tuned best policy and of the references, and its sizes."""
    tests = {trial.note.get("name", trial.note["role"]): trial.metrics for trial in run.trials("test") if trial.metrics}
    best = next(trial.metrics for trial in run.trials("test") if trial.note["role"] == "searched")
    return {
        "seed": seed,
        "dense": 100 * tests["dense"]["test_accuracy"],
        "searched": 100 * best["test_accuracy"],
        "by the table": best["latency_kept"],
        "MACs": best["macs_kept"],
        "seconds": sum(trial.seconds or 0.0 for trial in run.trials()),
    }


def table(rows: list[dict[str, float]], times: dict[str, list[float]], given: argparse.Namespace) -> str:
    """Markdown: latency and accuracy of the dense and of the pruned networks, a seed a row."""
    dense = statistics.median(times["dense"])
    lines = [
        f"`mobilenet-v2` at width {given.width:g}, trained on {given.images} images of Fashion-MNIST; passes of"
        f" {given.batch} images on one thread, median of {len(times['dense'])} by turns (distance of quartiles);"
        f" `latency_kept: {given.latency_kept:g}`, `round_to: {given.round_to}`, {given.trials} trials, six best"
        f" tuned for 2 epochs, their best and dense for {given.tune}, taught by the tuned dense network; seconds of all"
        " evaluations of a search.",
        "",
        "| network | latency, ms | share | by the table | MACs | test accuracy, % | minus dense | seconds |",
        "|---" * 8 + "|",
        f"| dense | {_spread(times['dense'])} | 1 | 1 | 1 | {rows[0]['dense']:.2f} | | |",
    ]
    for row in rows:
        own = times[f"seed {row['seed']:g}"]
        numbers = [statistics.median(own) / dense, row["by the table"], row["MACs"], row["searched"]]
        cells = [_spread(own), *(f"{number:.2f}" for number in numbers), f"{row['searched'] - row['dense']:+.2f}"]
        lines.append(f"| seed {row['seed']:g} | {' | '.join(cells)} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({high - low:.2f})"


if __name__ == "__main__":
    sys.exit(main())
