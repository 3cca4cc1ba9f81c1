"""Objectives: direction, limits, ranks with failures last, fronts against brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from automl_ext.objective import Objective, front, rank, reward

BOTH = (Objective("accuracy"), Objective("latency_ms", "min", measured=True))


def test_rank_puts_limits_first_and_failures_last():
    limited = (Objective("accuracy"), Objective("macs", "min", limit=10))
    results = [None, {"accuracy": 0.9, "macs": 12}, {"accuracy": 0.5, "macs": 9}, {"accuracy": 0.6, "macs": 10}]
    order = sorted(range(4), key=lambda index: rank(results[index], limited))
    assert order == [0, 1, 2, 3]
    assert reward(results[1], limited, failed=-1.0) == -1.0 and reward(results[3], limited) == 0.6
    assert reward({"loss": 2.0}, (Objective("loss", "min"),)) == -2.0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_front_is_what_nothing_dominates(points):
    metrics = [{"accuracy": float(a), "latency_ms": float(b)} for a, b in points]
    expected = [
        i for i, (a, b) in enumerate(points) if not any(c >= a and d <= b and (c > a or d < b) for c, d in points)
    ]
    assert front(metrics, BOTH) == expected
