"""What a config can name, as rows and as text.

Environments, searchers with what they treat, rewards, stopping rules, data sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automl_ext import registry
from automl_ext.rewards.named import REWARDS
from automl_ext.rules import STOPPING
from automl_ext.terminal import table

Row = dict[str, Any]
"""name, distribution, summary, paper; of a searcher also treats (kinds of space), several (objectives), budgets."""


def _environments() -> list[Row]:
    return [_row(name, entry) for name, entry in registry.ENVIRONMENTS.items()]


def _searchers() -> list[Row]:
    return [
        {**_row(name, entry), "treats": list(entry.treats), "several": entry.several, "budgets": entry.budgets}
        for name, entry in registry.SEARCHERS.items()
    ]


def _rewards() -> list[Row]:
    return [_row(name, entry) for name, entry in REWARDS.items()]


def _stopping() -> list[Row]:
    return [_row(name, entry) for name, entry in STOPPING.items()]


def _datasets() -> list[Row]:
    from automl_ext.data import DATASETS

    return [
        {"name": name, "distribution": source.distribution, "summary": source.description, "paper": ""}
        for name, source in DATASETS.items()
    ]


def _row(name: str, entry: registry.Entry) -> Row:
    return {"name": name, "distribution": entry.distribution, "summary": entry.summary, "paper": entry.paper}


KINDS: Mapping[str, Callable[[], list[Row]]] = {
    "environments": _environments,
    "searchers": _searchers,
    "rewards": _rewards,
    "stopping": _stopping,
    "datasets": _datasets,
}


def text(kind: str, rows: list[Row]) -> str:
    """The rows of one kind as an aligned table."""
    if kind != "searchers":
        return table([kind, "from", "what"], [[row["name"], row["distribution"], _what(row)] for row in rows])
    headings = [kind, "from", *registry.KINDS, "several objectives", "budgets", "what"]
    return table(headings, [[row["name"], row["distribution"], *_marks(row), _what(row)] for row in rows])


def _marks(row: Row) -> list[str]:
    treated = [kind in row["treats"] for kind in registry.KINDS]
    return ["yes" if mark else "-" for mark in (*treated, row["several"], row["budgets"])]


def _what(row: Row) -> str:
    return f"{row['summary']} ({row['paper']})" if row["paper"] else str(row["summary"])
