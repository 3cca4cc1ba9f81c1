"""The journal: one line of JSON a finished trial, with a checksum, durable before anybody is told.

A trial exists only once its line is whole. A tail torn by a crash is cut when the journal is opened for writing and
left out when it is read. Other tools read the file as it is: pandas.read_json("trials.jsonl", lines=True).
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from automl_ext.searcher import Trial


class JournalError(ValueError):
    """A journal that is damaged elsewhere than at its tail; the message names file and line."""


class Journal:
    """The trials of one run, in completion order. Keeps 8 bytes a trial in memory.

    `write=False` reads a journal that another process may be writing. Raises JournalError for a damaged line.
    """

    def __init__(self, path: Path, write: bool = True) -> None:
        self.path = path
        self._offsets = array("q")
        self._handle: int | None = None
        end = self._scan()
        if write:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if os.fstat(self._handle).st_size != end:
                os.ftruncate(self._handle, end)
            _sync_folder(path.parent)

    def __len__(self) -> int:
        return sum(offset >= 0 for offset in self._offsets)

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._offsets) and self._offsets[number] >= 0

    @property
    def end(self) -> int:
        """The number behind the highest that a line has."""
        return len(self._offsets)

    def append(self, trial: Trial) -> None:
        """Write one trial and wait until it is on disk. Raises JournalError for a number that is there already."""
        if self._handle is None:
            raise JournalError(f"{self.path}: opened for reading only")
        if trial.number in self:
            raise JournalError(f"{self.path}: trial {trial.number} is there already")
        offset = os.lseek(self._handle, 0, os.SEEK_END)
        line = encode(trial)
        written = os.write(self._handle, line)
        while written < len(line):
            written += os.write(self._handle, line[written:])
        os.fdatasync(self._handle)
        self._index(trial.number, offset)

    def get(self, number: int) -> Trial:
        """Trial `number`. Raises KeyError where there is none."""
        if number not in self:
            raise KeyError(number)
        with self.path.open("rb") as file:
            file.seek(self._offsets[number])
            trial = decode(file.readline())
        if trial is None:
            raise JournalError(f"{self.path}: trial {number} changed on disk")
        return trial

    def trials(self) -> Iterator[Trial]:
        """All whole lines, in completion order, read as they come."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                trial = decode(line)
                if trial is None:
                    return
                yield trial

    def supersede(self, keep: Callable[[Trial], bool]) -> int:
        """Move the trials that `keep` refuses to `superseded.jsonl` beside the journal. Returns how many moved."""
        kept = [encode(trial) for trial in self.trials() if keep(trial)]
        moved = [encode(trial) for trial in self.trials() if not keep(trial)]
        if not moved:
            return 0
        with (self.path.parent / "superseded.jsonl").open("ab") as file:
            file.writelines(moved)
        write_atomically(self.path, b"".join(kept))
        self.close()
        self.__init__(self.path)  # type: ignore[misc]
        return len(moved)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _index(self, number: int, offset: int) -> None:
        while len(self._offsets) <= number:
            self._offsets.append(-1)
        self._offsets[number] = offset

    def _scan(self) -> int:
        """Index the whole lines; the offset behind the last of them."""
        offset = torn = 0
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            for row, line in enumerate(file, 1):
                trial = decode(line)
                if trial is None:
                    torn = torn or row
                elif torn:
                    raise JournalError(f"{self.path}:{torn}: damaged line with whole lines behind it")
                elif trial.number in self:
                    raise JournalError(f"{self.path}:{row}: trial {trial.number} stands twice")
                else:
                    self._index(trial.number, offset)
                    offset += len(line)
        return offset


def encode(trial: Trial) -> bytes:
    """One line: the trial's JSON with the CRC-32 of the rest as its last field. ValueError for what is no JSON."""
    body = json.dumps(trial.to_json(), separators=(",", ":"), allow_nan=False)[:-1].encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode(line: bytes) -> Trial | None:
    """The trial of a whole line; None for a torn or damaged one."""
    body, mark, tail = line.rpartition(b',"crc":"')
    if not mark or tail != b'%08x"}\n' % zlib.crc32(body):
        return None
    return Trial.from_json(json.loads(body + b"}"))


def digest(trials: Iterable[Trial], measured: Collection[str] = ()) -> str:
    """Hash of all that a seed promises: equal for any number of workers and after any interruption.

    `measured`: names of wall-clock metrics, which are left out.
    """
    rows = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        metrics = None
        if trial.metrics is not None:
            metrics = {name: value for name, value in sorted(trial.metrics.items()) if name not in measured}
        error = trial.error and trial.error.kind
        rows.append(
            [trial.number, trial.stage, trial.candidate, trial.budget, trial.parent, trial.origin, error, metrics]
        )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file in one step: readers and crashes see the old or the new one, whole."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
