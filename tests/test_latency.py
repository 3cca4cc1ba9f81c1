"""The latency of a forward pass, on a clock of our own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from automl_ext import latency as measuring
from automl_ext.latency import latency


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


class Slow(torch.nn.Module):
    """Takes the next of `seconds` a pass, and notes what it got."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds, self.passes = clock, list(seconds), []

    def forward(self, x):
        self.passes.append((tuple(x.shape), torch.get_num_threads(), self.training, torch.is_inference_mode_enabled()))
        self.clock.now += self.seconds[len(self.passes) - 1]
        return x


def test_latency_is_a_median_with_its_quartiles_after_warm_up(clock):
    network = Slow(clock, [50.0, 60.0, 70.0, 5, 1, 4, 2, 3])
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        found = latency(network, torch.zeros(1, 2, 4, 4), batch=6, repeats=5)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert found == {"latency_ms": pytest.approx(3000), "latency_iqr_ms": pytest.approx(2000)}
    assert network.passes == [((6, 2, 4, 4), 1, False, True)] * 8


def test_threads_come_back_when_a_pass_fails():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(RuntimeError):
            latency(torch.nn.Linear(3, 3), torch.zeros(1, 2, 4, 4), batch=1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
