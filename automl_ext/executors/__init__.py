"""Executors: where evaluations run. A payload of JSON goes in, a future of JSON comes back.

serial      in this process, one after the other
process     worker processes of this machine: timeouts that kill, a memory limit, dead workers replaced
dask        workers of a Dask cluster
Futures(e)  any concurrent.futures.Executor
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from automl_ext.env import SearchEnv
    from automl_ext.executors.dask import DaskExecutor
    from automl_ext.executors.futures import Futures
    from automl_ext.executors.process import ProcessExecutor
    from automl_ext.executors.serial import SerialExecutor

__all__ = [
    "DaskExecutor", "Executor", "ExecutorError", "Futures", "ProcessExecutor", "SerialExecutor", "WorkerDied",
    "build_executor",
]  # fmt: skip
_HOME = {"DaskExecutor": "dask", "Futures": "futures", "ProcessExecutor": "process", "SerialExecutor": "serial"}


class ExecutorError(RuntimeError):
    """Work cannot be done here at all: a target that workers cannot build, a missing package. One line for users."""


class WorkerDied(RuntimeError):  # noqa: N818
    """A worker was gone before it answered. kind: "died", or "memory" where it was over its limit. Worth a retry."""

    def __init__(self, kind: Literal["died", "memory"], message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


class Executor(Protocol):
    """Runs payloads. workers: how many at a time; 0 for this process itself."""

    @property
    def workers(self) -> int: ...

    def submit(self, payload: str, timeout: float | None) -> Future[str]:
        """The answer of `automl_ext.worker.work`, later. timeout: seconds until the evaluation is killed.

        The future raises TimeoutError, WorkerDied, or ExecutorError (nothing can be evaluated here at all).
        """

    def close(self, now: bool = False) -> None:
        """Wait for what was submitted, then let the workers go. now: cancel and kill instead. Safe to call twice."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_executor(settings: Any, env: SearchEnv | None = None) -> Executor:
    """The executor that `settings` name: a mapping, or an object with attributes, of

    name: serial | process | dask. workers: default the number of cores, 0 means serial. memory_mb: limit of a worker.
    address: of a Dask scheduler. start: spawn | forkserver. max_tasks: replace a worker after so many calls.
    env: an environment of this process, which a serial executor uses. Raises ExecutorError for what cannot work.
    """

    def value(key: str) -> Any:
        return settings.get(key) if isinstance(settings, Mapping) else getattr(settings, key, None)

    name, workers, memory_mb = value("name") or "process", value("workers"), value("memory_mb")
    if name == "serial" or workers == 0:
        from automl_ext.executors.serial import SerialExecutor

        return SerialExecutor(env)
    if env is not None and type(env).__module__ == "__main__":
        raise ExecutorError(
            f"{type(env).__name__} is defined in a script or notebook, where worker processes cannot find it: put it "
            f"into a module, or use `executor: serial`"
        )
    if name == "dask":
        from automl_ext.executors.dask import DaskExecutor

        return DaskExecutor(value("address"), workers or cores(), memory_mb)
    if name == "process":
        from automl_ext.executors.process import ProcessExecutor

        start, max_tasks = value("start") or "spawn", value("max_tasks") or 0
        return ProcessExecutor(workers or cores(), memory_mb, max_tasks, start)
    raise ExecutorError(f"executor {name!r} is unknown; legal: serial, process, dask")


def __getattr__(name: str) -> Any:
    """Each kind loads on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'automl_ext.executors' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"automl_ext.executors.{_HOME[name]}"), name)
