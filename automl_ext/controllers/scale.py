"""What a surrogate learns of measured values: one scale whatever the unit, without the pull of bad outliers.

Values are measured from their median in units of the upper half's median distance from it. Above it they stay linear,
so that the good ones keep their distances; below it the logarithm is taken, the lower half of the neglog transform (J.
Whittaker, C. Whitehead, M. Somers, "The neglog transformation and quantile regression for the analysis of a large
credit scoring database", 2005). Quantiles of ranks, the usual choice, tear values apart that differ by a hair: where a
search has gathered around an optimum, a surrogate takes that for noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def scaled(standings: Sequence[tuple[float, float]]) -> Floats:
    """(n,) values of mean 0 that order (minus violation, value) as tuples do, larger is better.

    What misses a limit lies below all that keeps it, the further the more it misses; what failed lies at the bottom.
    """
    violation = np.array([-standing[0] for standing in standings])
    values = np.array([standing[1] for standing in standings])
    kept, missed = violation == 0, (violation > 0) & np.isfinite(violation)
    found = np.zeros(len(values))
    if kept.any():
        found[kept] = _bent(values[kept])
    low = float(found[kept].min()) if kept.any() else 0.0
    if missed.any():
        found[missed] = low - np.log1p(1.0 + violation[missed] / float(np.median(violation[missed])))
    failed = ~(kept | missed)
    if failed.any() and not failed.all():
        found[failed] = found[~failed].min()
    return np.asarray(found - found.mean())


def _bent(values: Floats) -> Floats:
    far = values - float(np.median(values))
    apart = far[far > 0] if (far > 0).any() else -far[far < 0]
    if len(apart):
        far = far / float(np.median(apart))
    return np.where(far < 0, -np.log1p(np.maximum(-far, 0.0)), far)
