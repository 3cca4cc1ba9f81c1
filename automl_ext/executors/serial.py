"""The serial executor: evaluations in this process, one after the other."""

from __future__ import annotations

import warnings
from concurrent.futures import Future

from automl_ext.env import SearchEnv
from automl_ext.worker import work


class SerialExecutor:
    """Evaluates when a payload is submitted, so that the loop has its say between any two. `env`: used as it is."""

    workers = 0

    def __init__(self, env: SearchEnv | None = None) -> None:
        self.env = env
        self._warned = False

    def submit(self, payload: str, timeout: float | None) -> Future[str]:
        """The finished answer. What runs in this process cannot be killed: a timeout is warned about, once."""
        if timeout is not None and not self._warned:
            self._warned = True
            message = "executor serial cannot stop an evaluation: the timeout is ignored; executor process obeys it"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        future: Future[str] = Future()
        future.set_running_or_notify_cancel()
        future.set_result(work(payload, self.env))
        return future

    def close(self, now: bool = False) -> None:
        """Nothing is left to stop."""
