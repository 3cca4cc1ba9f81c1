"""`automl_ext/Architecture-v0`: search for architectures.

A space says what a network can be (families.py), an estimator how good it is:

train: a network is trained from scratch for a budget in epochs, or goes on from its parent's weights, and judged on
    validation images (trained.py).
table: metrics of NAS-Bench-201 cells are looked up (looked_up.py).
predictor: random candidates are trained at the start, and a search asks what was learned from them (predicted.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from automl_ext.tasks.architecture import nasbench201
from automl_ext.tasks.architecture.families import SpaceName, family_of
from automl_ext.tasks.architecture.latency_table import measure_pieces
from automl_ext.tasks.architecture.looked_up import Goal, Table
from automl_ext.tasks.architecture.paths import live_paths
from automl_ext.tasks.architecture.predicted import Predicted
from automl_ext.tasks.architecture.reference import handmade, is_handmade, params_of
from automl_ext.tasks.architecture.table import TableError
from automl_ext.tasks.architecture.trained import Training, direct, summed
from numpy.typing import NDArray
from pydantic import Field

from automl_ext.data import Data, DataError
from automl_ext.env import Job, Report, SearchEnv
from automl_ext.objective import Metrics, Objective
from automl_ext.reduced import reduced
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Walk
from automl_ext.training import Recipe, resolve_device

__all__ = ["ArchitectureEnv", "ArchitectureError"]

Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Share = Annotated[float, Field(ge=0, lt=1)]
GOALS: Mapping[str, Goal] = {"accuracy": "max", "params_k": "min", "macs_m": "min", "latency_ms": "min"}
PREDICTOR_ONLY = ("predictor_samples",)
TABLE_ONLY = ("table", "metric", "goal", "test", "cost", "fidelities", "features")
FOR_ALL = ("space", "estimator", "objectives", "seed")


class ArchitectureError(ValueError):
    """Options that do not go together, or cannot work; one line."""


@final
class ArchitectureEnv(SearchEnv):
    """Search the architecture of an image classifier.

    space: see families.py; space_options: what the space's own function `family` takes. estimator: see above.
    objectives: name -> max or min, the primary one first; of a training accuracy, params_k, macs_m and latency_ms, by
    default accuracy alone.

    train. dataset, root: as automl_ext.data takes them. images, val_images: how many are trained on (all by default),
    and judge. epochs, batch, rate, schedule, weight_decay, momentum, smoothing: of a training without a budget;
    a constant rate suits trainings that are promoted or stopped by their curves.
    flip, shift: mirror half of the images, move by up to so many pixels. cutout: a square of that share of the side.
    drop_path: the share of dropped paths at the end. auxiliary: a second classifier learns along.
    latency: of the whole network, or the sum over its parts, which are measured once at the start (space mobile).

    predictor. The same, and predictor_samples: how many candidates are trained at the start.

    table. table: CSV (or .csv.gz) with a column `code`. metric: the column to search on, `goal` its direction, or
    several as `objectives`. test: the column that finalists and references are measured on. cost: the column with the
    seconds of a whole training, recorded as `cost_s`. fidelities: column -> epochs, where a trial may be trained for
    less (its cost is in proportion, and what the parent was trained for is not paid again). features: what surrogate
    models learn on, the live paths of a cell or one place an edge and operation.

    Raises ValueError (ArchitectureError, TableError, DataError, ConfigError), one line, for whatever cannot work.
    """

    def __init__(
        self,
        space: SpaceName = "cell",
        estimator: Literal["train", "table", "predictor"] = "train",
        *,
        space_options: dict[str, Any] | None = None,
        objectives: dict[str, Goal] | None = None,
        dataset: str = "digits",
        root: str | None = None,
        images: Count | None = None,
        val_images: Count = 1000,
        epochs: Epochs = 8,
        batch: Annotated[int, Field(ge=2, le=100_000)] = 64,
        rate: Annotated[float, Field(gt=0, le=10)] = 0.1,
        schedule: Literal["one-cycle", "constant"] = "one-cycle",
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4,
        momentum: Share = 0.9,
        smoothing: Share = 0.0,
        flip: bool = False,
        shift: Annotated[int, Field(ge=0, le=64)] = 0,
        cutout: Annotated[float, Field(ge=0, le=1)] = 0.0,
        drop_path: Share = 0.0,
        auxiliary: bool = False,
        latency: Literal["measured", "table"] = "measured",
        predictor_samples: Annotated[int, Field(ge=10, le=100_000)] = 40,
        table: str | None = None,
        metric: str | None = None,
        goal: Goal = "max",
        test: str | None = None,
        cost: str | None = None,
        fidelities: dict[str, Epochs] | None = None,
        features: Literal["paths", "one-hot"] = "paths",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        _refuse_foreign(estimator, locals())
        self.paths = space == "nasbench201" and features == "paths"
        self.training: Training | None = None
        self.latencies = False
        if estimator == "table":
            if space != "nasbench201" or table is None:
                raise TableError("estimator: a table needs space: nasbench201 and the path of a CSV as `table`")
            goals = _columns(metric, goal, objectives)
            named = "metric" if metric else "objectives"
            self.space = nasbench201.cell_space()
            self.references = nasbench201.REFERENCES
            self.evaluator: Table | Training | Predicted = Table.read(table, goals, named, test, cost, fidelities or {})
        else:
            goals = _goals(objectives)
            recipe = Recipe(
                epochs=epochs, batch=batch, rate=rate, schedule=schedule, weight_decay=weight_decay, momentum=momentum,
                smoothing=smoothing, flip=flip, shift=shift, decay=0.0,
            )  # fmt: skip
            data = reduced(dataset, root, seed, images, val_images)
            if data.train.label.ndim > 1:
                raise DataError(f"dataset: {dataset!r} has masks, and a class an image is needed")
            regularized = {"cutout": cutout, "drop_path": drop_path, "auxiliary": auxiliary}
            self.latencies = latency == "table"
            self.training = _training(
                space, space_options or {}, data, goals, recipe, resolve_device(device), self.latencies, regularized
            )
            self.evaluator = self.training
            if estimator == "predictor":
                self.evaluator = Predicted(self.training, self.features, predictor_samples, seed)
            self.space = self.training.family.space
            self.references = _references(self.training)
            self.training.check(self.references)
        self.objectives = tuple(
            Objective(name, direction, measured=estimator != "table" and name == "latency_ms")
            for name, direction in goals.items()
        )

    # ---------------------------------------------------------------- what searchers see

    @property
    def variation(self) -> Variation:
        """The space's own, or the generic one."""
        own = self.training.family.variation if self.training else None
        return own or super().variation

    def observe(self, walk: Walk) -> NDArray[np.float32]:
        """The space's own features of a walk, or the generic ones."""
        own = self.training.family.observe if self.training else None
        return super().observe(walk) if own is None else own(walk)

    def features(self, candidate: Candidate) -> NDArray[np.float64]:
        """Live paths of a NAS-Bench-201 cell, or the vector view: what surrogate models learn on."""
        if not self.paths:
            return super().features(candidate)
        return live_paths([str(candidate[nasbench201.name(edge)]) for edge in nasbench201.EDGES])

    # ---------------------------------------------------------------- evaluation

    def prepare(self, folder: Path) -> None:
        """The table of latencies, and what a predictor learns from, where they are asked for."""
        if self.latencies and self.training is not None and self.training.family.pieces is not None:
            measure_pieces(self.training.family.pieces(None), folder)
        if isinstance(self.evaluator, Predicted):
            self.evaluator.prepare(folder)

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """The objectives and what else the estimator knows. budget: epochs."""
        return self.evaluator.evaluate(job, report)

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy`."""
        return self.evaluator.test(job, report)

    def export(self, job: Job, folder: Path) -> None:
        """The trained network as files that load without this package, or the row of the table."""
        if isinstance(self.evaluator, Table):
            self.evaluator.export(job, folder)
        elif self.training is not None:
            from automl_ext.tasks.architecture.export import write

            write(self.training, job, folder)

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`architecture.svg`: the found cells or layers; `cell.svg` of a table's cell."""
        if self.training is None:
            from automl_ext.tasks.architecture.drawing import draw

            draw(candidate, folder / "cell.svg")
        elif not is_handmade(candidate):
            self.training.family.draw(candidate, folder / "architecture.svg")


def _refuse_foreign(estimator: str, given: Mapping[str, Any]) -> None:
    """ArchitectureError for an option that the estimator has no use for, so that nobody waits for its effect."""
    for name, parameter in inspect.signature(ArchitectureEnv).parameters.items():
        useless = name not in TABLE_ONLY if estimator == "table" else name in TABLE_ONLY
        useless = useless or (name in PREDICTOR_ONLY and estimator != "predictor")
        if useless and name not in FOR_ALL and given[name] != parameter.default:
            raise ArchitectureError(f"{name}: estimator {estimator!r} has no use for it")


def _columns(metric: str | None, goal: Goal, objectives: Mapping[str, Goal] | None) -> dict[str, Goal]:
    if metric is None and goal != "max":
        raise TableError("goal: it is of `metric`; several columns say theirs in `objectives`")
    if (metric is None) == (not objectives):
        raise TableError("metric: name one column of the table, or several in `objectives`, not both")
    return {metric: goal} if metric is not None else dict(objectives or {})


def _goals(objectives: Mapping[str, Goal] | None) -> dict[str, Goal]:
    for name, direction in (objectives or {}).items():
        if name not in GOALS:
            raise ArchitectureError(f"objectives: a training measures no {name!r}; legal: {', '.join(GOALS)}")
        if direction != GOALS[name]:
            raise ArchitectureError(f"objectives: {name} is to be {GOALS[name]}imised, not {direction}imised")
    return dict(objectives or {"accuracy": "max"})


def _training(
    space: SpaceName,
    space_options: dict[str, Any],
    data: Data,
    goals: Mapping[str, Goal],
    recipe: Recipe,
    device: torch.device,
    by_table: bool,
    regularized: dict[str, Any],
) -> Training:
    """How networks of the space are trained on the data. by_table: latency is the sum over parts."""
    shape = (data.train.image.shape[1], data.train.image.shape[2], data.train.image.shape[3])
    family = family_of(space, shape, data.classes, space_options)
    if by_table and (family.pieces is None or "latency_ms" not in goals):
        raise ArchitectureError("latency: a table needs the space mobile and latency_ms among the objectives")
    timed = partial(summed, family=family, shape=shape) if by_table else partial(direct, shape=shape)
    return Training(
        family, data, shape, recipe, device, **regularized, latency=timed if "latency_ms" in goals else None
    )


def _references(training: Training) -> dict[str, Candidate]:
    """The published ones, and hand-made networks with as many parameters as the first of them has."""
    published = dict(training.family.references)
    if not published:
        return {}
    with torch.device("meta"):
        params = params_of(training.family.build(next(iter(published.values()))))
    return {**published, **handmade(params)}
