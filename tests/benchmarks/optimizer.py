"""Update-rule search: its speed beside a plain loop of torch, and what it finds beside hand-made optimizers.

    python tests/benchmarks/optimizer.py speed [--rules 256] [--alone 24] [--write tasks/optimizer/README.md]
    python tests/benchmarks/optimizer.py search --out FOLDER [--trials 10000] [--searches 3] [--write ...]
    python tests/benchmarks/optimizer.py held-out --out FOLDER [--seeds 5] [--write ...]
    python tests/benchmarks/optimizer.py rediscovery --out FOLDER [--trials 10000] [--seeds 5] [--write ...]

speed: candidates a processor second, learning-rate sweep included, on one thread, in turns: medians, behind a turn that
does not count. Beside: modules of torch, autograd and an optimizer of torch each, as `optimizer.py` is exported, on
`--alone` of the same rules.
search: whole searches by the loop, on two workers. held-out: their best rules on tasks that they never saw, beside
references and Muon. rediscovery: from random programs, whether one beats Adam on new seeds of the child.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from automl_ext.tasks.optimizer import export
from automl_ext.tasks.optimizer.children import child
from automl_ext.tasks.optimizer.fingerprint import fingerprint
from automl_ext.tasks.optimizer.graph import Program, RuleError, graph
from automl_ext.tasks.optimizer.population import Plan, batches, trained
from automl_ext.tasks.optimizer.rules import RuleSpace
from optimizer_runs import held_out_rows, rediscovery_rows, search_rows
from pruning_table import write
from torch import nn
from torch.nn import functional

from automl_ext.data import Data, load
from automl_ext.memory import keep_memory
from automl_ext.worker import one_thread


def random_rules(count: int, groups: int = 2) -> list[Program]:
    """Different random rules of the `rules` space, those without a gradient left out."""
    own, rng, found = RuleSpace(groups), np.random.default_rng(0), dict[str, Program]()
    while len(found) < count:
        try:
            program = own.program(own.space.sample(rng))
            found.setdefault(fingerprint(graph(program)), program)
        except RuleError:
            continue
    return list(found.values())


def module(text: str) -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "optimizer.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("found_rule", file)
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
    return made


def network(name: str) -> nn.Module:
    """The child as a user writes it."""
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )


def one_by_one(name: str, source: str, plan: Plan, images: torch.Tensor, labels: torch.Tensor, val) -> float:
    """A candidate as a loop of torch: every learning rate of the sweep, then the best one. The loss."""
    rule = module(source).FoundRule
    losses = [fit(name, rule, rate, plan.sweep, plan, images, labels, val) for rate, _ in plan.settings]
    best = plan.settings[int(np.argmin(np.nan_to_num(losses, nan=np.inf)))][0]
    return fit(name, rule, best, plan.steps, plan, images, labels, val)


def fit(name, rule, rate: float, steps: int, plan: Plan, images, labels, val) -> float:
    net = network(name)
    optimizer = rule(net.parameters(), lr=rate, total_steps=steps)
    for index in batches(len(labels), plan.batch, steps, 0):
        loss = functional.cross_entropy(net(images[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return float(functional.cross_entropy(net(val[0]), val[1]))


def speed(options: argparse.Namespace) -> Iterator[str]:
    one_thread()
    keep_memory()
    data, plan = load("digits"), Plan()
    programs = random_rules(options.rules)
    graphs = [graph(program) for program in programs]
    few = programs[:: max(1, len(programs) // options.alone)][: options.alone]
    texts = [export.source(program, 0.1) for program in few]
    yield f"{options.rules} different random rules of two groups, one thread, {len(plan.rates)} rates of {plan.sweep}"
    yield f"steps each, then {plan.steps} at the best; batches of {plan.batch}. One by one: {len(few)} of them."
    yield f"Processor seconds; medians of {options.turns} turns of both, behind one that does not count.\n"
    yield "| child | rules/s | one by one | times as fast | in each turn | rules that diverge |"
    yield "|---|---|---|---|---|---|"
    for name in ("mlp", "convolution"):
        pairs, lost = compared(name, graphs, texts, data, plan, options.turns)
        ours, theirs = np.median(pairs, 0)
        each = [theirs / ours for ours, theirs in pairs]
        times = " ".join(f"{value:.1f}" for value in each)
        yield f"| {name} | {1 / ours:.1f} | {1 / theirs:.2f} | {np.median(each):.1f} | {times} | {lost} |"


def compared(
    name: str, graphs, texts: list[str], data: Data, plan: Plan, turns: int
) -> tuple[list[tuple[float, float]], int]:
    """Processor seconds a rule (together, one by one) of every turn but a first one; how many rules diverge.

    The first optimizer of torch in a process loads a compiler, and both sides' first kernels are slow.
    """
    one, flat = child(name, data), child("mlp", data)
    images, labels = flat.train[0].view(-1, 1, 8, 8), flat.train[1]
    val = flat.val[0].view(-1, 1, 8, 8), flat.val[1]
    pairs, lost = [], 0
    for _ in range(turns + 1):
        start = time.process_time()
        lost = trained(graphs, one, plan, 0).count(None)
        between = time.process_time()
        for text in texts:
            one_by_one(name, text, plan, images, labels, val)
        pairs.append(((between - start) / len(graphs), (time.process_time() - between) / len(texts)))
    return pairs[1:], lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "search", "held-out", "rediscovery"))
    parser.add_argument("--rules", type=int, default=256)
    parser.add_argument("--alone", type=int, default=24)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--searches", type=int, default=3, help="whose rules are tried on held-out tasks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where runs and rows are kept, to go on from")
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    options = parser.parse_args()
    tables = {"speed": speed, "search": search_rows, "held-out": held_out_rows, "rediscovery": rediscovery_rows}
    lines = []
    for line in tables[options.what](options):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        write("\n".join(lines), options.write, (f"<!-- {options.what}: begin -->", f"<!-- {options.what}: end -->"))


if __name__ == "__main__":
    main()
