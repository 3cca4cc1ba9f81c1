"""What a search of fine-grained pruning is asked for: objectives, and how many weights may stay.

resource: as accurate as can be within a share of the weights, or of the multiply-accumulates that they make; free with
several objectives. accuracy-params: AMC's accuracy-guaranteed protocol, no budget, and the objective is `reward`,
-error x log(weights left), counted singly, the logarithm natural (He et al., ECCV 2018, arXiv 1802.03494).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.protocol import Goal, objectives_of, one_budget

from automl_ext.objective import Objective

__all__ = ["WeightDemand", "WeightProtocol", "WeightTraded", "weight_demand"]

WeightProtocol = Literal["resource", "accuracy-params"]
WeightTraded = Literal["accuracy", "weights_k", "weights_kept", "macs_nonzero_m"]
"""The metrics that can be objectives."""
GOALS: Mapping[str, Goal] = {"accuracy": "max", "weights_k": "min", "weights_kept": "min", "macs_nonzero_m": "min"}
Budget = Literal["weights_kept", "macs_kept"]
PROTOCOLS = ("resource", "accuracy-params")


@dataclass(frozen=True)
class WeightDemand:
    """objectives: the first is the primary one. option: the budget's, which says what is counted. share: of that
    which a policy may keep; 1 is free. rewarded: whether the objective is `reward`.
    """

    objectives: tuple[Objective, ...]
    option: Budget
    share: float
    rewarded: bool

    @property
    def on_macs(self) -> bool:
        return self.option == "macs_kept"

    def reward(self, weights: int, accuracy: float) -> dict[str, float]:
        """`reward`, where it is the objective. accuracy: in [0, 1]. Below e the logarithm stays at 1."""
        return {"reward": -(1 - accuracy) * math.log(max(weights, math.e))} if self.rewarded else {}


def weight_demand(
    protocol: WeightProtocol,
    objectives: Mapping[WeightTraded, Goal] | None,
    weights_kept: float | None,
    macs_kept: float | None = None,
) -> WeightDemand:
    """What the options ask for. Without a budget: half of the weights for one objective, all for several.

    Raises PruningError, one line, for unknown names, a metric in its worse direction, a share out of range, and
    options that contradict each other.
    """
    if protocol not in PROTOCOLS:
        raise PruningError(f"protocol {protocol!r} is unknown; legal: {', '.join(PROTOCOLS)}")
    budgets: dict[Budget, float | None] = {"weights_kept": weights_kept, "macs_kept": macs_kept}
    given = [name for name, value in budgets.items() if value is not None]
    if protocol != "resource":
        for name in [*(["objectives"] if objectives is not None else []), *given]:
            raise PruningError(f"protocol {protocol} has no budget and one objective; leave {name} out")
        return WeightDemand((Objective("reward"),), "weights_kept", 1.0, True)
    wanted = objectives_of(objectives, GOALS)
    option, share = one_budget(budgets, "weights_kept", len(wanted))
    return WeightDemand(wanted, option, share, False)
