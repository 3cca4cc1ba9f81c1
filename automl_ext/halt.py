"""Halt: when a run should stop. Wall time, Ctrl-C and SIGTERM; the first signal asks, the second insists."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import NoReturn


class Interrupted(Exception):  # noqa: N818
    """A signal stopped the run, which can be resumed. `signum`: exit with 128 + signum."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Halt:
    """Watches wall time (seconds, None without bound) and, as a context manager in the main thread, the signals.

    grace: seconds that running evaluations get after the first signal.
    """

    def __init__(self, wall_time: float | None = None, grace: float = 30.0) -> None:
        self.wall_time = wall_time
        self.grace = grace
        self.signum: int | None = None
        self._began = time.monotonic()
        self._asked = 0.0
        self._before: dict[int, object] = {}

    @property
    def interrupted(self) -> bool:
        return self.signum is not None

    @property
    def over(self) -> bool:
        """Whether the wall time is used up."""
        return self.wall_time is not None and time.monotonic() - self._began >= self.wall_time

    def left(self) -> float | None:
        """Seconds of wall time left, None without bound."""
        return None if self.wall_time is None else max(0.0, self.wall_time - (time.monotonic() - self._began))

    def grace_left(self) -> float:
        return self.grace - (time.monotonic() - self._asked)

    def message(self, running: int) -> str:
        name = signal.Signals(self.signum or signal.SIGINT).name
        return f"{name}: no new trials; waiting up to {self.grace:g} s for {running} running; once more to stop now"

    def check(self) -> None:
        """Raise Interrupted where a signal came."""
        if self.interrupted:
            self.leave()

    def leave(self) -> NoReturn:
        raise Interrupted(self.signum or signal.SIGINT)

    def __enter__(self) -> Halt:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise Interrupted(signum)
        self.signum, self._asked = signum, time.monotonic()
