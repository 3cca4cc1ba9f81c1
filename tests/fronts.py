"""Problems with two objectives, `score` to maximise and `cost` to minimise; how much of the plane a search covers."""

from __future__ import annotations

import itertools
from functools import cache

import moocore
import numpy as np

from automl_ext.decisions import Choice, Real
from automl_ext.objective import Objective
from automl_ext.registry import searcher_class
from automl_ext.searcher import stream
from automl_ext.space import Space
from automl_ext.testing import simulate
from automl_ext.testing.planted import target_of

COST = Objective("cost", "min")
CELLS = Space(*(Choice(f"edge{index}", list("abcd")) for index in range(6)))
"""4,096 candidates."""
CURVE = Space(*(Real(f"x{index}", 0.0, 1.0) for index in range(6)))


def priced(candidate):
    """Letters cost 0 to 3 and pay by their neighbours: what pays is dear."""
    costs = ["abcd".index(value) for value in candidate.values()]
    pairs = itertools.pairwise(costs)
    return {"score": sum(np.sqrt(a) * (1 + 0.3 * (a != b)) for a, b in pairs), "cost": float(sum(costs))}


def zdt1(candidate):
    """E. Zitzler, K. Deb, L. Thiele, 2000: the front is f2 = 1 - sqrt(f1), where all numbers but the first are 0."""
    first, *rest = candidate.values()
    g = 1 + 9 * sum(rest) / len(rest)
    return {"score": float(np.sqrt(first / g) * g - g), "cost": float(first)}


PROBLEMS = {"cells": (CELLS, priced, (0.0, 18.0)), "curve": (CURVE, zdt1, (-10.0, 1.0))}
"""Space, metrics, and the worst (score, cost)."""


def volume(name, points):
    """Hypervolume of (score, cost) points over the worst ones."""
    worst = PROBLEMS[name][2]
    return moocore.hypervolume([(-score, cost) for score, cost in points], ref=(-worst[0], worst[1]))


def search(name, searcher, trials, seed=0, parallel=1, **options):
    """The (score, cost) of every trial of a search by a registered searcher."""
    space, metrics, _ = PROBLEMS[name]
    built = searcher_class(searcher)(target_of(space, COST), stream(seed, "build"), **options)
    told = simulate(built, metrics, trials, parallel=parallel, seed=seed)
    return [(trial.metrics["score"], trial.metrics["cost"]) for trial in told]


@cache
def gains(name, searcher, trials, seeds=8, parallel=1):
    """How much more than random search it covers, seed by seed."""
    return [
        volume(name, search(name, searcher, trials, seed, parallel))
        - volume(name, search(name, "random", trials, seed))
        for seed in range(seeds)
    ]


@cache
def whole_front():
    """All non-dominated (score, cost) of the cells, by brute force over the definition."""
    points = {
        tuple(priced(dict(enumerate(cell))).values()) for cell in itertools.product("abcd", repeat=len(CELLS.decisions))
    }
    return sorted(
        point
        for point in points
        if not any(other[0] >= point[0] and other[1] <= point[1] and other != point for other in points)
    )
