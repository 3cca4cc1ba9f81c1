"""Death of a worker: why it died, and what has to be tidied up behind it."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Literal

from automl_ext.executors import WorkerDied
from automl_ext.place import abandon

OVER_MEMORY = 86
"""Exit code of a worker over its memory limit."""
ORPHANED = 87
"""Exit code of a worker whose driver is gone."""

CLOSED = "the executor was closed"
"""Why an evaluation ends with its executor."""

Kind = Literal["died", "memory"]


def cause(exitcode: int | None, memory_mb: float | None) -> tuple[Kind, str]:
    """(kind, message) for the exit code of a process, negative for a signal; None: it is not known."""
    if exitcode == OVER_MEMORY and memory_mb is not None:
        return "memory", f"the worker grew over its memory limit of {memory_mb:g} MB"
    if exitcode is None:
        return "died", "the worker was gone"
    if exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = " (the system kills so when memory runs out)" if name == "SIGKILL" else ""
        return "died", f"the worker was killed by {name}{hint}"
    return "died", f"the worker left with exit code {exitcode}"


def tidy(payload: str, kind: str, message: str) -> str:
    """Keep only the logs of the payload's jobs, with the reason. Gives the message back."""
    for job in json.loads(payload)["jobs"]:
        with suppress(OSError):
            abandon(job["folder"], kind, message)
    return message


def died(payload: str, exitcode: int | None, memory_mb: float | None) -> WorkerDied:
    """The error of a future whose worker is gone."""
    kind, message = cause(exitcode, memory_mb)
    return WorkerDied(kind, tidy(payload, kind, message))


def kill_group(process: BaseProcess | None) -> None:
    """Kill a worker, if it still runs, and whatever it started: it leads a process group of its own."""
    if process is None or process.pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.exitcode is None:  # it may not lead its group yet
        process.kill()
