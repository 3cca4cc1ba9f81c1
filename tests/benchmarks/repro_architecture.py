"""What the papers on architecture search claim, tested at a small size.

    python tests/benchmarks/repro_architecture.py [--claims NAME ...] [--table FILE] [--write FILE]

One claim a paper, with a stated test and number of seeds; see repro_claims.py. Claims about searchers run on planted
scores over the papers' own spaces and, given `--table`, on that of NAS-Bench-201; claims about trainings on digits.
Rows are appended to `--rows` as they come, and what stands there is not run again: a run that was cut off goes on, and
each claim can be run alone. Delete the file after a change of a searcher. `--write` puts the table between the two
marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from repro_claims import CLAIMS, FIRST, Claim
from repro_runs import play

MARKS = ("<!-- reproductions: begin -->", "<!-- reproductions: end -->")
Row = dict[str, Any]


def key(task: Row) -> str:
    return json.dumps(task, sort_keys=True)


def stored(file: Path) -> dict[str, Row]:
    """Rows by task; a torn last line counts for nothing."""
    known = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        known[key(row["task"])] = row
    return known


def run(tasks: Sequence[Row], known: dict[str, Row], rows: Path, table: str | None, workers: int) -> None:
    """Play what is not known yet."""
    missing = {key(task): task for task in tasks if key(task) not in known}
    began = time.monotonic()
    with rows.open("a") as file, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        if rows.stat().st_size and not rows.read_text().endswith("\n"):
            file.write("\n")
        futures = [pool.submit(play, task, table) for task in missing.values()]
        for done, future in enumerate(as_completed(futures), 1):
            row = future.result()
            print(json.dumps(row), file=file, flush=True)
            known[key(row["task"])] = row
            if done % 20 == 0 or done == len(futures):
                print(f"{done}/{len(futures)} searches, {(time.monotonic() - began) / 60:.1f} min", flush=True)


def verdicts(claims: Sequence[Claim], known: dict[str, Row], table: bool) -> str:
    """The Markdown table: a line a claim and problem."""
    lines = [
        "| claim | paper | says | test | on | seeds | numbers | holds | processor min |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for claim in claims:
        for problem in claim.on(table):
            tasks = list(claim.tasks(problem))
            rows = [known[key(task)] for task in tasks if key(task) in known]
            if len(rows) < len(tasks):
                continue
            by_label = {
                each.label: rows[n * claim.seeds : (n + 1) * claim.seeds] for n, each in enumerate(claim.searches)
            }
            holds, numbers = claim.judge(by_label)
            minutes = sum(row["seconds"] for row in rows) / 60
            cells = (
                claim.name, claim.paper, claim.says, claim.test, problem, str(claim.seeds), numbers,
                "yes" if holds else "**no**", f"{minutes:.1f}",
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [claim.name for claim in CLAIMS]
    parser.add_argument("--claims", nargs="*", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--table", help="CSV of NAS-Bench-201, see configs/architecture/nasbench201.yaml")
    parser.add_argument("--rows", type=Path, default=Path("repro-architecture.jsonl"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    options = parser.parse_args()
    table = str(Path(options.table).resolve()) if options.table else None
    claims = [claim for claim in CLAIMS if claim.name in options.claims]
    known = stored(options.rows)
    tasks = [task for claim in claims for problem in claim.on(table is not None) for task in claim.tasks(problem)]
    run(tasks, known, options.rows, table, options.workers)
    text = verdicts(claims, known, table is not None)
    print(f"\nSeeds from {FIRST} on.\n\n{text}")
    if options.write:
        before, rest = options.write.read_text().split(MARKS[0])
        options.write.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    main()
