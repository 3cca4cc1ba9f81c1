"""A run at the terminal: progress while it works, a table at its end, one line where it fails or stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from automl_ext.driver import Interrupted, RunError, search
from automl_ext.executors import ExecutorError
from automl_ext.outcome import expected, summary
from automl_ext.progress import choose
from automl_ext.report import printable, write_report
from automl_ext.report.display import NOTHING, duration
from automl_ext.terminal import Complaint, say_json, table

if TYPE_CHECKING:
    from automl_ext.env import SearchEnv
    from automl_ext.run import Run
    from automl_ext.searcher import Searcher

Result = TypeVar("Result")


def play(run: Run, env: SearchEnv, searcher: Searcher, as_json: bool) -> int:
    """Search to the end, write the report, print what was found. Progress goes to standard error.

    Raises Complaint: code 1 for a failed run, 3 for a bound of `expect` that is missed, 128 + signal for a stopped run.
    """
    console = Console(stderr=True)
    began = time.monotonic()
    with run:
        console.print(f"run {run.folder}", markup=False, highlight=False, soft_wrap=True)
        given = None if env.waits else searcher
        told(lambda: search(run, env=env, searcher=given, progress=choose(console)), run)
        page = write_report(run)
        facts = summary(run) | {"report": str(page), "seconds": time.monotonic() - began}
    if as_json:
        say_json(facts)
    else:
        headings, rows = printable(facts["table"])
        print("\n" + table(headings, rows, numbers=range(1, len(headings))) + "\n" if rows else "no trial succeeded")
        if facts["front"]:
            print(f"front   {facts['front']['said']}")
        if run.config.expect and not facts["missed"]:
            print(f"expect  {expected(run.config)}: kept")
        print(f"best    {facts['export'] or NOTHING}\nreport  {page}\ntook    {duration(facts['seconds'])}")
    if facts["missed"]:
        raise Complaint(f"{run.folder}: expectation missed: {'; '.join(facts['missed'])}", 3)
    return 0


def told(work: Callable[[], Result], run: Run) -> Result:
    """What `work` returns; a failure as a Complaint of code 1, a stop by a signal as one that says how to go on."""
    try:
        return work()
    except Interrupted as error:
        raise Complaint(f"{error}; go on with: automl-ext resume {run.folder}", 128 + error.signum) from error
    except (RunError, ExecutorError) as error:
        more = f" (all of it: {run.folder / 'run.log'})" if "\n" in str(error) else ""
        raise Complaint(str(error).partition("\n")[0] + more, 1) from error
