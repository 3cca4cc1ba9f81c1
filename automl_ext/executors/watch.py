"""Watch: a thread in every worker that ends it when its driver is gone or its memory limit is passed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import connection, parent_process
from pathlib import Path

from automl_ext.executors.death import ORPHANED, OVER_MEMORY

PERIOD_S = 0.1


def begin_worker(memory_mb: float | None) -> None:
    """First thing in a worker of a pool. It leads its own process group, so that Ctrl-C stays the driver's business."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # at once, even inside a C function
    parent = parent_process()
    if parent is None:
        raise RuntimeError("begin_worker is for worker processes")
    sentinel = parent.sentinel  # readable as soon as the driver is gone
    watch(lambda: bool(connection.wait([sentinel], PERIOD_S)), memory_mb)


def begin_child(memory_mb: float | None) -> None:
    """First thing in a child process that answers one payload."""
    parent = os.getppid()

    def orphaned() -> bool:
        time.sleep(PERIOD_S)
        return os.getppid() != parent

    watch(orphaned, memory_mb)


def watch(orphaned: Callable[[], bool], memory_mb: float | None) -> None:
    """Start the thread. `orphaned` waits up to PERIOD_S for the driver's end and says whether it came."""

    def loop() -> None:
        while not orphaned():
            if memory_mb is not None and resident_mb() > memory_mb:
                os._exit(OVER_MEMORY)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)  # with whatever the evaluation started
        os._exit(ORPHANED)

    threading.Thread(target=loop, name="automl-ext-watch", daemon=True).start()


def resident_mb() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
