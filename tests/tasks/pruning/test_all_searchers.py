"""Every searcher searches counts of channels, and none leaves the budget."""

from __future__ import annotations

import pytest
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.macs import total_macs

from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.searcher import stream
from automl_ext.testing import simulate

SMALL = {
    "ddpg": {"warmup": 3},
    "hyperband": {"max_budget": 4.0},
    "nao": {"first": 5, "new": 3, "best": 2, "hidden": 4, "updates": 1},
    "predictor": {"start": 5},
    "progressive": {"beam": 2, "first": 3, "expansions": 4, "bins": 3, "members": 1, "hidden": 4, "steps": 1},
    "regularized-evolution": {"population": 5, "sample": 2},
    "tournament": {"population": 5},
}


@pytest.fixture(scope="module")
def env():
    return PruningEnv(epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHERS)
def test_no_searcher_leaves_the_budget(env, name):
    factory, options = searcher_class(name), SMALL.get(name, {})
    told = simulate(
        factory(env.target, stream(0, "build"), **options),
        lambda candidate: {"accuracy": 1 / (1 + sum((count - 5) ** 2 for count in candidate.values()))},
        10,
        parallel=2,
    )
    assert len(told) == 10
    assert all(total_macs(env.plan, trial.candidate) <= 0.5 * env.macs_dense for trial in told)
