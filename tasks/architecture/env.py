"""`automl_ext/Architecture-v0`: search for architectures.

So far with one space, the cells of NAS-Bench-201, and one estimator, a table of measured cells; spaces and estimators
that train come beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
from automl_ext.tasks.architecture import nasbench201
from automl_ext.tasks.architecture.paths import live_paths
from automl_ext.tasks.architecture.table import Fidelities, TableError, read_table
from numpy.typing import NDArray
from pydantic import Field

from automl_ext.env import Job, Report, SearchEnv
from automl_ext.objective import Metrics, Objective
from automl_ext.space import Candidate

Goal = Literal["max", "min"]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]


@final
class ArchitectureEnv(SearchEnv):
    """Cells whose metrics stand in a table.

    table: CSV (or .csv.gz) with a column `code`. metric: the column to search on, `goal` its direction. objectives:
    column -> goal, for several at once, in place of `metric`; the first is the primary one. test: the column that
    finalists and references are measured on. cost: the column with the seconds of a whole training, recorded as
    `cost_s`. fidelities: column -> epochs, where a trial may be trained for less (the metric after those epochs; its
    cost is in proportion, and what the parent was trained for is not paid again). features: what surrogate models learn
    on, the live paths of a cell or one place an edge and operation.

    Raises TableError for a table or column that is not there.
    """

    def __init__(
        self,
        space: Literal["nasbench201"] = "nasbench201",
        estimator: Literal["table"] = "table",
        *,
        table: str,
        metric: str | None = None,
        goal: Goal = "max",
        objectives: dict[str, Goal] | None = None,
        test: str | None = None,
        cost: str | None = None,
        fidelities: dict[str, Epochs] | None = None,
        features: Literal["paths", "one-hot"] = "paths",
    ) -> None:
        if (metric is None) == (not objectives):
            raise TableError("metric: name one column of the table, or several in `objectives`, not both")
        goals: dict[str, Goal] = {metric: goal} if metric is not None else dict(objectives or {})
        primary = next(iter(goals))
        self.fidelities = Fidelities(primary, fidelities or {})
        wanted = [("metric" if metric else "objectives", column) for column in goals]
        named = [("test", test), ("cost", cost), *(("fidelities", column) for column in fidelities or {})]
        wanted += [(option, column) for option, column in named if column is not None]
        self.rows = read_table(table, wanted)
        self.space = nasbench201.cell_space()
        self.objectives = tuple(Objective(column, direction) for column, direction in goals.items())
        self.references = nasbench201.REFERENCES
        self.tested, self.cost, self.primary = test, cost, primary
        self.paths = features == "paths"

    def features(self, candidate: Candidate) -> NDArray[np.float64]:
        """Live paths of the cell, or the vector view: what surrogate models learn on."""
        if not self.paths:
            return super().features(candidate)
        return live_paths([str(candidate[nasbench201.name(edge)]) for edge in nasbench201.EDGES])

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """The cell's row: the objectives and, where there is such a column, `cost_s`."""
        row = self._row(job.candidate)
        metrics = {objective.name: row[objective.name] for objective in self.objectives}
        metrics[self.primary] = row[self.fidelities.column(job.budget)]
        share = self.fidelities.share(job)
        return metrics if self.cost is None else {**metrics, "cost_s": row[self.cost] * share}

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy`, from the column `test`; nothing without one."""
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

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`cell.svg`: the nodes and the operations between them."""
        from automl_ext.tasks.architecture.drawing import draw

        draw(candidate, folder / "cell.svg")

    def _row(self, candidate: Mapping[str, object]) -> Mapping[str, float]:
        code = nasbench201.code(candidate)  # type: ignore[arg-type]
        if code not in self.rows:
            raise TableError(f"the table has no cell {code}")
        return self.rows[code]
