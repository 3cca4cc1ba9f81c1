"""Dense prediction cells: whether cells can be told apart, whether a search finds better ones, what a trial costs.

    python tests/benchmarks/segmentation.py cells  --rows cells.jsonl  [--cells 20] [--seeds 3] [--full 20]
    python tests/benchmarks/segmentation.py search --rows search.jsonl [--seeds 3] [--trials 100] [--workers 2]
    python tests/benchmarks/segmentation.py cost   --rows cost.jsonl
    python tests/benchmarks/segmentation.py nuclei --rows nuclei.jsonl --data FOLDER
        [--write tasks/segmentation/README.md]

cells: random cells by the proxy (cached features, a short while) under several seeds, and trained end to end: the
    spread between cells beside that between seeds, and the rank correlation of the two trainings (validation).
search: evolution with the paper's edits at half of ASPP's multiply-accumulates, and random search with as many trials
    under the same limit; of either the five best by the proxy are chosen from by end-to-end training on validation
    images. Beside them the references, trained alike; test images are read once. Runs stay below --work and go on.
cost: seconds of processor time of a cached and an end-to-end trial of one length, in turn, once the maps are read;
    dilated depthwise convolutions.
nuclei: pooled IoU of nuclei beside Otsu's threshold on the same images: three references and the cell that a short
    search found, each seed one.

Rows are JSON lines: what stands there is kept, what is missing is added.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_tables as tables
import torch
from automl_ext.tasks.segmentation.env import SegmentationEnv
from automl_ext.tasks.segmentation.scores import confusion, scores
from pruning_table import write

from automl_ext import Run, make, search
from automl_ext.driver import build_env
from automl_ext.env import Job, never_stop
from automl_ext.memory import keep_memory
from automl_ext.searcher import stream
from automl_ext.worker import one_thread

ID = "automl_ext/Segmentation-v0"
PROXY, FULL = 6, 8
"""Epochs of a trial on cached features, and end to end."""
FEW, SHORT = 20, 4
"""Trials of a search on nuclei, and their epochs."""
GOALS = {"objectives": {"miou": "max", "cell_macs_m": "min"}}
SCENES: dict[str, Any] = {}
"""Options of the environment of `search`, beside the defaults."""
Row = dict[str, Any]


def short(options: dict[str, Any]) -> str:
    """Of options, for the names of folders, so that what stands there is gone on with by the same options only."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]


class Bench:
    """The rows that are there, and an environment prepared once."""

    def __init__(self, given: argparse.Namespace, **options: Any) -> None:
        self.file: Path = given.rows
        self.rows: list[Row] = []
        if self.file.exists():
            self.rows = [json.loads(line) for line in self.file.read_text().splitlines()]
        self.env: SegmentationEnv = make(ID, epochs=PROXY, **options).unwrapped
        self.shared = given.work / f"{'nuclei' if given.task == 'nuclei' else 'scenes'}-{short(options)}"

    def prepared(self) -> None:
        if not (self.shared / "maps.safetensors").exists():
            self.shared.mkdir(parents=True, exist_ok=True)
            self.env.prepare(self.shared)

    def has(self, **key: Any) -> bool:
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)

    def trial(self, candidate: Any, seed: int, stage: str, epochs: int, folder: str | None = None) -> Row:
        """One evaluation, timed: seconds are of processor time."""
        job = Job(0, candidate, epochs, seed, stage, folder, shared=str(self.shared))
        begin = time.process_time()
        metrics = self.env.evaluate(job, never_stop)
        return {**metrics, "seconds": time.process_time() - begin}


def cells(given: argparse.Namespace) -> str:
    bench = Bench(given)
    bench.prepared()
    named = {f"cell {place}": bench.env.space.sample(stream(0, "cells", place)) for place in range(given.cells)}
    named |= {name: dict(candidate) for name, candidate in bench.env.references.items()}
    for seed in range(given.seeds):
        for name, candidate in named.items():
            if not bench.has(kind="proxy", cell=name, seed=seed):
                bench.add(kind="proxy", cell=name, seed=seed, **bench.trial(candidate, seed, "search", PROXY))
    for name in [f"cell {place}" for place in range(given.full)]:
        if not bench.has(kind="full", cell=name, seed=0):
            bench.add(kind="full", cell=name, seed=0, **bench.trial(named[name], 0, "final-1", FULL))
    return tables.cells(bench.rows, PROXY, FULL)


def searches(given: argparse.Namespace, seed: int, most: float) -> dict[str, dict[str, Any]]:
    """Label -> config. All choose alike: by the proxy, then five by end-to-end training, then one in full.

    most: millions of multiply-accumulates of a cell.
    """
    common = {
        "seed": seed, "trials": given.trials, "seeds": "common",
        "env": {"id": ID, "epochs": PROXY, "seed": seed, **GOALS, **SCENES}, "limits": {"cell_macs_m": most},
        "final": [{"top": 5, "budget": FULL}, {"top": 1, "budget": 2 * FULL}],
    }  # fmt: skip
    evolution = {"name": "regularized-evolution", "population": 25, "sample": 8}
    return {"searched": common | {"searcher": evolution}, "random search": common | {"searcher": "random"}}


def searched(given: argparse.Namespace) -> str:
    bench = Bench(given, **SCENES)
    half = tables.half_of_aspp(bench.env)
    for seed in range(given.seeds):
        for place, (label, config) in enumerate(searches(given, seed, half).items()):
            if bench.has(seed=seed, head=label):
                continue
            run = resumed(given, f"{label.replace(' ', '-')}-{short(config)}", config)
            env = build_env(run.config)
            if place:
                env.references = {}  # the first search's stand for all
            for row in tested(search(run, env=env), label):
                if not bench.has(seed=seed, head=row["head"]):
                    bench.add(seed=seed, **row)
    return tables.searched(bench.rows, given.trials)


def tested(run: Run, label: str) -> list[Row]:
    """What the test stage measured, a head a row, the searched one last; of these the best by validation."""
    best, seconds = str(run.best().note["name"]), sum(trial.seconds for trial in run.trials())
    rows: list[Row] = []
    for trial in [trial for trial in run.trials("test") if trial.metrics]:
        name, size = str(trial.note["name"]), run.journal.get(trial.parent).metrics["cell_macs_m"]
        if trial.note["role"] == "reference":
            rows.insert(0, {"head": name, "cell_macs_m": size, **trial.metrics})
        elif name == best:
            rows.append({"head": label, "cell_macs_m": size, **trial.metrics, "seconds": seconds})
    run.close()
    return rows


def cost(given: argparse.Namespace) -> str:
    bench = Bench(given)
    bench.prepared()
    bench.trial(dict(bench.env.references["plain"]), 0, "search", 1)  # reads the maps, as a worker does once
    for seed in range(given.seeds):
        for name in ("aspp", "dpc"):
            for kind, stage in (("cached", "search"), ("end to end", "final-1")):
                if not bench.has(kind=kind, head=name, seed=seed):
                    made = bench.trial(dict(bench.env.references[name]), seed, stage, 2)
                    bench.add(kind=kind, head=name, seed=seed, **made)
    for row in tables.depthwise_seconds():
        if not bench.has(kind="depthwise", channels=row["channels"], rate=row["rate"]):
            bench.add(kind="depthwise", **row)
    return tables.cost(bench.rows)


def nuclei(given: argparse.Namespace) -> str:
    options = {
        "dataset": f"npz:{(given.data / 'nuclei-128.npz').resolve()}", "output_stride": 8, "decoder": 2, "width": 0.5,
        "wide": 96, "flip": True, "names": ["background", "nucleus"], "class_weights": "none", "backbone_epochs": 8,
    }  # fmt: skip
    bench = Bench(given, **options)
    if not bench.has(head="Otsu"):
        bench.add(head="Otsu", seed=0, nucleus_iou=otsu(bench.env))
    bench.prepared()
    for seed in range(given.seeds):
        for name in ("plain", "aspp", "dpc"):
            if not bench.has(head=name, seed=seed):
                with tempfile.TemporaryDirectory() as folder:
                    candidate = dict(bench.env.references[name])
                    bench.trial(candidate, seed, "final-1", FULL, folder)
                    job = Job(0, candidate, FULL, seed, "test", folder, folder, str(bench.shared))
                    bench.env.test(job, never_stop)
                    classes = json.loads((Path(folder) / "test.json").read_text())
                bench.add(head=name, seed=seed, nucleus_iou=classes["nucleus"]["iou"])
        if not bench.has(head="searched", seed=seed):
            bench.add(head="searched", seed=seed, nucleus_iou=found_on_nuclei(given, options, seed))
    return tables.nuclei(bench.rows, FEW)


def found_on_nuclei(given: argparse.Namespace, options: dict[str, Any], seed: int) -> float:
    """Pooled IoU on the test images of the better, on validation images, of the two cells that a search ends with."""
    config = {
        "seed": seed, "trials": FEW, "seeds": "common", "env": {"id": ID, "epochs": SHORT, **options},
        "searcher": {"name": "regularized-evolution", "population": 8, "sample": 3},
        "final": [{"top": 2, "budget": FULL}],
    }  # fmt: skip
    run = resumed(given, f"nuclei-{short(config)}", config)
    env = build_env(run.config)
    env.references = {}  # they stand beside it already
    search(run, env=env)
    best = run.best().note["name"]
    number = next(trial.number for trial in run.trials("test") if trial.note["name"] == best)
    classes = json.loads((run.trial_folder(number) / "test.json").read_text())
    run.close()
    return float(classes["nucleus"]["iou"])


def resumed(given: argparse.Namespace, name: str, config: dict[str, Any]) -> Run:
    """The run of that name and the config's seed below --work, as far as it went, or a new one."""
    folder = given.work / f"{name}-s{config['seed']}"
    if folder.exists():
        return Run.resume(folder)
    return Run.create(config | {"name": name, "executor": {"name": "process", "workers": given.workers}}, given.work)


def otsu(env: SegmentationEnv) -> float:
    """Pooled IoU on the test images of Otsu's threshold of grey, the smaller of the two parts taken for nuclei."""
    import cv2

    test, table = env.data.test, torch.zeros((2, 2), dtype=torch.int64)
    for image, mask in zip(test.image.permute(0, 2, 3, 1).numpy(), test.label, strict=True):
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        _, above = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        said = torch.from_numpy(above.astype(np.int64))
        table += confusion(said if said.float().mean() <= 0.5 else 1 - said, mask, 2)
    return float(scores(table).iou[1])


TASKS = {"cells": cells, "search": searched, "cost": cost, "nuclei": nuclei}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "bench-segmentation",
        help="where prepared backbones and runs stay",
    )
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--full", type=int, default=20, help="of the cells, how many are trained end to end")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    parser.add_argument("--table", action="store_true", help="measure nothing: the table of the rows that are there")
    given = parser.parse_args()
    one_thread()
    keep_memory()
    if given.table:
        rows = [json.loads(line) for line in given.rows.read_text().splitlines()]
        text = tables.of(given.task, rows, PROXY, FULL, given.trials, FEW)
    else:
        text = TASKS[given.task](given)
    print(text)
    if given.write:
        write(text, given.write, (f"<!-- {given.task}: begin -->", f"<!-- {given.task}: end -->"))


if __name__ == "__main__":
    main()
