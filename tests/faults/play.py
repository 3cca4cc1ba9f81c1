"""Starts or continues one run; a program of its own, because it will be killed.

    python play.py FOLDER SEED WORKERS

Says on standard output what it has told the searcher, so that nothing it said may be missing from the journal later.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from automl_ext import Run, search

ENV = {"id": "targets:tests_targets/Weights-v0", "seconds": 0.03}


class Telling:
    def start(self, run): ...
    def stage(self, name, total): ...
    def close(self): ...

    def note(self, text):
        print("note", text, flush=True)

    def trial(self, trial, told, out, best, left_s):
        print("told", trial.stage, trial.number, flush=True)


def main(out: str, seed: str, workers: str) -> None:
    begun = list(Path(out).glob(f"kills-s{seed}*/config.yaml"))
    if begun:
        run = Run.resume(begun[0].parent)
    else:
        run = Run.create(
            name="kills",
            env=ENV,
            searcher="targets:Lineage",
            trials=120,
            seed=int(seed),
            retries=100,
            final=[{"top": 3}, {"top": 1, "seeds": 2}],
            baselines=["random"],
            executor={"name": "process", "workers": int(workers)},
            out=out,
        )
    with run:
        search(run, progress=Telling())
    print("finished", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
