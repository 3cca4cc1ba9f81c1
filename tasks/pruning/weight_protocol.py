"""What a search of fine-grained pruning is asked for: objectives, and how many weights may stay.

resource: as accurate as can be within a share of the weights; free with several objectives. accuracy-params: AMC's
accuracy-guaranteed protocol, no budget, and the objective is `reward`, -error x log(weights left), counted singly, the
logarithm natural (He et al., ECCV 2018, arXiv 1802.03494).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.protocol import Goal, objectives_of

from automl_ext.objective import Objective

__all__ = ["WeightDemand", "WeightProtocol", "WeightTraded", "weight_demand"]

WeightProtocol = Literal["resource", "accuracy-params"]
WeightTraded = Literal["accuracy", "weights_k", "weights_kept", "macs_nonzero_m"]
"""The metrics that can be objectives."""
GOALS: Mapping[str, Goal] = {"accuracy": "max", "weights_k": "min", "weights_kept": "min", "macs_nonzero_m": "min"}
PROTOCOLS = ("resource", "accuracy-params")


@dataclass(frozen=True)
class WeightDemand:
    """objectives: the first is the primary one. share: of the weights that may stay; 1 is free. rewarded: whether the
    objective is `reward`.
    """

    objectives: tuple[Objective, ...]
    share: float
    rewarded: bool

    def reward(self, weights: int, accuracy: float) -> dict[str, float]:
        """`reward`, where it is the objective. accuracy: in [0, 1]. Below e the logarithm stays at 1."""
        return {"reward": -(1 - accuracy) * math.log(max(weights, math.e))} if self.rewarded else {}


def weight_demand(
    protocol: WeightProtocol, objectives: Mapping[WeightTraded, Goal] | None, weights_kept: float | None
) -> WeightDemand:
    """What the options ask for. Without a budget: half of the weights for one objective, all for several.

    Raises PruningError, one line, for unknown names, a metric in its worse direction, a share out of range, and
    options that contradict each other.
    """
    if protocol not in PROTOCOLS:
        raise PruningError(f"protocol {protocol!r} is unknown; legal: {', '.join(PROTOCOLS)}")
    if protocol != "resource":
        for name, value in {"objectives": objectives, "weights_kept": weights_kept}.items():
            if value is not None:
                raise PruningError(f"protocol {protocol} has no budget and one objective; leave {name} out")
        return WeightDemand((Objective("reward"),), 1.0, True)
    wanted = objectives_of(objectives, GOALS)
    if weights_kept is None:
        weights_kept = 0.5 if len(wanted) == 1 else 1.0
    if not 0 < weights_kept <= 1:
        raise PruningError(f"weights_kept must lie above 0 and at most at 1, not {weights_kept}")
    return WeightDemand(wanted, weights_kept, False)
