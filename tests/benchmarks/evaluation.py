"""What one evaluation of the pruning target costs, against the forward passes that it cannot do without.

    python tests/benchmarks/evaluation.py [--data ../shared/data] [--network resnet20] [--pairs 9]

Needed: the pruned network's plain forward over the calibration images and over the reward images, in batches and memory
layout as the evaluation has them, and the passes that latency is measured by. Evaluations and needed passes alternate
in one process on one thread, and the ratio is the median over the pairs. Seconds are of the processor, which other
processes disturb less than the clock. The policy is `uniform` at half of the MACs. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.evaluate import slim
from automl_ext.tasks.pruning.segments import PART
from torch import Tensor, nn

from automl_ext.data import normalise
from automl_ext.env import Job, never_stop
from automl_ext.latency import latency


def environment(data: Path, seed: int, **options: Any) -> dict[str, Any]:
    """ResNet-20 with its weights and images, within half of its MACs."""
    return {
        "network": "resnet20",
        "weights": str((data / "resnet20-cifar10.npz").resolve()),
        "dataset": f"npz:{(data / 'cifar10-jpeg.npz').resolve()}",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "macs_kept": 0.5,
        "seed": seed,
        **options,
    }


def seconds(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def passes(network: nn.Module, images: Tensor, batch: int) -> Callable[[], None]:
    """A plain forward pass over `images` (n, c, h, w), channels last."""
    parts = [part.contiguous(memory_format=torch.channels_last) for part in images.split(batch)]

    def run() -> None:
        with torch.inference_mode():
            for part in parts:
                network(part)

    return run


def needed(env: PruningEnv, shared: str, candidate: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """The passes by name."""
    prepared = env._prepared(Job(0, dict(candidate), shared=shared))
    plain = slim(prepared, dict(candidate), env.recovery)
    network = slim(prepared, dict(candidate), env.recovery).to(memory_format=torch.channels_last)
    rewarded = normalise(env.data.val.image, env.data.mean, env.data.std)
    return {
        "calibration images": passes(network, prepared.dense.images, PART),
        "reward images": passes(network, rewarded, 100),
        "latency": lambda: latency(plain, prepared.example, env.latency_batch),
    }


def measure(env: PruningEnv, pairs: int) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of the needed passes and of the evaluation and its parts, and the ratio, pair by pair."""
    candidate = dict(env.references["uniform"])
    rows: dict[str, list[float]] = {}
    ratios = []
    with tempfile.TemporaryDirectory() as shared, tempfile.TemporaryDirectory() as own:
        env.prepare(Path(shared))
        job = Job(0, candidate, shared=shared, folder=own)
        calls = needed(env, shared, candidate)
        for _ in range(pairs + 1):
            began = time.process_time()
            metrics = env.evaluate(job, never_stop)
            whole = time.process_time() - began
            took = {name: seconds(call) for name, call in calls.items()}
            ratios.append(whole / sum(took.values()))
            parts = {f"of it: {key[8:]} (by the clock)": value for key, value in metrics.items() if "seconds_" in key}
            for name, value in {**took, "needed": sum(took.values()), "evaluation": whole, **parts}.items():
                rows.setdefault(name, []).append(value)
    return {name: values[1:] for name, values in rows.items()}, ratios[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--calibration", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = environment(options.data, 0, network=options.network, calibration_images=options.calibration)
    if options.network != "resnet20":
        made.update(weights=None, epochs=1)
    env = PruningEnv(**made)
    rows, ratios = measure(env, options.pairs)
    print("| part | seconds, median | from | to |\n|---|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    print(f"| **ratio** | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
