"""Whether a searcher learns: it beats random search on planted targets, or it is random in disguise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from automl_ext.baselines.random import Random
from automl_ext.searcher import Searcher, stream
from automl_ext.space import Space
from automl_ext.testing.planted import learning_spaces, planted_score, target_of
from automl_ext.testing.rule import rule
from automl_ext.testing.simulate import simulate


def check_learns(
    factory: Callable[..., Searcher],
    options: Mapping[str, Any],
    trials: int,
    seeds: int = 10,
    kinds: Collection[str] = ("number", "choice"),
) -> None:
    """Paired seeds on a planted target a kind of space that is not refused; a one-sided Wilcoxon test, p < 0.01.

    What is compared is the mean of the best score so far over the second half of `trials`. kinds: of space.
    """
    measured = 0
    for name, space in learning_spaces().items():
        if name not in kinds:
            continue
        try:
            factory(target_of(space), stream(0, "build"), **options)
        except ValueError:
            continue
        measured += 1
        with rule(f"{name} space: a search of {trials} trials"):
            gains = [
                _area(factory, options, space, trials, s) - _area(Random, {}, space, trials, s) for s in range(seeds)
            ]
        p = float(wilcoxon(gains, alternative="greater").pvalue) if any(gains) else 1.0
        assert p < 0.01, f"{name} space: not better than random on a planted target ({seeds} seeds, p = {p:.3f})"
    assert measured, f"the searcher refuses all spaces it could be measured on: {', '.join(learning_spaces())}"


def _area(factory: Callable[..., Searcher], options: Mapping[str, Any], space: Space, trials: int, seed: int) -> float:
    searcher = factory(target_of(space), stream(seed, "build"), **options)
    told = simulate(searcher, planted_score(space, seed), trials, seed=seed)
    best = np.maximum.accumulate([trial.metrics["score"] for trial in told if trial.metrics])
    return float(best[len(best) // 2 :].mean())
