"""The contract suite over every registered searcher."""

from __future__ import annotations

import pytest

from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.testing import check_searcher
from automl_ext.testing.learning import check_learns

BASELINES = {"asha", "grid", "hyperband", "random", "successive-halving"}
SMALL = {
    "ddpg": {"warmup": 4, "hidden": 8, "batch": 8},
    "nsga2": {"population": 4, "explore": 8},
    "regularized-evolution": {"population": 8, "sample": 3},
    "reinforce": {"hidden": 8, "batch": 3},
    "ppo": {"hidden": 8, "batch": 4, "epochs": 2},
    "hill-climbing": {"neighbours": 4, "starts": 3},
    "tournament": {"population": 5},
    "population-based": {"population": 4, "max_budget": 9.0},
    "asha": {"max_budget": 9.0},
    "hyperband": {"max_budget": 9.0},
    "successive-halving": {"max_budget": 9.0},
    "q-learning": {"epsilons": [[1.0, 4], [0.5, 3], [0.1, 3]], "batch": 16},
    "predictor": {"start": 5, "candidates": 6, "rounds": 1, "memory": 12},
    "lemonade": {"starts": 3, "accepted": 2, "proposed": 4, "cheap": ("score",)},
    "optuna": {"options": {"n_startup_trials": 5}},
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
    "nao": {"first": 4, "new": 3, "best": 2, "hidden": 4, "bins": 4, "updates": 1, "batch": 8, "climbs": 2},
}
TRIALS = {
    "ddpg": 9,
    "hill-climbing": 12,
    "lemonade": 12,
    "nao": 9,
    "nsga2": 12,
    "optuna": 9,
    "population-based": 12,
    "ppo": 9,
    "predictor": 9,
    "progressive": 12,
    "q-learning": 12,
    "reinforce": 9,
    "tournament": 12,
}
"""Of the contract's searches; the others have 20. A search is resumed after every trial, so that time is quadratic."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_keeps_the_contract(name):
    """With small options, so that its phases all lie within the contract's few trials."""
    check_searcher(searcher_class(name), options=SMALL.get(name), learns=False, trials=TRIALS.get(name, 20))


ENOUGH = {
    "ddpg": ({}, 60),
    "nao": ({"first": 30, "new": 8, "best": 5, "updates": 30}, 100),
    "optuna": ({}, 80),
    "population-based": ({"population": 8, "quantile": 0.5}, 200),
    "ppo": ({}, 80),
    "predictor": ({}, 40),
    "progressive": ({}, 100),
    "q-learning": ({}, 80),
    "reinforce": ({}, 100),
}
"""Options and trials of the slow ones, and of what repeats candidates; the others have 150 trials."""
DEAR = {"nao", "optuna", "progressive"}
"""They take long. `tox -e thorough` measures that they beat random; elsewhere their own tests say that they learn: what
NAO decodes after a step is better than its pool, progressive's predictor ranks larger cells, Optuna beats random on a
parabola."""


@pytest.mark.slow(seconds=20)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.thorough] * (name in DEAR))
        for name, entry in SEARCHERS.items()
        for kind in ("number", "choice")
        if name not in BASELINES and kind in entry.treats
    ],
)
def test_every_searcher_that_learns_beats_random(name, kind):
    check_learns(searcher_class(name), *ENOUGH.get(name, ({}, 150)), kinds=(kind,))
