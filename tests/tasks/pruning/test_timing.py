"""The cost of an evaluation by part, on a clock of our own."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from automl_ext.tasks.pruning import timing
from automl_ext.tasks.pruning.timing import MEASURED, Laps

from automl_ext.journal import digest
from automl_ext.searcher import Trial


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


def test_laps_follow_one_another_and_add_up(clock):
    laps = Laps()
    for part, seconds in (("prune", 1), ("measure", 2), ("tune", 4), ("measure", 8)):
        clock.now += seconds
        laps.end(part)
    assert laps.seconds == {"seconds_prune": 1, "seconds_measure": 10, "seconds_tune": 4}
    assert set(laps.seconds) <= set(MEASURED)


@pytest.mark.slow
def test_the_parts_are_the_whole_evaluation(env, evaluate):
    evaluate(env.references["uniform"])  # reads what is shared
    begin = time.perf_counter()
    metrics = evaluate(env.references["uniform"])
    took = time.perf_counter() - begin
    parts = [value for name, value in metrics.items() if name.startswith("seconds_")]
    assert len(parts) == 3 and min(parts) > 0
    assert 0.5 * took < sum(parts) <= took


@pytest.mark.slow
def test_reconstruction_costs_nothing_where_all_is_kept(env, evaluate):
    assert (
        evaluate(env.references["dense"])["seconds_reconstruct"]
        < evaluate(env.references["uniform"])["seconds_reconstruct"]
    )


@pytest.mark.slow
def test_wall_clock_metrics_stay_out_of_the_digest(env, evaluate):
    candidate = dict(env.references["uniform"])
    trials = [Trial(0, "search", candidate, {}, None, 0, None, evaluate(candidate)) for _ in range(2)]
    assert trials[0].metrics != trials[1].metrics
    assert digest(trials[:1], env.measured) == digest(trials[1:], env.measured)
    assert digest(trials[:1]) != digest(trials[1:])
