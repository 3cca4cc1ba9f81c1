"""Metrics of a NAS-Bench-201 cell from a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from automl_ext.tasks.architecture import nasbench201
from automl_ext.tasks.architecture.table import Fidelities, TableError, read_table

from automl_ext.env import Job, Report
from automl_ext.objective import Metrics
from automl_ext.space import Candidate

__all__ = ["Table"]

Goal = Literal["max", "min"]


@dataclass(frozen=True)
class Table:
    """rows: by code. goals: column -> direction, the primary one first. tested, cost: columns, None for none."""

    rows: Mapping[str, Mapping[str, float]]
    goals: Mapping[str, Goal]
    fidelities: Fidelities
    tested: str | None
    cost: str | None

    @classmethod
    def read(
        cls,
        file: str,
        goals: Mapping[str, Goal],
        named: str,
        tested: str | None,
        cost: str | None,
        fidelities: Mapping[str, int],
    ) -> Table:
        """named: the option that the goals come from. Raises TableError for a table or column that is not there."""
        wanted = [(named, column) for column in goals]
        others = [("test", tested), ("cost", cost), *(("fidelities", column) for column in fidelities)]
        wanted += [(option, column) for option, column in others if column is not None]
        return cls(read_table(file, wanted), goals, Fidelities(next(iter(goals)), fidelities), tested, cost)

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """The cell's row: the objectives and, where there is such a column, `cost_s`."""
        row = self._row(job.candidate)
        metrics = {column: row[column] for column in self.goals}
        metrics[next(iter(self.goals))] = row[self.fidelities.column(job.budget)]
        share = self.fidelities.share(job)
        return metrics if self.cost is None else {**metrics, "cost_s": row[self.cost] * share}

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy`, from the column `tested`; nothing without one."""
        return {} if self.tested is None else {"test_accuracy": self._row(job.candidate)[self.tested]}

    def export(self, job: Job, folder: Path) -> None:
        """`cell.json`: the cell as the published string, by edge, and its row of the table."""
        recipe = {
            "space": "nasbench201",
            "arch": nasbench201.arch_string(job.candidate),
            "edges": job.candidate,
            "metrics": self._row(job.candidate),
        }
        (folder / "cell.json").write_text(json.dumps(recipe, indent=2) + "\n")

    def _row(self, candidate: Candidate) -> Mapping[str, float]:
        code = nasbench201.code(candidate)
        if code not in self.rows:
            raise TableError(f"the table has no cell {code}")
        return self.rows[code]
