"""Place: the folder that an evaluation writes to, temporary until it succeeded, and the log of what it printed."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

LOG = "log.txt"


class _Log(io.TextIOBase):
    """A log that becomes a file with the first text: most evaluations print nothing."""

    def __init__(self, place: Place, path: Path) -> None:
        self.place = place
        self.path = path
        self.file: TextIO | None = None

    def opened(self) -> TextIO:
        if self.file is None:
            self.place.make()
            self.file = self.path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
        return self.file

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return self.opened().write(text) if text else 0

    def flush(self) -> None:
        if self.file is not None:
            self.file.flush()

    def fileno(self) -> int:
        return self.opened().fileno()

    def close(self) -> None:
        super().close()  # flushes
        if self.file is not None:
            self.file.close()


class Place:
    """`<final>.part` while the evaluation runs; renamed to `final` in one step if anything is in it at the end.

    It becomes a folder when something asks for it or prints: making and removing one costs more than the loop itself.
    final: as text, or None for an evaluation without a folder. log: where output goes, `log.txt` inside by default.
    """

    def __init__(self, final: str | None, log: Path | None = None) -> None:
        self.final = None if final is None else Path(final)
        self.part = None if self.final is None else self.final.with_name(self.final.name + ".part")
        self.log = log or (None if self.part is None else self.part / LOG)

    def make(self) -> str | None:
        """The temporary folder as text, which is there from now on; None where there is none."""
        if self.part is None:
            return None
        self.part.mkdir(parents=True, exist_ok=True)
        return str(self.part)

    def opened(self) -> TextIO:
        """Begin, without what a killed evaluation may have left. The log is a file once something prints."""
        if self.part is not None and self.part.exists():
            shutil.rmtree(self.part)
        if self.log is None:
            return open(os.devnull, "w")
        return _Log(self, self.log)  # type: ignore[return-value]

    def share(self, others: Sequence[Place]) -> None:
        """Give others the same log: what a batch printed belongs to all of it."""
        if self.log is not None and self.log.exists():
            for other in others:
                if other.log is not None:
                    other.make()
                    shutil.copyfile(self.log, other.log)

    def settle(self, error: Mapping[str, Any] | None = None) -> None:
        """Take the final name. With an error (a failure's fields) only the log is kept, with the traceback."""
        if error is not None:
            self._write_down(error)
        if self.log is not None and self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()
        if self.part is None or self.final is None:
            return
        if self.final.exists():
            shutil.rmtree(self.final)
        if not self.part.exists():
            return
        if error is not None:
            _empty(self.part)
        if any(self.part.iterdir()):
            self.part.rename(self.final)
        else:
            self.part.rmdir()

    def _write_down(self, error: Mapping[str, Any]) -> None:
        if self.log is None:
            return
        with suppress(OSError):  # where no folder can be made there is no place for a log
            self.make()
        if not self.log.parent.exists():
            return
        with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            text = error["traceback"] or f"{error['kind']}: {error['message']}"
            file.write(text if text.endswith("\n") else text + "\n")


def abandon(final: str | None, kind: str, message: str) -> None:
    """Tidy up behind an evaluation that was killed: only its log is kept, with the reason."""
    place = Place(final)
    if place.part is not None and place.final is not None and (place.part.exists() or not place.final.exists()):
        place.settle({"kind": kind, "message": message, "traceback": ""})


def _empty(folder: Path) -> None:
    """Remove everything but the log."""
    for path in folder.iterdir():
        if path.name == LOG:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
