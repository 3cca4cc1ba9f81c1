"""Fresh: genes whose candidate was not asked before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from automl_ext.searcher import Target

Genes = dict[str, Any]
TRIES = 20


def fresh(
    target: Target,
    make: Callable[[np.random.Generator], Genes],
    old: Callable[[str], bool],
    rng: np.random.Generator,
    again: int = 0,
) -> Genes:
    """What `make` makes, up to `again` times more while its key is `old`; then it is mutated, up to 20 times.

    In a space that is used up it is old all the same.
    """
    genes = make(rng)
    for attempt in range(again + TRIES):
        if not old(target.space.key(target.space.from_genes(genes))):
            break
        genes = make(rng) if attempt < again else target.variation.mutate(genes, rng)
    return genes
