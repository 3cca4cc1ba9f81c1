"""automl-ext: search for deep-learning design decisions beyond layer choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl_ext.driver import search
    from automl_ext.env import Job, SearchEnv
    from automl_ext.objective import Objective
    from automl_ext.registry import make
    from automl_ext.run import Run
    from automl_ext.searcher import CandidateError, Failure, Proposal, Searcher, Target, Trial
    from automl_ext.space import Choice, Integer, Real, Space, Walk

_HOME = {
    "Choice": "space", "Integer": "space", "Real": "space", "Space": "space", "Walk": "space",
    "Objective": "objective", "SearchEnv": "env", "Job": "env",
    "CandidateError": "searcher", "Failure": "searcher", "Proposal": "searcher", "Searcher": "searcher",
    "Target": "searcher", "Trial": "searcher",
    "search": "driver", "make": "registry", "Run": "run",
}  # fmt: skip
__all__ = [
    "CandidateError", "Choice", "Failure", "Integer", "Job", "Objective", "Proposal", "Real", "Run", "SearchEnv",
    "Searcher", "Space", "Target", "Trial", "Walk", "make", "search",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Public names load on first use: listing names and `--help` import neither torch nor Gymnasium."""
    if name not in _HOME:
        raise AttributeError(f"module 'automl_ext' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"automl_ext.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
