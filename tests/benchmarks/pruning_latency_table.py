"""How far the latency table is off: predicted shares of the dense latency against those of really pruned networks.

    python tests/benchmarks/pruning_latency_table.py [--networks resnet20 mobilenet-v2] [--policies 20] [--tables 3]
        [--latency-kept 0.5] [--batch 1]

The policies are drawn at random from those within the share by the first table, and pruned networks and the dense one
are run by turns on images of 3x32x32. Seconds are those that the thread ran, in the tables and in the check; what a
table took is by the clock. Weights are random: latency does not depend on them. Prints a Markdown table: how many
percent of the real share a prediction is off, the median over the policies; of that the median over the tables.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from automl_ext.tasks.pruning.groups import Plan, inspect
from automl_ext.tasks.pruning.latency_measure import tabulate
from automl_ext.tasks.pruning.latency_table import LatencyCost
from automl_ext.tasks.pruning.network import build
from automl_ext.tasks.pruning.prune import remove
from automl_ext.tasks.pruning.reach import Limits
from automl_ext.tasks.pruning.space import keep_space
from torch import Tensor, nn

from automl_ext.latency import latency

SHAPE = (3, 32, 32)
Counts = dict[str, int]


def tables(network: nn.Module, plan: Plan, given: argparse.Namespace) -> list[tuple[LatencyCost, float]]:
    """Tables measured one after the other, and the seconds that each took."""
    found = []
    for _ in range(given.tables):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            tabulate(network, plan, SHAPE, given.batch, Limits().legal(plan), Path(folder))
            seconds = time.perf_counter() - began
            cost = LatencyCost()
            cost.load(Path(folder), plan)
            found.append((cost, seconds))
    return found


def measured(network: nn.Module, policies: list[Counts], batch: int, rounds: int = 5) -> list[float]:
    """The share of the dense latency that each pruned network really has."""
    example: Tensor = torch.zeros(1, *SHAPE)
    pruned = [remove(network, example, {name: range(n) for name, n in counts.items()}) for counts in policies]
    times: list[list[float]] = [[] for _ in range(len(policies) + 1)]
    for _ in range(rounds):
        for own, each in zip(times, [network, *pruned], strict=True):
            own.append(latency(each, example, batch, 7, 2, time.thread_time)["latency_ms"])
    dense, *others = (statistics.median(own) for own in times)
    return [other / dense for other in others]


def row(name: str, given: argparse.Namespace) -> str:
    network = build(name, SHAPE[0], 10).eval()
    plan = inspect(network, torch.zeros(1, *SHAPE))
    found = tables(network, plan, given)
    space = keep_space(plan, Limits().legal(plan), given.latency_kept, found[0][0], "latency_kept")
    rng = np.random.default_rng(0)
    policies: list[Counts] = [{k: int(v or 0) for k, v in space.sample(rng).items()} for _ in range(given.policies)]
    real = measured(network, policies, given.batch)
    off = [[100 * (cost(plan, counts) / share - 1) for counts, share in zip(policies, real, strict=True)]
           for cost, _ in found]  # fmt: skip
    medians = sorted(statistics.median(abs(value) for value in each) for each in off)
    low = sum(value < 0 for each in off for value in each) / (len(off) * len(policies))
    seconds = statistics.median(seconds for _, seconds in found)
    median, between = statistics.median(medians), f"{min(real):.2f} to {max(real):.2f}"
    return (
        f"| `{name}` | {between} | {median:.1f} ({medians[0]:.1f} to {medians[-1]:.1f}) | {low:.0%} | {seconds:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet20", "mobilenet-v2"])
    parser.add_argument("--policies", type=int, default=20)
    parser.add_argument("--tables", type=int, default=3)
    parser.add_argument("--latency-kept", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | real shares | off by % | too low | seconds a table |\n|---|---|---|---|---|")
    for name in given.networks:
        print(row(name, given), flush=True)


if __name__ == "__main__":
    main()
