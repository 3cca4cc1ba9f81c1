"""Searched augmentation beside published and hand-made, on few labelled images; equal training for every row.

    python tests/benchmarks/augmentation.py digits [--splits 5] [--workers 2] [--density]
        [--rows rows.jsonl] [--write tasks/augmentation/README.md]
    python tests/benchmarks/augmentation.py cifar10 --data ../shared/data
    python tests/benchmarks/augmentation.py fashion-mnist

A split draws which images are labelled. On each, evolution in the space `selective` trains a child a candidate, fewer
epochs or on fewer images; the best few are trained in full, and where that is short the best three of them some more
times, beside the references. As many random candidates, and RandAugment's 15 settings, are chosen from in the same way.
With --density also AutoAugment's space as Fast AutoAugment goes about it: 200 policies are scored by density, without
training, the best ten and the best five together trained for a short while, the best two of these in full. All
choices are made on validation images, test images are read once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pruning_table import write
from scipy.stats import t as student

from automl_ext import Run, search
from automl_ext.driver import build_env

ID = "automl_ext/Augmentation-v0"
TASKS: dict[str, dict[str, Any]] = {
    "digits": {
        "env": {"dataset": "digits", "images": 200, "epochs": 150, "rate": 0.1},
        "short": {"epochs": 40}, "trials": 100, "top": 8, "repeats": 3,
    },
    "cifar10": {
        "env": {"images": 1000, "epochs": 80, "rate": 0.1, "flip": True, "shift": 4, "val_images": 2500},
        "short": {"search_images": 400}, "trials": 24, "top": 4, "repeats": 1,
    },
    "fashion-mnist": {
        "env": {"dataset": "fashion-mnist", "images": 1000, "epochs": 60, "rate": 0.1, "val_images": 2000},
        "short": {"search_images": 400}, "trials": 24, "top": 4, "repeats": 1,
    },
}  # fmt: skip
"""short: what the search spares; trials: candidates; top: trained in full; repeats: of a row's training."""
Row = dict[str, Any]
"""task, split, policy, role, test: accuracy in percent, mean over repeats; seconds: of all evaluations of a search."""


def environment(name: str, split: int, data: Path, **options: Any) -> dict[str, Any]:
    own = {"dataset": f"npz:{(data / 'cifar10-jpeg.npz').resolve()}"} if name == "cifar10" else {}
    return {"id": ID, "seed": split, **TASKS[name]["env"], **own, **options}


def searches(name: str, split: int, given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Label -> what differs in the config. All choose alike: by short trainings, then by whole ones."""
    task = TASKS[name]
    whole, repeats, short = task["env"]["epochs"], task["repeats"], task["short"]
    first, last = {"top": task["top"], "budget": whole}, {"top": 3, "budget": whole, "seeds": repeats}
    selective = environment(name, split, given.data, space="selective") | short
    common = {"env": selective, "trials": task["trials"], "final": [first, last] if repeats > 1 else [first]}
    evolution = {"name": "regularized-evolution", "population": max(10, task["trials"] // 5), "sample": 5}
    settings = environment(name, split, given.data, space="randaugment") | short
    found: dict[str, dict[str, Any]] = {
        "searched": common | {"searcher": evolution},
        "best random policy": common | {"searcher": "random"},
        "randaugment, best of 15": common | {"env": settings, "searcher": {"name": "grid", "bins": 5}, "trials": 15},
    }
    if given.density:
        found["autoaugment's space, by density"] = {
            "env": environment(name, split, given.data, estimator="density"), "searcher": evolution,
            "trials": 200, "final": [{"top": 10, "budget": whole // 4}, last | {"top": 2}],
        }  # fmt: skip
    return found


def played(name: str, split: int, given: argparse.Namespace, out: Path) -> list[Row]:
    """The rows of one split: a search a row that was searched for, the first with all references."""
    rows: list[Row] = []
    for place, (label, fields) in enumerate(searches(name, split, given).items()):
        folder = out / f"{name}-{place}-s{split}"
        executor = {"name": "process", "workers": given.workers}
        config = {"name": f"{name}-{place}", "seed": split, "seeds": "common", "executor": executor, **fields}
        run = Run.resume(folder) if folder.exists() else Run.create(config, out=out)
        env = build_env(run.config)
        if place:
            env.references = {}  # the first search's stand for all
        rows += tested(search(run, env=env), name, split, label)
    return rows


def tested(run: Run, name: str, split: int, label: str) -> list[Row]:
    """What the test stage measured, a policy a row; of the searched ones the best by validation."""
    best, seconds = str(run.best().note["name"]), sum(trial.seconds for trial in run.trials())
    found: dict[tuple[str, str], list[float]] = {}
    for trial in run.trials("test"):
        if trial.metrics is not None:
            key = (str(trial.note["role"]), str(trial.note["name"]))
            found.setdefault(key, []).append(100 * trial.metrics["test_accuracy"])
    rows: list[Row] = []
    for (role, who), values in found.items():
        if role != "searched" or who == best:
            policy = label if role == "searched" else who
            rows.append({"task": name, "split": split, "policy": policy, "role": role, "test": statistics.mean(values)})
            rows[-1] |= {"seconds": seconds, "name": who} if role == "searched" else {}
    run.close()
    return rows


def table(rows: list[Row], name: str) -> str:
    """Test accuracies, and paired differences to three rows, with 95 % intervals of the mean over splits."""
    some = [row for row in rows if row["task"] == name]
    by = {policy: {row["split"]: row["test"] for row in some if row["policy"] == policy}
          for policy in dict.fromkeys(row["policy"] for row in some)}  # fmt: skip
    names = ("none", "flip-and-crop", "trivialaugment", "randaugment, best of 15", "best random policy")
    rivals = [rival for rival in names if rival in by]
    task = TASKS[name]
    lines = [
        f"{task['env']['images']} labelled images, {task['env']['epochs']} epochs, ResNet-8, {task['repeats']} a split,"
        f" {len({row['split'] for row in some})} splits. Test accuracy in %, median (from to); differences: mean, 95 %"
        " interval over splits.\n",
        f"| policy | test | {' | '.join(f'minus {rival}' for rival in rivals)} |",
        "|---" * (2 + len(rivals)) + "|",
    ]
    for policy in sorted(by, key=lambda policy: -statistics.mean(by[policy].values())):
        values = sorted(by[policy].values())
        cells = [f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"]
        cells += ["" if rival == policy else _difference(by[policy], by[rival]) for rival in rivals]
        lines.append(f"| {policy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(own: dict[int, float], other: dict[int, float]) -> str:
    values = np.array([own[split] - other[split] for split in own if split in other])
    if len(values) < 2:
        return f"{values.mean():+.2f}"
    half = float(student.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.2f} ({values.mean() - half:+.2f} to {values.mean() + half:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--density", action="store_true", help="AutoAugment's space by density, too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where runs stay, and go on; they go with the process otherwise")
    parser.add_argument("--rows", type=Path, help="JSON lines: what stands there is kept, what is new is added")
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    given = parser.parse_args()
    rows = (
        [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows and given.rows.exists() else []
    )
    with tempfile.TemporaryDirectory() as folder:
        for split in range(given.splits):
            if any((row["task"], row["split"]) == (given.task, split) for row in rows):
                continue
            began = time.perf_counter()
            new = played(given.task, split, given, given.out or Path(folder))
            rows += new
            print(f"split {split}: {time.perf_counter() - began:.0f} s", *new, sep="\n  ", flush=True)
            if given.rows:
                with given.rows.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
    text = table(rows, given.task)
    print(text)
    if given.write:
        write(text, given.write, (f"<!-- {given.task}: begin -->", f"<!-- {given.task}: end -->"))


if __name__ == "__main__":
    main()
