"""How long a forward pass takes: a wall-clock quantity, outside the promise of determinism (`SearchEnv.measured`)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from automl_ext.memory import keep_memory

__all__ = ["latency", "settle"]


def latency(
    network: nn.Module,
    example: Tensor,
    batch: int,
    repeats: int = 15,
    warmups: int = 3,
    clock: Callable[[], float] | None = None,
) -> dict[str, float]:
    """Milliseconds of one forward pass of `batch` images, on one thread: `repeats` passes after `warmups`.

    latency_ms: their median; latency_iqr_ms: the distance between their quartiles. example: one image, (1, c, h, w), or
    what else the network takes, on its device. clock: seconds, by default those on the wall. Leaves the network in eval
    mode, and the process keeping its memory (see automl_ext/memory.py).
    """
    keep_memory()
    images = example.expand(batch, *example.shape[1:]).contiguous()
    clock = clock or time.perf_counter
    seconds = []
    network.eval()
    with torch.inference_mode(), _one_thread():
        for _ in range(repeats + warmups):
            begin = clock()
            network(images)
            settle()
            seconds.append(clock() - begin)
    lower, middle, upper = statistics.quantiles(seconds[warmups:], n=4, method="inclusive")
    return {"latency_ms": 1000 * middle, "latency_iqr_ms": 1000 * (upper - lower)}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes on one thread, and then on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle() -> None:
    """Wait for what a GPU is still to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
