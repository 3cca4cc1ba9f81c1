"""What a search over channels is laid out on: the plan of the network, the legal counts, the budget, the references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from automl_ext.tasks.pruning.criteria import check_criterion
from automl_ext.tasks.pruning.flow import read
from automl_ext.tasks.pruning.groups import Plan, inspect
from automl_ext.tasks.pruning.macs import Cost
from automl_ext.tasks.pruning.params import with_params
from automl_ext.tasks.pruning.protocol import Demand
from automl_ext.tasks.pruning.reach import Limits, check_reach
from automl_ext.tasks.pruning.reference import references
from automl_ext.tasks.pruning.space import keep_space
from torch import Tensor, nn

from automl_ext.space import Candidate, Space

__all__ = ["Layout", "lay_out"]


@dataclass(frozen=True)
class Layout:
    """legal: counts by group, as `limits` have them. target: what a policy may cost, counted by `cost`.

    dense: the network before pruning, trained or not; example: one image (1, c, h, w).
    references: filled by `refer`, anew where the cost is known only later (latency).
    """

    plan: Plan
    limits: Limits
    legal: Mapping[str, range]
    cost: Cost
    target: float
    space: Space
    dense: nn.Module
    example: Tensor
    references: dict[str, Candidate] = field(default_factory=dict)

    def refer(self, trained: bool) -> None:
        """Fill `references`, the same mapping always. trained: whether the weights say something about magnitudes."""
        network = self.dense if trained else None
        known = references(network, self.example, self.plan, self.legal, self.target, self.cost)
        self.references.clear()
        self.references.update({name: {**policy} for name, policy in known.items()})


def lay_out(dense: nn.Module, example: Tensor, importance: str, limits: Limits, demand: Demand) -> Layout:
    """Raises PruningError, one line, for a network, limits or a budget with which nothing can be searched."""
    plan = inspect(dense, example)
    check_criterion(importance, dense, example, plan)
    if demand.on_params:
        plan = with_params(plan, dense, example)
    read(dense)
    legal = limits.legal(plan)
    check_reach(plan, limits, demand.share, demand.count, demand.option)
    target = demand.share * demand.count(plan, {})
    space = keep_space(plan, legal, target, demand.count, demand.option)
    return Layout(plan, limits, legal, demand.count, target, space, dense, example)
