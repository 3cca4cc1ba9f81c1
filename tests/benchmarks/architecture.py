"""Architecture search: how fast candidates are trained and built, and what a search finds beside a hand-made ResNet.

    python tests/benchmarks/architecture.py trainer  [--seeds 5]
    python tests/benchmarks/architecture.py workers
    python tests/benchmarks/architecture.py builders [--candidates 10000]
    python tests/benchmarks/architecture.py search   [--trials 150] [--seeds 5]
    python tests/benchmarks/architecture.py transfer [--seeds 3]        (behind search, whose rows it needs)
        [--rows rows.jsonl] [--write tasks/architecture/README.md]

Rows that stand in --rows are not measured again. Seconds of trainer and builders are of the processor, so that other
work on the machine does not count; those of workers and search are on the wall.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architecture_rows import TASKS, tables
from automl_ext.tasks.architecture.families import FAMILIES, family_of
from automl_ext.tasks.architecture.reference import build_handmade, handmade
from pruning_table import write
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from automl_ext import Run, make, search
from automl_ext.data import Data, load, normalise
from automl_ext.driver import build_env
from automl_ext.env import Job, never_stop
from automl_ext.training import Recipe, accuracy, lent_seed, train
from automl_ext.worker import one_thread

Row = dict[str, Any]
CPU = torch.device("cpu")
TARGETS = {
    "digits": (0.97, 20_000, {"epochs": 4, "batch": 64}),
    "fashion-mnist": (0.90, 60_000, {"epochs": 2, "batch": 64}),
}
"""Data set -> validation accuracy to reach, parameters of the network, recipe of ours."""
PLAIN_AND_SEPARABLE = (
    "identity", "conv_1x1", "conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "dil_sep_conv_3x3", "avg_pool_3x3",
    "max_pool_3x3",
)  # fmt: skip
CELL: dict[str, Any] = {"blocks": 4, "operations": list(PLAIN_AND_SEPARABLE), "width": 6}
DROP_PATH = 0.1
"""Of whole trainings on digits, as NASNet's: it acts in cells; chosen by five validation parts (99.4 %, not 98.8)."""
FINAL = [{"top": 8, "budget": 20}, {"top": 3, "budget": 30, "seeds": 3}]


def trainer(given: argparse.Namespace) -> Iterator[Row]:
    """The time to a validation accuracy, a validation an epoch in both."""
    for dataset, (target, params, recipe) in TARGETS.items():
        data = load(dataset)
        for run in (plain, ours):  # the first one of a process pays for what torch sets up
            few = replace(data, train=data.train[:128])
            run(
                build_handmade(handmade(params)["resnet"], data.train.image.shape[1:], data.classes),
                few,
                0.0,
                0,
                recipe,
            )
        for seed in range(given.seeds if dataset == "digits" else 1):
            for who, run in (("plain loop", plain), ("automl-ext", ours)):
                if has(given, dataset=dataset, seed=seed, who=who):
                    continue
                with lent_seed(seed):
                    network = build_handmade(handmade(params)["resnet"], data.train.image.shape[1:], data.classes)
                begin = time.process_time()
                epochs, reached = run(network, data, target, seed, recipe)
                seconds = time.process_time() - begin
                yield {"dataset": dataset, "seed": seed, "who": who, "seconds": seconds, "epochs": epochs,
                       "accuracy": reached, "target": target}  # fmt: skip


def plain(network: nn.Module, data: Data, target: float, seed: int, recipe: dict[str, Any]) -> tuple[int, float]:
    """What one writes first: a DataLoader on tensors, batches of 64, Adam at 1e-3."""
    images = TensorDataset(normalise(data.train.image, data.mean, data.std), data.train.label)
    batches = DataLoader(images, 64, shuffle=True, generator=torch.Generator().manual_seed(seed))
    optimizer, loss, epoch, reached = torch.optim.Adam(network.parameters(), 1e-3), nn.CrossEntropyLoss(), 0, -1.0
    while reached < target and epoch < 30:
        for image, label in batches:
            optimizer.zero_grad()
            loss(network(image), label).backward()
            optimizer.step()
        epoch, reached = epoch + 1, accuracy(network, data.val, data, CPU)
    return epoch, reached


def ours(network: nn.Module, data: Data, target: float, seed: int, recipe: dict[str, Any]) -> tuple[int, float]:
    """The trainer of all tasks; where it ends below the target, once more, longer, and both count."""
    seen: list[float] = []
    epochs, begin = 0, {name: value.clone() for name, value in network.state_dict().items()}
    for factor in (1, 2, 4):
        network.load_state_dict(begin)
        longer = Recipe(**{**recipe, "epochs": factor * recipe["epochs"]})
        done = train(network, data.train, data, longer, seed=seed, device=CPU,
                     report=lambda _, value: seen.append(value) or value >= target)  # type: ignore[func-returns-value]  # fmt: skip
        epochs += done.epochs
        if seen[-1] >= target:
            break
    return epochs, seen[-1]


def workers(given: argparse.Namespace) -> Iterator[Row]:
    """Forty random cells, by one worker and by two."""
    for count in (1, 2):
        if has(given, workers=count):
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = Run.create(
                name="workers", out=Path(folder), env=environment(epochs=6), searcher="random", trials=40, final=[],
                executor={"name": "process", "workers": count}, seed=0,
            )  # fmt: skip
            begin = time.perf_counter()
            search(run)
            yield {"workers": count, "seconds": time.perf_counter() - begin}


def builders(given: argparse.Namespace) -> Iterator[Row]:
    """Random candidates of every space built and run on an 8x8 image."""
    image = torch.zeros(1, 1, 8, 8)
    for name in FAMILIES:
        if has(given, space=name):
            continue
        family, rng = family_of(name, (1, 8, 8), 10, {}), np.random.default_rng(0)
        begin, failures = time.process_time(), 0
        for _ in range(given.candidates):
            candidate = family.space.sample(rng)
            try:
                with torch.inference_mode():
                    logits = family.build(candidate).eval()(image)
                failures += tuple(logits.shape) != (1, 10) or not bool(torch.isfinite(logits).all())
            except Exception as error:
                failures += 1
                print(name, candidate, error)
        seconds = time.process_time() - begin
        yield {"space": name, "candidates": given.candidates, "failures": failures, "seconds": seconds}


def environment(**options: Any) -> dict[str, Any]:
    return {"id": "automl_ext/Architecture-v0", "space": "cell", "space_options": CELL, **options}


def found(given: argparse.Namespace) -> Iterator[Row]:
    """A search on digits, its best cell and a ResNet of as many parameters from several seeds on test images."""
    row = next((row for row in stored(given) if row["task"] == "search" and row["what"] == "search"), None)
    if row is None:
        row = searched(given)
        yield row
    yield from compared(given, row["candidate"], environment(epochs=30, drop_path=DROP_PATH))


def searched(given: argparse.Namespace) -> Row:
    """The best cell of a search, by validation after whole trainings of its best, and what it took."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(
            name="search", out=Path(folder), env=environment(epochs=5), trials=given.trials, seed=0,
            searcher={"name": "regularized-evolution", "population": 25, "sample": 6}, final=FINAL,
            executor={"name": "process", "workers": given.workers},
        )  # fmt: skip
        env = build_env(run.config)
        env.references = {}  # the residual network is trained beside the cell afterwards, by more seeds
        begin = time.perf_counter()
        search(run, env=env)
        seconds = time.perf_counter() - begin
        best = run.best()
        return {"what": "search", "trials": given.trials, "workers": given.workers, "seconds": seconds,
                "candidate": best.candidate, "params_k": best.metrics["params_k"]}  # fmt: skip


def transfer(given: argparse.Namespace) -> Iterator[Row]:
    """The cell found on digits, with twice as many channels, on Fashion-MNIST for three epochs."""
    rows = [row for row in stored(given) if row["task"] == "search" and row.get("what") == "search"]
    if not rows:
        raise SystemExit("transfer needs the rows of search: --rows FILE")
    env = environment(epochs=3, dataset="fashion-mnist", batch=128) | {"space_options": {**CELL, "width": 12}}
    yield from compared(given, rows[-1]["candidate"], env)


def compared(given: argparse.Namespace, candidate: dict[str, Any], env: dict[str, Any]) -> Iterator[Row]:
    options = {name: value for name, value in env.items() if name != "id"}
    made = make(env["id"], **options).unwrapped
    network = made.training.fresh(candidate, 0)
    rival = handmade(sum(parameter.numel() for parameter in network.parameters()))["resnet"]
    for seed in range(given.seeds):
        for who, each in (("found cell", candidate), ("resnet", rival)):
            if has(given, what="test", who=who, seed=seed):
                continue
            with tempfile.TemporaryDirectory() as folder:
                own = made.evaluate(Job(0, each, seed=seed, folder=folder, stage="final-1"), never_stop)
                test = made.test(Job(0, each, seed=seed, parent=folder, stage="test"), never_stop)
            yield {"what": "test", "who": who, "seed": seed, **own, **test, "epochs": env["epochs"]}


def stored(given: argparse.Namespace) -> list[Row]:
    known = given.rows is not None and given.rows.exists()
    return [json.loads(line) for line in given.rows.read_text().splitlines()] if known else []


def has(given: argparse.Namespace, **key: Any) -> bool:
    """Whether such a row of this task stands in --rows."""
    wanted = {"task": given.task, **key}
    return any(all(row.get(name) == value for name, value in wanted.items()) for row in stored(given))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--rows", type=Path, help="JSON lines: what stands there is kept, what is new is added")
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the tables")
    given = parser.parse_args()
    one_thread()
    rows = stored(given)
    measure = {"trainer": trainer, "workers": workers, "builders": builders, "search": found, "transfer": transfer}
    for row in measure[given.task](given):
        rows.append({"task": given.task, **row})
        print(rows[-1], flush=True)
        if given.rows:
            with given.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    text = tables(rows)
    print(text)
    if given.write:
        write(text, given.write, ("<!-- architecture: begin -->", "<!-- architecture: end -->"))


if __name__ == "__main__":
    main()
