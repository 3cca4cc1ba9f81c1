"""Small-sample statistics for comparing runs: intervals of a mean, paired tests and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_ext.searcher import stream

FEWEST = 5
"""Below this many pairs no two-sided sign or signed-rank test can come near p = 0.05."""


def bootstrap_interval(values: Sequence[float], level: float = 0.95, draws: int = 10_000) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean, from a fixed seed; None for fewer than two values."""
    if len(values) < 2:
        return None
    sample = np.asarray(values, dtype=float)
    places = stream(0, "bootstrap").integers(len(sample), size=(draws, len(sample)))
    low, high = np.quantile(sample[places].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided p of the exact sign test; zeros count for neither side, and only zeros give 1."""
    from scipy.stats import binomtest

    wins, losses = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def signed_rank_test(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, zeros left out; exact by enumeration of signs up to 14 pairs.

    Exact also where differences tie, since it enumerates the signs of the ranks at hand.
    """
    from scipy.stats import rankdata, wilcoxon

    kept = np.array([value for value in differences if value != 0], dtype=float)
    if len(kept) == 0:
        return 1.0
    if len(kept) > 14:
        return float(wilcoxon(kept, method="approx" if len(set(np.abs(kept))) < len(kept) else "auto").pvalue)
    ranks = rankdata(np.abs(kept))
    signs = (np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept))) & 1
    sums, seen = signs @ ranks, float(ranks[kept > 0].sum())
    middle = ranks.sum() / 2
    return float(np.mean(np.abs(sums - middle) >= abs(seen - middle) - 1e-9))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given."""
    adjusted, running = [0.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        running = max(running, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = running
    return adjusted
