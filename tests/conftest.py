"""Makes tests/targets.py importable as `targets`; worker processes get the same module path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from automl_ext.worker import one_thread

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@pytest.fixture(scope="session")
def search_budgets():
    """A search in memory whose results depend on the budget; see tests/budgets.py."""
    from budgets import search_budgets

    return search_budgets


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker: two test processes on two cores would only wait for each other's threads."""
    one_thread()


def pytest_collection_modifyitems(config, items):
    """Slow ones first, those that say their `seconds` before all, so that no process is left alone with one.

    Those marked thorough only where they are asked for.
    """
    if "thorough" not in config.option.markexpr:
        items[:] = [item for item in items if item.get_closest_marker("thorough") is None]
    items.sort(key=lambda item: -_seconds(item.get_closest_marker("slow")))


def _seconds(slow):
    return slow.kwargs.get("seconds", 1) if slow else 0
