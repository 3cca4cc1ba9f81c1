"""A table of measured cells: a candidate's metrics are looked up instead of trained.

The file is a CSV, gzipped or not, with a column `code` and any number of columns of numbers. Times of training make a
simulated cost: a search on the table takes seconds and still knows what it would have cost.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from automl_ext.env import Job

TRAINED = "trained.json"


class TableError(ValueError):
    """A table that is missing or not what it should be, or a column that it lacks; one line that says what to do."""


def read_table(path: str, columns: Sequence[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Rows by code, with `columns` only: (option that asks for it, its name).

    Raises TableError for a missing file, a file that is no table, an unknown column, and a value that is no number.
    """
    file = Path(path)
    if not file.is_file():
        raise TableError(f"table {path!r} is no file; give the path of a CSV (or .csv.gz) with a column `code`")
    try:
        with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as lines:
            rows = csv.DictReader(lines)
            known = list(rows.fieldnames or [])
            for option, column in (("table", "code"), *columns):
                if column not in known:
                    near = get_close_matches(column, known, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)[:200]}"
                    raise TableError(f"{option}: {path} has no column {column!r}{hint}")
            names = [column for _, column in columns]
            return {row["code"]: {column: float(row[column]) for column in names} for row in rows}
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"table {path!r} cannot be read: {error}") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"table {path!r}: {error}") from None


class Fidelities:
    """What training for some epochs is worth and costs. columns: column -> epochs; the last one is the whole training.

    Without columns there is one fidelity, the metric itself.
    """

    def __init__(self, metric: str, columns: Mapping[str, int]) -> None:
        self.metric = metric
        self.by_epochs = {epochs: column for column, epochs in sorted(columns.items(), key=lambda item: item[1])}

    def column(self, budget: float | None) -> str:
        """The column that holds the metric after `budget` epochs; None is the whole training. Raises TableError."""
        if budget is None or not self.by_epochs:
            return self.metric
        if budget not in self.by_epochs:
            legal = ", ".join(map(str, self.by_epochs))
            raise TableError(f"a budget of {budget:g} epochs is not in the table; legal: {legal}")
        return self.by_epochs[int(budget)]

    def share(self, job: Job) -> float:
        """The part of a whole training that this job pays for: what its parent was trained for already is free."""
        if not self.by_epochs:
            return 1.0
        whole = max(self.by_epochs)
        wanted = whole if job.budget is None else job.budget
        before = 0.0
        if job.parent is not None and (Path(job.parent) / TRAINED).is_file():
            before = float(json.loads((Path(job.parent) / TRAINED).read_text())["epochs"])
        if job.folder is not None:
            (Path(job.folder) / TRAINED).write_text(json.dumps({"epochs": wanted}))
        return max(0.0, wanted - before) / whole
