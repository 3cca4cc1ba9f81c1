"""What a search is asked for: the objectives, and what a policy may cost.

resource: as accurate as can be within a share of the dense network's multiply-accumulates, parameters or latency (by a
table); free with several objectives. accuracy-macs, accuracy-params: AMC's accuracy-guaranteed protocol, no budget, and
the objective is `reward`, -error x log(multiply-accumulates) or -error x log(parameters), both counts raw, the
logarithm natural (He et al., ECCV 2018, arXiv 1802.03494).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.latency_table import LatencyCost
from automl_ext.tasks.pruning.macs import Cost, total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.params import total_params

from automl_ext.objective import Objective

__all__ = ["GOALS", "Demand", "Goal", "Protocol", "Traded", "demand", "objectives_of"]

Protocol = Literal["resource", "accuracy-macs", "accuracy-params"]
Goal = Literal["max", "min"]
Traded = Literal["accuracy", "macs_m", "macs_kept", "params_k", "latency_ms", "latency_table_ms"]
"""The metrics that can be objectives."""
GOALS: Mapping[str, Goal] = {
    "accuracy": "max", "macs_m": "min", "macs_kept": "min", "params_k": "min", "latency_ms": "min",
    "latency_table_ms": "min",
}  # fmt: skip
TABLED = ("latency_kept", "latency_table_ms")
"""The metrics that need the latency table."""
MEASURED = ("latency_ms", *TABLED)
Budget = Literal["macs_kept", "params_kept", "latency_kept"]
Kind = TypeVar("Kind", bound=str)
PROTOCOLS = ("resource", "accuracy-macs", "accuracy-params")


@dataclass(frozen=True)
class Demand:
    """objectives: the first is the primary one. option: the budget's, which says what is counted. share: of the dense
    cost that a policy may use; 1 is free. rewarded: whether the objective is `reward`. latency: the cost by the table,
    which it learns only after `prepare`.
    """

    objectives: tuple[Objective, ...]
    option: Budget
    share: float
    rewarded: bool
    latency: LatencyCost = field(default_factory=LatencyCost, compare=False)

    @property
    def free(self) -> bool:
        return self.share >= 1

    @property
    def on_params(self) -> bool:
        return self.option == "params_kept"

    @property
    def on_latency(self) -> bool:
        """Whether the budget is on what only a table knows."""
        return self.option == "latency_kept"

    @property
    def tabled(self) -> bool:
        """Whether the latency table is needed."""
        return self.on_latency or any(objective.name in TABLED for objective in self.objectives)

    @property
    def measured(self) -> tuple[str, ...]:
        """Wall-clock metrics that `sizes` gives."""
        return TABLED if self.tabled else ()

    @property
    def count(self) -> Cost:
        """What a policy costs: latency, parameters or multiply-accumulates."""
        if self.on_latency:
            return self.latency
        return total_params if self.on_params else total_macs

    def sizes(self, plan: Plan, counts: Mapping[str, int]) -> dict[str, float]:
        """`params_kept`, share of the dense parameters, and what the latency table says, where the demand is about
        them.
        """
        sizes = {"params_kept": self.count(plan, counts) / self.count(plan, {})} if self.on_params else {}
        return sizes | (self.latency.metrics(plan, counts) if self.tabled else {})

    def reward(self, plan: Plan, counts: Mapping[str, int], accuracy: float) -> dict[str, float]:
        """`reward`, -error x log(cost), where it is the objective. accuracy: in [0, 1].

        Below e the logarithm would turn the sign: it stays at 1.
        """
        cost = max(self.count(plan, counts), math.e)
        return {"reward": -(1 - accuracy) * math.log(cost)} if self.rewarded else {}


def demand(
    protocol: Protocol,
    objectives: Mapping[Traded, Goal] | None = None,
    macs_kept: float | None = None,
    params_kept: float | None = None,
    latency_kept: float | None = None,
) -> Demand:
    """What the options ask for. Without a budget: half of the MACs for one objective, all for several.

    Raises PruningError, one line, for unknown names, a metric in its worse direction, a share out of range, and
    options that contradict each other.
    """
    if protocol not in PROTOCOLS:
        raise PruningError(f"protocol {protocol!r} is unknown; legal: {', '.join(PROTOCOLS)}")
    budgets: dict[Budget, float | None]
    budgets = {"macs_kept": macs_kept, "params_kept": params_kept, "latency_kept": latency_kept}
    given = [option for option, share in budgets.items() if share is not None]
    if protocol != "resource":
        needless = given if objectives is None else ["objectives"]
        if needless:
            raise PruningError(f"protocol {protocol} has no budget and one objective; leave {needless[0]} out")
        counted: Budget = "params_kept" if protocol == "accuracy-params" else "macs_kept"
        return Demand((Objective("reward"),), counted, 1.0, True)
    wanted = objectives_of(objectives, GOALS)
    option, share = one_budget(budgets, "macs_kept", len(wanted))
    return Demand(wanted, option, share, False)


def one_budget(budgets: Mapping[Kind, float | None], usual: Kind, objectives: int) -> tuple[Kind, float]:
    """The budget that is given, and its share; without one the `usual`, a half or, with several objectives, all.

    PruningError for several, or a share that is none.
    """
    given = {option: share for option, share in budgets.items() if share is not None}
    if len(given) > 1:
        raise PruningError(f"{' and '.join(map(str, given))}: give one of them only")
    option, share = next(iter(given.items()), (usual, 0.5 if objectives == 1 else 1.0))
    if not 0 < share <= 1:
        raise PruningError(f"{option} must lie above 0 and at most at 1, not {share}")
    return option, share


def objectives_of(wanted: Mapping[Any, Goal] | None, goals: Mapping[str, Goal]) -> tuple[Objective, ...]:
    """The objectives `wanted`, metric -> goal, of those that `goals` has; None: accuracy. PruningError for others."""
    legal = ", ".join(f"{name}: {goal}" for name, goal in goals.items())
    if wanted is None:
        return (Objective("accuracy"),)
    if not wanted:
        raise PruningError(f"objectives is empty; legal: {legal}")
    for name, goal in wanted.items():
        if goals.get(name) != goal:
            raise PruningError(f"objectives: {name}: {goal} is not possible; legal: {legal}")
    return tuple(Objective(name, goal, measured=name in MEASURED) for name, goal in wanted.items())
