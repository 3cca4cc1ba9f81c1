"""The report of a run: one static page, self-contained, without scripts; and the table that ends a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from automl_ext.report.tables import final_table, printable

if TYPE_CHECKING:
    from automl_ext.run import Run

__all__ = ["final_table", "printable", "write_report"]


def write_report(run: Run, folder: Path | None = None) -> Path:
    """Write `report.html` into the run's folder, or into `folder`, and return its path. Reads the folder only.

    Works at any time: while the run goes on, after an interruption, without a single finished trial.
    """
    from automl_ext.journal import write_atomically
    from automl_ext.report.page import render

    path = (folder or run.folder) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(run).encode("utf-8", errors="replace"))
    return path
