"""Dispatch: jobs out to the executor, results back, with retries of dead workers and batches taken apart."""

from __future__ import annotations

import json
import queue
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from math import ceil
from typing import Any

from automl_ext.env import Job
from automl_ext.executors import Executor, WorkerDied
from automl_ext.searcher import Failure

Result = dict[str, Any]
"""The fields of a Trial that an evaluation fills: metrics, curve, error, origin, attempts, seconds."""


@dataclass
class _Work:
    job: Job
    attempts: int = 1
    alone: bool = False


class Dispatch:
    """Holds the jobs that are asked and not finished.

    payload: how a worker builds the environment. batch: how many jobs one call may take. timeout: seconds a job.
    retries: how often a job whose worker died, or ran out of memory, runs again with the same number and seed.
    """

    def __init__(
        self, executor: Executor, payload: Mapping[str, Any], batch: int, timeout: float | None, retries: int
    ) -> None:
        self.executor = executor
        self.payload = dict(payload)
        self.batch = batch
        self.timeout = timeout
        self.retries = retries
        self._queue: deque[_Work] = deque()
        self._out: dict[Future[str], list[_Work]] = {}
        self._done: queue.SimpleQueue[Future[str]] = queue.SimpleQueue()

    def add(self, job: Job) -> None:
        self._queue.append(_Work(job))

    def wait(self, seconds: float = 0.2) -> list[tuple[int, Result]]:
        """Send out what is queued and wait up to `seconds` for answers: (trial number, result) of each finished job."""
        self._send()
        return self._collect(seconds)

    def drain(self, seconds: float) -> list[tuple[int, Result]]:
        """Like `wait`, and nothing new is started: what waits in the queue is dropped."""
        self._queue.clear()
        for future in self._out:
            if not future.running() and not future.done():
                future.cancel()
        finished = self._collect(seconds)
        self._queue.clear()
        return finished

    @property
    def running(self) -> int:
        """Calls that are out and not cancelled."""
        return sum(not future.cancelled() for future in self._out)

    def _send(self) -> None:
        workers = self.executor.workers
        while self._queue and (workers > 0 or not self._out):
            works = self._next_batch(min(self.batch, ceil(len(self._queue) / max(workers, 1))))
            call = "test" if works[0].job.stage == "test" else "evaluate"
            jobs = [work.job.to_json() for work in works]
            payload = json.dumps({**self.payload, "call": call, "jobs": jobs, "folder": None})
            future = self.executor.submit(payload, self.timeout and self.timeout * len(jobs))
            self._out[future] = works
            future.add_done_callback(self._done.put)

    def _next_batch(self, size: int) -> list[_Work]:
        works = [self._queue.popleft()]
        while self._queue and len(works) < size and not works[0].alone and not self._queue[0].alone:
            works.append(self._queue.popleft())
        return works

    def _collect(self, seconds: float) -> list[tuple[int, Result]]:
        if not self._out:
            return []
        try:
            futures = [self._done.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self._done.empty():
            futures.append(self._done.get())
        return [finished for future in futures for finished in self._receive(future, self._out.pop(future))]

    def _receive(self, future: Future[str], works: Sequence[_Work]) -> list[tuple[int, Result]]:
        try:
            outcomes = json.loads(future.result())["outcomes"]
        except CancelledError:
            return []
        except TimeoutError:
            return self._failed(works, Failure("timeout", f"took longer than {self.timeout:g} s"), retry=False)
        except WorkerDied as error:
            return self._failed(works, Failure(error.kind, str(error)), retry=True)
        return [(work.job.number, _result(work, outcome)) for work, outcome in zip(works, outcomes, strict=True)]

    def _failed(self, works: Sequence[_Work], failure: Failure, retry: bool) -> list[tuple[int, Result]]:
        if len(works) > 1:
            self._queue.extend(_Work(work.job, work.attempts, alone=True) for work in works)
            return []
        work = works[0]
        if retry and work.attempts <= self.retries:
            self._queue.append(_Work(work.job, work.attempts + 1, alone=True))
            return []
        return [(work.job.number, {"error": failure, "attempts": work.attempts})]


def _result(work: _Work, outcome: Mapping[str, Any]) -> Result:
    error = outcome["error"]
    return {
        "metrics": outcome["metrics"] if error is None else None,
        "curve": tuple((step, value) for step, value in outcome["curve"]),
        "error": None if error is None else Failure(**error),
        "origin": "stopped" if outcome["stopped"] else "evaluated",
        "attempts": work.attempts,
        "seconds": outcome["seconds"],
    }
