"""Which runs belong together: groups of one configuration over seeds, baselines and references beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from automl_ext.report.display import cost, text
from automl_ext.report.reading import Story, outcome, read
from automl_ext.report.tables import Row, final_rows, test_metric

if TYPE_CHECKING:
    from automl_ext.run import Run

_APART = ("seed", "executor", "max_failures", "expect", "paper")
"""Config keys that do not set groups apart: they do not change what a search decides, or are what is averaged over."""


@dataclass
class Side:
    """One run's part in a group. value: the compared metric, None without a result."""

    seed: int
    value: float | None = None
    story: Story | None = None
    hypervolume: float | None = None


@dataclass
class Group:
    """Runs of one configuration, or one baseline or reference of theirs (`beside` names that group)."""

    label: str
    role: str = "searched"
    beside: str | None = None
    sides: dict[int, Side] = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        return [side.value for side in self.sides.values() if side.value is not None]


Groups = dict[tuple[str, str, str], Group]
"""By key of the configuration, role and name."""


class Told:
    """A run that was read: its story, its baselines' stories, the rows of its final table."""

    def __init__(self, run: Run) -> None:
        self.config = run.config
        self.folder = run.folder.name
        self.outcome = outcome(run)
        self.story = read(run)
        self.baselines = {name: read(part) for name, part in run.baselines.items()}
        self.rows = final_rows(self.story, self.baselines)
        self.chosen = next((row for row in self.rows if row.chosen), None)

    def row(self, stage: str) -> list[Row]:
        """Rows to compare: those of the final table, or of the search's best where not all runs have a final stage."""
        if stage != "search" or not self.story.finals:
            return self.rows
        best = {"": self.story, **self.baselines}
        made = []
        for name, story in best.items():
            if story.top is not None:
                row = Row("baseline" if name else "searched", name or f"trial-{story.top.number}", "search", not name)
                row.add(story.top.metrics or {})
                made.append(row)
        return made


def measure(told: Sequence[Told], metric: str | None) -> tuple[str, str]:
    """(stage, metric) that every run with a result has."""
    whole = [run for run in told if run.chosen is not None]
    if not whole:
        raise ValueError("compare: no run has a result yet")
    finals = all(run.story.finals for run in whole)
    primary = {run.story.primary for run in whole}
    if metric == "hypervolume":
        if len(whole[0].story.traded) < 2 or any(run.story.traded != whole[0].story.traded for run in whole):
            raise ValueError("compare: hypervolume needs runs with the same traded objectives, at least two")
        return "search", metric
    in_finals = set.intersection(*(set(run.chosen.values) for run in whole if run.chosen))
    in_search = set.intersection(*(set(run.story.top.metrics or ()) if run.story.top else set() for run in whole))
    if metric is None:
        if len(primary) > 1 and len(whole[0].story.traded) > 1 and len({run.story.traded for run in whole}) == 1:
            return "search", "hypervolume"
        if len(primary) > 1:
            names = ", ".join(sorted(map(str, primary)))
            raise ValueError(f"compare: the runs have different objectives ({names}); name a metric they share")
        metric = (test_metric(whole[0].story.primary, sorted(in_finals)) if finals else None) or whole[0].story.primary
    if metric in in_finals and (finals or metric not in in_search):
        return ("test" if metric.startswith("test_") else "final" if finals else "search"), metric
    if metric in in_search:
        return "search", metric
    legal = ", ".join(sorted(in_finals | in_search)) or "none"
    raise ValueError(f"compare: not every run has the metric {metric!r}; metrics they share: {legal}")


def gather(told: Sequence[Told], stage: str, metric: str) -> tuple[list[Group], list[str]]:
    """Groups in the order of the runs, each followed by its baselines and references; and notes on doubled seeds."""
    keys = [_key(run) for run in told]
    labels = _labels(dict(zip(keys, told, strict=True)))
    alone = len(labels) == 1
    groups: Groups = {}
    notes = []
    for key, run in zip(keys, told, strict=True):
        label, seed = labels[key], run.config.seed
        own = groups.setdefault((key, "searched", ""), Group(label))
        if seed in own.sides:
            notes.append(f"{text(run.folder, 60)}: {label} has another run of seed {seed}; the first one counts.")
            continue
        own.sides[seed] = Side(seed, story=run.story)
        for name, story in run.baselines.items():
            _beside(groups, key, label, "baseline", name, alone).sides[seed] = Side(seed, story=story)
        for row in run.row(stage):
            if row.chosen:
                own.sides[seed].value = row.mean(metric)
            elif row.role in ("baseline", "reference") and row.mean(metric) is not None:
                group = _beside(groups, key, label, row.role, row.name, alone)
                group.sides.setdefault(seed, Side(seed)).value = row.mean(metric)
    order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return [groups[key] for key in sorted(groups, key=lambda key: order[key[0]])], notes


def _beside(groups: Groups, key: str, label: str, role: str, name: str, alone: bool) -> Group:
    own = f"{text(name, 40)} ({role})" if alone else f"{label}: {text(name, 40)} ({role})"
    return groups.setdefault((key, role, name), Group(own, role, label))


def _key(run: Told) -> str:
    return json.dumps({k: v for k, v in run.config.to_dict().items() if k not in _APART}, sort_keys=True, default=str)


def _labels(first: Mapping[str, Told]) -> dict[str, str]:
    """A label a configuration: its name, with what sets it apart where several have the same name."""
    flat = {key: dict(_flat(json.loads(key))) for key in first}
    labels: dict[str, str] = {}
    for key, run in first.items():
        twins = [other for other in first if first[other].config.name == run.config.name]
        paths = {path for twin in twins for path in flat[twin]}
        differ = [path for path in paths if len({flat[twin].get(path) for twin in twins}) > 1]
        differ.sort(key=lambda path: (path != "searcher.name", path))
        told: list[str] = []
        while len({tuple(flat[twin].get(path) for path in told) for twin in twins}) < len(twins):
            told.append(differ[len(told)])
        shown = ", ".join(_setting(path, flat[key].get(path)) for path in told)
        labels[key] = text(f"{run.config.name} [{shown}]" if told else run.config.name, 100)
    return labels


def _setting(path: str, value: str | None) -> str:
    return value or "?" if path == "searcher.name" else f"{path}={'unset' if value is None else value}"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def goal_of(metric: str, told: Sequence[Told]) -> str:
    """ "max" or "min": as the objective of that name or its test has it, else down for costs and losses."""
    if metric == "hypervolume":
        return "max"
    stem = metric.removeprefix("test_")
    for objective in (objective for run in told for objective in run.story.objectives):
        if objective.name == stem:
            return objective.goal
    lower = cost(stem) is not None or {"loss", "error"} & set(stem.split("_"))
    return "min" if lower else "max"
