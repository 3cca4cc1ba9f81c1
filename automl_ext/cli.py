"""The command line: run, resume, status, list, compare, export, report, check.

Exit codes: 0 done, 1 a run or a check failed, 2 the user's mistake, 3 an expectation missed, 128 + signal when stopped.
Every import that takes time happens inside the command that needs it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from automl_ext import listing, registry
from automl_ext.terminal import Complaint, complain, complaint, quiet_pipe, say_json, table

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

Folder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/quickstart-s0.")]
Folders = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the config. Repeatable.")
]
Workers = Annotated[int | None, typer.Option(help="Worker processes; 0 evaluates in this process.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def automl_ext(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> int:
    """Search for deep-learning design decisions beyond layer choice.

    \b
    Examples:
      automl-ext run configs/quickstart.yaml
      automl-ext status runs/*
      automl-ext list
    """
    if version:
        from importlib.metadata import version as installed

        print(f"automl-ext {installed('automl-ext')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
    return 0


@app.command()
def run(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A config file in YAML.")],
    sets: Sets = [],  # noqa: B006
    workers: Workers = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.")] = None,
    out: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run, by default the config's.")] = None,
    as_json: Json = False,
) -> int:
    """Search as a config says, in a new folder.

    Shows progress, and ends with a table, the best candidate's files and a report.

    \b
    Examples:
      automl-ext run configs/quickstart.yaml
      automl-ext run configs/quickstart.yaml --seed 1 --workers 4 --out results
      automl-ext run my.yaml --set trials=500 --set searcher.population=50
    """
    import json

    from automl_ext.config import load
    from automl_ext.construct import construct
    from automl_ext.run import Run
    from automl_ext.session import play

    short = [("executor.workers", workers), ("seed", seed), ("name", None if name is None else json.dumps(name))]
    overrides = [*sets, *(f"{key}={value}" for key, value in short if value is not None)]
    settings, env, searcher = construct(load(config, overrides))
    made = Run.create(settings, out)
    return play(made, env, searcher, as_json)


@app.command()
def resume(folder: Folder, sets: Sets = [], workers: Workers = None, as_json: Json = False) -> int:  # noqa: B006
    """Go on with a run, also with a larger budget.

    Only totals (trials, wall_time, target), executor and max_failures may change.

    \b
    Examples:
      automl-ext resume runs/quickstart-s0
      automl-ext resume runs/quickstart-s0 --set trials=300 --workers 2
    """
    from automl_ext.config import load
    from automl_ext.construct import construct
    from automl_ext.run import Run
    from automl_ext.session import play

    overrides = [*sets, *([] if workers is None else [f"executor.workers={workers}"])]
    known = Run.open(folder).config
    settings, env, searcher = construct(load(folder / "config.yaml", overrides) if overrides else known)
    return play(Run.resume(folder, settings if overrides else None), env, searcher, as_json)


@app.command()
def status(folders: Folders, as_json: Json = False) -> int:
    """How runs stand, also while they work.

    \b
    Examples:
      automl-ext status runs/quickstart-s0
      automl-ext status runs/* --json
    """
    from automl_ext.outcome import STANDING, standing, standing_row
    from automl_ext.run import Run

    facts = [standing(Run.open(folder)) for folder in folders]
    if as_json:
        say_json(facts)
    else:
        print(table(STANDING, [standing_row(fact) for fact in facts], numbers=(3, 4, 6, 7, 8)))
    return 0


@app.command("list")
def list_(
    environments: Annotated[bool, typer.Option("--environments", help="Only environments.")] = False,
    searchers: Annotated[bool, typer.Option("--searchers", help="Only searchers.")] = False,
    rewards: Annotated[bool, typer.Option("--rewards", help="Only rewards.")] = False,
    stopping: Annotated[bool, typer.Option("--stopping", help="Only stopping rules.")] = False,
    datasets: Annotated[bool, typer.Option("--datasets", help="Only data sets.")] = False,
    as_json: Json = False,
) -> int:
    """What a config can name, and where it comes from.

    \b
    Examples:
      automl-ext list
      automl-ext list --searchers --json
    """
    wanted = dict(zip(listing.KINDS, (environments, searchers, rewards, stopping, datasets), strict=True))
    known = {kind: rows() for kind, rows in listing.KINDS.items() if wanted[kind] or not any(wanted.values())}
    if as_json:
        say_json(known)
        return 0
    for index, (kind, rows) in enumerate(known.items()):
        print(("\n" if index else "") + listing.text(kind, rows))
    print("\nYour own: searcher my_module:MySearcher, environment my_module:MyTarget-v0")
    return 0


@app.command()
def compare(
    folders: Folders,
    metric: Annotated[str | None, typer.Option(help="By default the test metric of the chosen candidates.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw best-so-far curves and fronts into this file.")] = None,
    reference: Annotated[
        list[str],
        typer.Option(metavar="NAME=VALUE", help="The hypervolumes' reference point, one value an objective."),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> int:
    """Compare runs over seeds.

    Medians, bootstrap intervals of the mean, paired tests with Holm's correction. Where several objectives are traded
    also their hypervolume: the share between a reference point and the best values that a run's front covers.

    \b
    Examples:
      automl-ext compare runs/quickstart-s*
      automl-ext compare runs/ddpg-s* runs/evolution-s* --metric accuracy --json
      automl-ext compare runs/* --metric hypervolume --reference accuracy=0.5 --reference latency_ms=20 --svg fronts.svg
    """
    from automl_ext import compare as comparing
    from automl_ext.run import Run

    runs = [Run.open(folder) for folder in folders]
    try:
        comparison = comparing.compare(runs, metric, comparing.point(reference))
    except ValueError as error:
        raise Complaint(str(error)) from error
    if svg is not None:
        comparing.draw(comparison, svg)
    if as_json:
        say_json(comparison.to_json())
        return 0
    pair_tables = [comparing.pair_table(comparison), comparing.pair_table(comparison, volumes=True)]
    for headings, rows in (comparing.table(comparison), *pair_tables):
        if rows:
            print(table(headings, rows, numbers=range(1, len(headings) - (headings[-1] == "verdict"))) + "\n")
    print("\n".join(comparison.notes))
    return 0


@app.command()
def export(
    folder: Folder,
    trial: Annotated[int | None, typer.Option(help="Number of the trial, by default the best.")] = None,
    to: Annotated[Path | None, typer.Option(help="A new folder, by default RUN/export-NUMBER.")] = None,
) -> int:
    """Write a trial as files that load without us.

    \b
    Examples:
      automl-ext export runs/quickstart-s0
      automl-ext export runs/quickstart-s0 --trial 17 --to my-network
    """
    from automl_ext.driver import export_trial
    from automl_ext.run import Run
    from automl_ext.session import told

    finished = Run.open(folder)
    best = finished.best() if trial is None else None
    if trial is None and best is None:
        raise Complaint(f"{folder}: no trial has a result yet")
    number = best.number if best is not None else trial
    assert number is not None  # noqa: S101
    place = to or folder / f"export-{number:05d}"
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise Complaint(f"{place}: is there already; name a new folder with --to")
    print(told(lambda: export_trial(finished, number, place), finished))
    return 0


@app.command()
def report(folder: Folder) -> int:
    """Write a run's report.html again.

    \b
    Example:
      automl-ext report runs/quickstart-s0
    """
    from automl_ext.report import write_report
    from automl_ext.run import Run

    print(write_report(Run.open(folder)))
    return 0


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="my_module:MyTarget-v0 or my_module:MySearcher.")],
    sets: Annotated[list[str], typer.Option("--set", metavar="OPTION=VALUE", help="An option of it. Repeatable.")] = [],  # noqa: B006
    learning: Annotated[bool, typer.Option(help="Whether a searcher has to beat random search.")] = True,
) -> int:
    """Test your own target or searcher.

    The contract suite: legal candidates, pure asks, repeatable trials, resume at any point, better than random.

    \b
    Examples:
      automl-ext check my_module:MyTarget-v0 --set depth=2
      automl-ext check my_module:MySearcher
    """
    from automl_ext.verify import verify

    began = time.monotonic()
    kind = verify(name, sets, learning)
    print(f"{name} keeps the contract of a {kind} ({time.monotonic() - began:.1f} s)")
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. The working directory's modules can be named."""
    registry.search_path(str(Path.cwd()))
    try:
        code = typer.main.get_command(app).main(args, prog_name="automl-ext", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:
        return quiet_pipe()
    except BaseException as error:
        trouble = complaint(error)
        if trouble is None:
            raise
        return complain(trouble)


if __name__ == "__main__":
    sys.exit(main())
