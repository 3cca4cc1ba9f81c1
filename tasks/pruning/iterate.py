"""Iterative pruning: smaller in rounds, each searched anew on the fine-tuned weights of the round before.

    python -m automl_ext.tasks.pruning.iterate CONFIG --densities 0.5 0.35 0.25 0.2 --out runs

AMC brings ResNet-50 to 50, 35, 25 and 20 % of its weights, with 30 epochs of fine-tuning after each round (He et al.,
ECCV 2018, arXiv 1802.03494): `final: [{top: 1, budget: 30}]` in the config. A round is a run like any other, in a
folder of its own; called again, finished rounds are taken over and an unfinished one goes on. See carry.py for what a
round takes from the one before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from automl_ext.tasks.pruning.carry import after
from safetensors.torch import load_file

from automl_ext import registry
from automl_ext.config import Config, changed, load
from automl_ext.construct import construct
from automl_ext.journal import write_json
from automl_ext.mistakes import ConfigError
from automl_ext.outcome import summary
from automl_ext.report.display import NOTHING
from automl_ext.run import Run, RunError, slug
from automl_ext.session import play
from automl_ext.terminal import complain, complaint, table

__all__ = ["iterate", "main"]

COLUMNS = ("accuracy_untuned", "accuracy", "test_accuracy")


def iterate(
    config: Config, densities: Sequence[float], out: str | Path, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Play one round a density and return a row for each: density, run, and COLUMNS where the run has them.

    densities: shares of the whole network that may stay, falling. Rounds are known by their names.
    Raises ConfigError for what cannot work, the last density included, before anything is trained; RunError where a
    round was made with another config or other weights; Complaint where one fails, stops, or misses an expectation.
    """
    out = Path(out)
    _check(densities)
    construct(_round(config, len(densities), densities[-1]))
    rows: list[dict[str, Any]] = []
    exported: list[Path] = []
    for number, density in enumerate(densities, 1):
        run = _play(_round(config, number, density, exported), out, exported, say)
        exported.append(run.folder / "best")
        if not (exported[-1] / "model.safetensors").is_file():
            raise RunError(f"{run.folder}: it exported no network, so that the next round has nothing to begin with")
        chosen: dict[str, Any] = next((row for row in summary(run)["table"] if row["role"] == "searched"), {})
        found = {name: chosen[name] for name in COLUMNS if isinstance(chosen.get(name), float)}
        rows.append({"density": density, **found, "run": str(run.folder)})
        write_json(out / f"rounds-{slug(config.name)}-s{config.seed}.json", rows)
    return rows


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text: density, and accuracies before and after fine-tuning and on test images, in %."""
    heads = ["density", "before tuning", "after", "test", "run"]
    cells = [
        [
            f"{row['density']:.0%}" if row["density"] >= 0.1 else f"{row['density']:.2%}",
            *(f"{100 * row[name]:.2f}" if name in row else NOTHING for name in COLUMNS),
            row["run"],
        ]
        for row in rows
    ]
    return table(heads, cells, numbers=(0, 1, 2, 3))


def _check(densities: Sequence[float]) -> None:
    for density in densities:
        if not 0 < density <= 1:
            raise ConfigError("densities", f"must be shares above 0 and at most 1, not {density:g}")
    if not densities or any(later >= earlier for earlier, later in pairwise(densities)):
        said = ", ".join(f"{density:g}" for density in densities) or "none"
        raise ConfigError("densities", f"must be falling shares, such as 0.5 0.35 0.25 0.2, not {said}")


def _round(config: Config, number: int, density: float, exported: Sequence[Path] = ()) -> Config:
    """The config of one round. exported: by the rounds before."""
    options = after(config.env.id, config.env.options, density, *exported[-1:], *exported[:1])
    name = f"round-{number}-{density:g}-{config.name}"[:60]
    return config.model_copy(update={"name": name, "env": config.env.model_copy(update={"options": options})})


def _play(config: Config, out: Path, exported: Sequence[Path], say: Callable[[str], None]) -> Run:
    """The finished run of `config` in `out`: as it lies there, continued, or made."""
    known = _known(config, out)
    if known is None:
        say(f"{config.name}: begins")
        whole, env, searcher = construct(config)
        play(run := Run.create(whole, out), env, searcher, False)
        return Run.open(run.folder)
    _check_same(known, config, exported)
    if known.manifest.get("outcome") == "finished" and (known.folder / "best").is_dir():
        say(f"{config.name}: taken over from {known.folder}")
        return known
    say(f"{config.name}: goes on in {known.folder}")
    whole, env, searcher = construct(config)
    play(Run.resume(known.folder, whole), env, searcher, False)
    return Run.open(known.folder)


def _check_same(known: Run, config: Config, exported: Sequence[Path]) -> None:
    """RunError where a round was made with another config, or began with other weights than are exported now."""
    totals = [key for key in ("trials", "wall_time", "target") if getattr(known.config, key) != getattr(config, key)]
    if keys := [*changed(known.config, config), *totals]:
        raise RunError(f"{known.folder}: was made with other values of {', '.join(keys)}; give another --out or name")
    began = known.shared / "network.safetensors"
    if not exported or not began.is_file():
        return
    before, now = load_file(began), load_file(exported[-1] / "model.safetensors")
    if before.keys() != now.keys() or not all(torch.equal(before[name], now[name]) for name in now):
        raise RunError(f"{known.folder}: began with other weights than {exported[-1]} has now; give another --out")


def _known(config: Config, out: Path) -> Run | None:
    """The last run of this round that was made in `out`."""
    made = sorted(out.glob(f"{slug(config.name)}-s{config.seed}*/config.yaml"), key=lambda path: path.stat().st_mtime)
    runs = [Run.open(path.parent) for path in reversed(made)]
    return next((run for run in runs if (run.config.name, run.config.seed) == (config.name, config.seed)), None)


def main(args: Sequence[str] | None = None) -> int:
    """The command; exit codes as of automl-ext. The working directory's modules can be named."""
    parser = argparse.ArgumentParser(prog="iterate", description="Prune in rounds, each on the weights of the last.")
    parser.add_argument("config", help="a config file of a pruning search")
    parser.add_argument("--densities", type=float, nargs="+", default=[0.5, 0.35, 0.25, 0.2], metavar="SHARE")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the rounds' folders are made")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, help="worker processes; 0 evaluates in this process")
    given = parser.parse_args(args)
    registry.search_path(str(Path.cwd()))
    more = [] if given.workers is None else [f"executor.workers={given.workers}"]
    try:
        rows = iterate(load(given.config, [*given.sets, *more]), given.densities, given.out)
    except BaseException as error:
        trouble = complaint(error)
        if trouble is None:
            raise
        return complain(trouble)
    print("\n" + shown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
