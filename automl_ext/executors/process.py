"""The process executor: workers of this machine, each in a pebble pool of its own.

Why a pool each: pebble's workers share one locked channel, and a worker that is killed while it holds the lock stops
the others for a minute, or takes a task with it. Here a death concerns one worker, whose pool is thrown away with it.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field

from pebble import ProcessExpired, ProcessPool

from automl_ext.executors import ExecutorError, WorkerDied
from automl_ext.executors.death import CLOSED, died, kill_group, tidy
from automl_ext.executors.start import CONTEXTS, quiet_tracker
from automl_ext.executors.watch import begin_worker
from automl_ext.worker import ONE_THREAD, built, work


@dataclass
class _Task:
    payload: str
    timeout: float | None
    future: Future[str] = field(default_factory=Future)


_Tasks = queue.SimpleQueue[_Task | None]


class ProcessExecutor:
    """`workers` processes, started with the first payloads.

    memory_mb: resident memory at which a worker leaves. max_tasks: replace a worker after so many payloads, 0: never.
    start: "spawn" or "forkserver". Raises ExecutorError for settings that cannot work here.
    """

    def __init__(self, workers: int, memory_mb: float | None = None, max_tasks: int = 0, start: str = "spawn") -> None:
        if start not in CONTEXTS:
            raise ExecutorError(f"executor.start: {start!r} is unknown; legal: {', '.join(CONTEXTS)}")
        if memory_mb is not None and not os.path.exists("/proc/self/statm"):
            raise ExecutorError("executor.memory_mb: this system has no /proc to watch memory in; leave it out")
        os.environ.update(ONE_THREAD)  # for workers, before they load anything
        quiet_tracker()
        self.workers = workers
        self._tasks: _Tasks = queue.SimpleQueue()
        self._lanes = [_Lane(self._tasks, start, memory_mb, max_tasks) for _ in range(workers)]
        for lane in self._lanes:
            lane.start()

    def submit(self, payload: str, timeout: float | None) -> Future[str]:
        """The answer, later. timeout: seconds of the call itself; the environment's construction does not count."""
        task = _Task(payload, timeout)
        self._tasks.put(task)
        return task.future

    def close(self, now: bool = False) -> None:
        """See Executor.close."""
        if now:
            with suppress(queue.Empty):
                while (task := self._tasks.get_nowait()) is not None:
                    task.future.cancel()
                    task.future.set_running_or_notify_cancel()
            for lane in self._lanes:
                lane.kill()
        for _ in self._lanes:
            self._tasks.put(None)
        for lane in self._lanes:
            lane.join()


class _Lane(threading.Thread):
    """Takes tasks one at a time to a worker process, and replaces the worker when it is gone."""

    def __init__(self, tasks: _Tasks, start: str, memory_mb: float | None, max_tasks: int) -> None:
        super().__init__(name="automl-ext-lane", daemon=True)
        self._tasks = tasks
        self._context = CONTEXTS[start]()
        self._memory_mb = memory_mb
        self._max_tasks = max_tasks
        self._pool: ProcessPool | None = None
        self._calls = 0
        self._warm = False
        self._closed = False
        self._inner: Future[str] | None = None

    def run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                answer = self._call(task)
            except BaseException as error:
                task.future.set_exception(error)
            else:
                task.future.set_result(answer)
            if 0 < self._max_tasks <= self._calls:
                self._discard()
        self._discard()

    def kill(self) -> None:
        """From another thread: end the worker, and whatever it does, at once."""
        self._closed = True
        if (inner := self._inner) is not None:
            kill_group(self._context.worker)
            inner.cancel()

    def _call(self, task: _Task) -> str:
        """The worker's answer. Raises TimeoutError, WorkerDied, and what `work` raises."""
        inner = self._inner = self._schedule(task)
        worker = self._context.worker
        self._calls += 1
        try:
            return self._answer(inner)
        except TimeoutError:
            kill_group(worker)
            self._warm = False
            raise TimeoutError(tidy(task.payload, "timeout", f"took longer than {task.timeout:g} s")) from None
        except (ProcessExpired, BrokenProcessPool, CancelledError, KeyboardInterrupt):
            kill_group(worker)
            self._discard()
            if self._closed:
                raise WorkerDied("died", tidy(task.payload, "died", CLOSED)) from None
            raise died(task.payload, worker.exitcode if worker else None, self._memory_mb) from None
        finally:
            self._inner = None

    def _schedule(self, task: _Task) -> Future[str]:
        """Give the task to the worker. A pool whose idle worker died in the meantime is replaced first."""
        while True:
            if self._closed:
                raise WorkerDied("died", CLOSED)
            if self._pool is None or not self._pool.active:
                self._discard()
                self._pool = ProcessPool(1, initializer=begin_worker, initargs=[self._memory_mb], context=self._context)
            with suppress(RuntimeError):  # the pool broke between the two lines
                if task.timeout is not None and not self._warm:
                    self._pool.schedule(_warm_up, args=[task.payload])
                inner: Future[str] = self._pool.schedule(work, args=[task.payload], timeout=task.timeout)
                self._warm = True
                return inner

    def _answer(self, inner: Future[str]) -> str:
        done = threading.Event()
        inner.add_done_callback(lambda _: done.set())
        while not done.wait(1.0):
            broken = self._pool is None or not self._pool.active
            if self._closed or (broken and not done.wait(1.0)):
                raise BrokenProcessPool("the pool ended without an answer")
        return inner.result()

    def _discard(self) -> None:
        """End the pool and its worker."""
        pool, self._pool = self._pool, None
        self._calls, self._warm = 0, False
        if pool is not None:
            pool.stop()
            pool.join()


def _warm_up(payload: str) -> None:
    """Build the environment, so that a new worker's imports do not count as the evaluation's time."""
    with suppress(ExecutorError):
        built(json.loads(payload))
