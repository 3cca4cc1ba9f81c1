"""Futures: any `concurrent.futures.Executor` as an executor of this package."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from functools import partial
from typing import Any

from automl_ext.executors import ExecutorError, WorkerDied, cores
from automl_ext.executors.child import work_in_child
from automl_ext.executors.death import CLOSED, tidy
from automl_ext.worker import work


class Futures:
    """Hands payloads to `executor`, at most `workers` at a time, so that the others can still be cancelled.

    workers: a number or a function; by default the executor's own. A timeout or memory_mb needs something that can be
    killed: the call then runs in a child process of the executor's worker.
    """

    def __init__(
        self, executor: Executor, workers: int | Callable[[], int] | None = None, memory_mb: float | None = None
    ) -> None:
        own = getattr(executor, "_max_workers", None)
        self.executor = executor
        self._count = workers if workers is not None else own or cores()
        self._memory_mb = memory_mb
        self._waiting: deque[tuple[Future[str], str, float | None]] = deque()
        self._out: dict[Future[str], Future[str]] = {}
        self._changed = threading.Condition(threading.RLock())

    @property
    def workers(self) -> int:
        return max(1, self._count() if callable(self._count) else self._count)

    def submit(self, payload: str, timeout: float | None) -> Future[str]:
        """See Executor.submit."""
        future: Future[str] = Future()
        with self._changed:
            self._waiting.append((future, payload, timeout))
        self._send()
        return future

    def close(self, now: bool = False) -> None:
        """See Executor.close. The executor itself stays open: who made it closes it."""
        with self._changed:
            if now:
                for future, _, _ in self._waiting:
                    future.cancel()
                    future.set_running_or_notify_cancel()
                self._waiting.clear()
                for inner in list(self._out.values()):
                    inner.cancel()
            else:
                self._changed.wait_for(lambda: not self._waiting and not self._out)

    def _send(self) -> None:
        with self._changed:
            while self._waiting and len(self._out) < self.workers:
                future, payload, timeout = self._waiting.popleft()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    inner = self.executor.submit(*self._task(payload, timeout))
                except Exception as error:
                    text = str(error) or type(error).__name__
                    future.set_exception(ExecutorError(f"{type(self.executor).__name__} takes no more work: {text}"))
                    continue
                self._out[future] = inner
                inner.add_done_callback(partial(self._receive, future, payload))

    def _task(self, payload: str, timeout: float | None) -> tuple[Any, ...]:
        if timeout is None and self._memory_mb is None:
            return (work, payload)
        return (work_in_child, payload, timeout, self._memory_mb)

    def _receive(self, future: Future[str], payload: str, inner: Future[str]) -> None:
        with self._changed:
            del self._out[future]
            self._changed.notify_all()
        try:
            answer = inner.result()
        except (CancelledError, BrokenExecutor) as error:
            message = "the worker was gone" if isinstance(error, BrokenExecutor) else CLOSED
            future.set_exception(WorkerDied("died", tidy(payload, "died", message)))
        except BaseException as error:
            future.set_exception(_known(error, payload))
        else:
            future.set_result(answer)
        self._send()


def _known(error: BaseException, payload: str) -> BaseException:
    """Dask's errors about lost workers as ours; anything else as it is."""
    if type(error).__name__ in ("KilledWorker", "FutureCancelledError"):
        return WorkerDied("died", tidy(payload, "died", "the Dask worker was gone"))
    return error
