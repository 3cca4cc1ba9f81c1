"""The dask executor: workers of a Dask cluster, a running one or one started on this machine."""

from __future__ import annotations

import logging
from concurrent.futures import Future

from automl_ext.executors import ExecutorError
from automl_ext.executors.futures import Futures
from automl_ext.executors.start import starting
from automl_ext.worker import ONE_THREAD

CONNECT = "10s"
"""How long a scheduler may take to answer."""


class DaskExecutor:
    """Evaluates on the cluster at `address`, or on one of `workers` local processes with one thread each.

    memory_mb, and the timeout of a payload, hold for a child process of the Dask worker, which can be killed. All
    machines need the run folder at the same path. Raises ExecutorError without the package or a scheduler.
    """

    def __init__(self, address: str | None, workers: int, memory_mb: float | None = None) -> None:
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError:
            raise ExecutorError("executor dask needs the package distributed: pip install 'automl-ext[dask]'") from None
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.nanny.environ": ONE_THREAD})
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._cluster = None
        try:
            if address is None:
                with starting():
                    self._cluster = LocalCluster(
                        n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
                    )
            self._client = Client(self._cluster or address, timeout=CONNECT)
        except (OSError, ValueError) as error:
            raise ExecutorError(f"executor.address: no Dask scheduler at {address}: {error}") from None
        self._futures = Futures(self._client.get_executor(pure=False), self._threads, memory_mb)

    @property
    def workers(self) -> int:
        return self._futures.workers

    def submit(self, payload: str, timeout: float | None) -> Future[str]:
        """See Executor.submit."""
        return self._futures.submit(payload, timeout)

    def close(self, now: bool = False) -> None:
        """See Executor.close."""
        self._futures.close(now)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _threads(self) -> int:
        return sum(self._client.nthreads().values())
