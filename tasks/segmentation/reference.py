"""Heads made by hand, and the published best cell, shown beside every result.

plain: one 1x1 convolution. aspp: DeepLab-V3's pyramid (Chen, Papandreou, Schroff, Adam 2017, arXiv 1706.05587), 1x1,
3x3 at rates 6, 12, 18 and image pooling, its atrous convolutions separable; aspp-dense: not separable, as published.
pyramid-pooling: PSPNet's grids 1, 2, 3, 6 beside the features themselves (Zhao, Shi, Qi, Wang, Jia 2017, arXiv
1612.01105), each brought to `filters` channels instead of a quarter of the features'. dpc: the best cell of Chen et al.
2018, arXiv 1809.04184. Rates are the paper's where the map is large enough, else what stands for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from automl_ext.tasks.segmentation.operations import CONV, Op, scaled
from automl_ext.tasks.segmentation.space import FEATURES, Branch, Cell, CellSpace

__all__ = ["PUBLISHED", "published", "references"]

PUBLISHED = ((0, (1, 6)), (1, (18, 15)), (2, (6, 3)), (1, (1, 1)), (1, (6, 21)))
"""Input (0: features) and rates of the five branches of the best published cell."""


def published(rates: tuple[int, ...]) -> Cell:
    """The best cell, at the map's own rates."""
    return tuple(Branch(source, Op("3x3", scaled(r, rates), scaled(c, rates))) for source, (r, c) in PUBLISHED)


def references(space: CellSpace, side: int) -> Mapping[str, Cell]:
    """By name. side: of the map, the shorter one."""
    rates = [scaled(rate, space.rates) for rate in (6, 12, 18)]

    def aspp(kind: str) -> Cell:
        atrous = [Branch(FEATURES, Op(kind, rate, rate)) for rate in rates]  # type: ignore[arg-type]
        return (Branch(FEATURES, CONV), *atrous, Branch(FEATURES, Op("pool")))

    grids = [grid for grid in (1, 2, 3, 6) if grid <= side]
    pyramid = [Branch(FEATURES, Op("as-is")), *(Branch(FEATURES, Op("pool", grid, grid)) for grid in grids)]
    return {
        "plain": (Branch(FEATURES, CONV),),
        "aspp": aspp("3x3"),
        "aspp-dense": aspp("dense"),
        "pyramid-pooling": tuple(pyramid),
        "dpc": published(space.rates),
    }
