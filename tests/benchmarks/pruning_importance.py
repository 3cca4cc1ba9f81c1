"""The importances beside each other: ResNet-20 at a share of its MACs, uniform counts, before fine-tuning, test images.

    python tests/benchmarks/pruning_importance.py [--data ../shared/data] [--share 0.5] [--seed 0]

Each with sequential reconstruction, and with nothing but batch norms estimated anew. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from automl_ext.tasks.pruning.env import PruningEnv
from evaluation import environment

from automl_ext.env import Job, never_stop

NAMES = ("reconstruction", "geometric-median", "l2", "magnitude", "taylor", "bn-scale")
RECOVERIES: tuple[dict[str, Any], ...] = ({}, {"reconstruction": "none", "refit": False, "recalibrate": True})


def tested(options: dict[str, Any]) -> float:
    """Test accuracy of the uniform policy, in percent."""
    env = PruningEnv(**options)
    with tempfile.TemporaryDirectory() as shared:
        env.prepare(Path(shared))
        return 100 * env.test(Job(0, env.references["uniform"], shared=shared), never_stop)["test_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| importance | sequential reconstruction | none, batch norms estimated anew |\n|---|---|---|")
    for name in given.only:
        options = environment(given.data, given.seed, macs_kept=given.share, importance=name)
        cells = " | ".join(f"{tested({**options, **recovery}):.2f}" for recovery in RECOVERIES)
        print(f"| `{name}` | {cells} |", flush=True)


if __name__ == "__main__":
    main()
