"""The contract suite over every registered searcher."""

from __future__ import annotations

import pytest

from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.testing import check_searcher
from automl_ext.testing.learning import check_learns

BASELINES = {"random", "grid"}
SMALL = {
    "ddpg": {"warmup": 5, "hidden": 8, "batch": 8},
    "nao": {"first": 5, "new": 4, "best": 3, "hidden": 4, "bins": 4, "updates": 1, "batch": 8, "climbs": 2},
    "progressive": {
        "beam": 3,
        "first": 4,
        "expansions": 6,
        "bins": 4,
        "members": 2,
        "hidden": 4,
        "steps": 2,
        "later_steps": 1,
    },
    "regularized-evolution": {"population": 8, "sample": 3},
}
HEAVY = {"ddpg", "nao", "progressive"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_keeps_the_contract(name):
    """With small options, so that its phases all lie within the contract's few trials."""
    check_searcher(searcher_class(name), options=SMALL.get(name), learns=False, trials=16 if name in HEAVY else 30)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in HEAVY)) for n in SEARCHERS if n not in BASELINES]
)
def test_every_searcher_that_learns_beats_random(name):
    check_learns(searcher_class(name), {}, 150)
