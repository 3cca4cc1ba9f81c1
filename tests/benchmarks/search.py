"""Every searcher on a table with known truth: the 15,625 cells of NAS-Bench-201, beside Optuna's samplers.

    python tests/benchmarks/search.py --table nasbench201.csv.gz [--parts single rivals front fidelity] [--seeds 100]

single: search on `c10_val200`, one trial at a time and eight at a time. rivals: the learned searcher against each
rival, also on `c10_val12`. front: accuracy and latency. fidelity: ASHA over 12 and 200 epochs, against evolution.

Results are appended to `--results` as they come, and what stands there is not run again; delete the file after a change
of a searcher. `--write FILE` puts the tables between the two marks of a Markdown file, and the figure beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fidelity_runs
import search_tables
import table_runs

SINGLE = [["c10_val200", "max"]]
EARLY = [["c10_val12", "max"]]
FRONT = [["c10_val200", "max"], ["c10_latency_s", "min"]]
FIRST = 1000
"""The first seed: settings were chosen on others."""

QUICK: dict[str, dict[str, Any]] = {
    "random": {},
    "local": {},
    "regularized-evolution": {"population": 50, "sample": 10},
    "tournament": {},
    "hill-climbing": {},
    "nsga2": {},
    "q-learning": {},
    "mcts": {},
}
"""Searchers that train no model: all seeds, 400 trials."""
TRAINED: dict[str, dict[str, Any]] = {"reinforce": {}, "ppo": {}, "progressive": {}, "nao": {}}
"""Searchers that train a network in tell: a fifth of the seeds, 200 trials, one at a time."""
LEARNED = "predictor"
RIVALS = {"optuna:tpe": (1.0, 200), "optuna:nsga2": (1.0, 400), "optuna:gp": (0.2, 100)}
"""Share of the seeds, trials."""


def tasks(parts: list[str], seeds: int) -> Iterator[dict[str, Any]]:
    """Every search of the chosen parts, the cheap ones first."""

    def searches(
        part: str, goals: list[list[str]], name: str, options: dict[str, Any], count: int, trials: int, parallel: int
    ) -> Iterator[dict[str, Any]]:
        for seed in range(FIRST, FIRST + count):
            yield {
                "part": part, "goals": goals, "searcher": name, "options": options,
                "trials": trials, "parallel": parallel, "seed": seed,
            }  # fmt: skip

    fewer = max(seeds // 5, 5)
    for parallel in (1, 8) if "single" in parts else ():
        for name, options in QUICK.items():
            yield from searches("single", SINGLE, name, options, seeds, 400, parallel)
        yield from searches("single", SINGLE, LEARNED, {}, 2 * seeds if parallel == 1 else fewer, 200, parallel)
        for name, options in TRAINED.items() if parallel == 1 else ():
            yield from searches("single", SINGLE, name, options, fewer, 200, parallel)
    if "rivals" in parts:
        for name, (share, trials) in RIVALS.items():
            count = max(int(share * 2 * seeds) if name == "optuna:tpe" else int(share * seeds), 5)
            yield from searches("single", SINGLE, name, {}, count, trials, 1)
        yield from searches("single", SINGLE, "local", {}, 2 * seeds, 400, 1)
        for name in (LEARNED, "local", "random", "optuna:tpe"):
            yield from searches("early", EARLY, name, {}, seeds, 100, 1)
        yield from searches("early", EARLY, "optuna:gp", {}, fewer, 100, 1)
    if "front" in parts:
        for name, options in {"random": {}, "nsga2": {}, "lemonade": {"cheap": ["c10_latency_s"]}, LEARNED: {}}.items():
            yield from searches("front", FRONT, name, options, fewer, 200, 1)
        yield from searches("front", FRONT, "optuna:nsga2", {}, fewer, 200, 1)
    if "fidelity" in parts:
        for name in fidelity_runs.SETTINGS:
            yield from searches("fidelity", SINGLE, name, {}, fewer, 0, 1)


def play(task: dict[str, Any]) -> dict[str, Any]:
    return fidelity_runs.run(task) if task["part"] == "fidelity" else table_runs.run(task)


def key(task: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in task.items() if name != "table"}, sort_keys=True)


def stored(file: Path) -> dict[str, dict[str, Any]]:
    if not file.exists():
        return {}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {key(row["task"]): row for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="CSV of the table, see configs/architecture/nasbench201.yaml")
    parser.add_argument("--parts", nargs="*", default=["single", "rivals", "front", "fidelity"])
    parser.add_argument("--only", nargs="*", help="these searchers only")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("search-results.jsonl"))
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the tables")
    options = parser.parse_args()
    options.table = str(Path(options.table).resolve())
    known = stored(options.results)
    wanted = {key(task): task for task in tasks(options.parts, options.seeds)}
    missing = [task | {"table": options.table} for name, task in wanted.items() if name not in known]
    missing = [task for task in missing if not options.only or task["searcher"] in options.only]
    began = time.monotonic()
    with (
        options.results.open("a") as file,
        ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool,
    ):
        for done, future in enumerate(as_completed([pool.submit(play, task) for task in missing]), 1):
            row = future.result()
            print(json.dumps(row), file=file, flush=True)
            known[key(row["task"])] = row
            if done % 50 == 0 or done == len(missing):
                left = (time.monotonic() - began) / done * (len(missing) - done)
                print(f"{done}/{len(missing)} searches, about {left / 60:.0f} min left", flush=True)
    text = search_tables.tables([known[name] for name in wanted if name in known], options.table, LEARNED)
    print(text)
    if options.write:
        search_tables.write(text, options.write)
        search_tables.figure(list(known.values()), options.table, options.write.with_name("search.svg"))


if __name__ == "__main__":
    main()
