"""Capture: what an evaluation prints, warns and logs goes to its own file, whatever thread it runs in.

`contextlib.redirect_stdout` swaps the stream for the whole process; here each thread has its own file, so that several
evaluations can run side by side in threads, and a progress display in another thread keeps the terminal.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class _Capture:
    file: TextIO
    before: frozenset[int | None]
    """Threads that ran already: what later ones print belongs to the evaluation, which started them."""


_CAPTURES: dict[int, _Capture] = {}
_SWITCHING = threading.Lock()


class _Switch:
    """Stands in for sys.stdout or sys.stderr and passes everything on to the file of the thread that asks."""

    def __init__(self, below: TextIO) -> None:
        self.below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(_file() or self.below, name)


def _file() -> TextIO | None:
    thread = threading.get_ident()
    captures = dict(_CAPTURES)
    if thread in captures:
        return captures[thread].file
    owners = [capture for capture in captures.values() if thread not in capture.before]
    return owners[0].file if len(owners) == 1 == len(captures) else None


@contextmanager
def captured(file: TextIO) -> Iterator[None]:
    """Within it sys.stdout, sys.stderr, warnings and logging's last resort of this thread write to `file`."""
    thread = threading.get_ident()
    with _SWITCHING:
        _CAPTURES[thread] = _Capture(file, frozenset(other.ident for other in threading.enumerate()))
        for name in ("stdout", "stderr"):
            if not isinstance(getattr(sys, name), _Switch):
                setattr(sys, name, _Switch(getattr(sys, name)))
    try:
        with warnings.catch_warnings():  # forgets which warnings were shown: each evaluation shows its own
            yield
    finally:
        with _SWITCHING:
            del _CAPTURES[thread]
            for name in ("stdout", "stderr") if not _CAPTURES else ():
                stream = getattr(sys, name)
                if isinstance(stream, _Switch):
                    setattr(sys, name, stream.below)
