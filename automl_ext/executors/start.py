"""Start: how worker processes come into being, for pebble's `context`.

A worker needs nothing of the user's script: it gets JSON and calls a function of this package. So the script is not
imported again, and one without a main guard does not start itself over and over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

LEFT_WITH_ZERO = 256

_STARTING = threading.Lock()


def quiet_tracker() -> None:
    """Start multiprocessing's resource tracker so that it says nothing about semaphores of workers that were ended.

    joblib and tqdm make some in every worker; the tracker removes them, and would warn about each on the terminal.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def starting() -> Iterator[None]:
    """What is started in here does not import the main module, which looks empty, and never gets Ctrl-C."""
    resource_tracker.ensure_running()  # which unblocks the signal when it starts
    with _STARTING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            sys.modules["__main__"] = main


class _Worker:
    """Mixed into a process class."""

    def start(self) -> None:
        with starting():
            super().start()  # type: ignore[misc]

    @property
    def exitcode(self) -> int | None:
        """As usual, but never 0: pebble overlooks workers that leave with 0 (os._exit(0)) and their tasks never end."""
        code: int | None = super().exitcode  # type: ignore[misc]
        return LEFT_WITH_ZERO if code == 0 else code


class _Spawned(_Worker, SpawnProcess):
    pass


class _Forked(_Worker, ForkServerProcess):
    pass


class Spawn(SpawnContext):
    """Fresh interpreters. `worker`: the process started last."""

    worker: _Spawned | None = None

    def Process(self, *args: Any, **fields: Any) -> _Spawned:  # type: ignore[override]  # noqa: N802
        self.worker = _Spawned(*args, **fields)
        return self.worker


class ForkServer(ForkServerContext):
    """Copies of one clean server process. `worker`: the process started last."""

    worker: _Forked | None = None

    def Process(self, *args: Any, **fields: Any) -> _Forked:  # type: ignore[override]  # noqa: N802
        self.worker = _Forked(*args, **fields)
        return self.worker


Context = Spawn | ForkServer
CONTEXTS: dict[str, type[Context]] = {"spawn": Spawn, "forkserver": ForkServer}
