"""How the command line speaks: one line an error, aligned columns, JSON for scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

_USERS = {
    "automl_ext.data.DataError", "automl_ext.decisions.SpaceError", "automl_ext.journal.JournalError",
    "automl_ext.mistakes.ConfigError", "automl_ext.run.RunError", "automl_ext.worker.ExecutorError",
}  # fmt: skip


class Complaint(Exception):  # noqa: N818
    """One line for the user, and the exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def complaint(error: BaseException) -> Complaint | None:
    """What to tell the user of an error; None for one that is ours to mend and deserves its traceback."""
    if isinstance(error, Complaint):
        return error
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if kinds & _USERS:
        return Complaint(str(error))
    if isinstance(error, OSError) and error.strerror:
        return Complaint(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    if isinstance(error, KeyboardInterrupt):
        return Complaint("stopped", 130)
    if any(kind.__name__ == "ClickException" for kind in type(error).__mro__):
        return Complaint(_usage(error))
    return None


def complain(trouble: Complaint) -> int:
    """Print `error: ...` as one line on standard error and return the exit code."""
    from automl_ext.mistakes import one_line

    first = next((line for line in str(trouble).splitlines() if line.strip()), "no reason given")
    print(f"error: {one_line(first)}", file=sys.stderr)
    return trouble.code


def say_json(value: Any) -> None:
    """`value` as JSON on standard output; numbers that JSON does not have become null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Aligned columns as text; those whose index is in `numbers` to the right."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    aligned = []
    for line in lines:
        cells = [
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        aligned.append("  ".join(cells).rstrip())
    aligned.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(aligned)


def quiet_pipe() -> int:
    """The reader of our output has gone: end without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _usage(error: Any) -> str:
    """A mistake on the command line, with where to read on."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).rstrip(".")
    return message + (f" (see {context.command_path} --help)" if context is not None else "")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
