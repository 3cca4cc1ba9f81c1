"""Whether a budget can be met at all, and which options stand in its way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from automl_ext.tasks.pruning.groups import Kind, Plan
from automl_ext.tasks.pruning.macs import Cost
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.space import options

__all__ = ["Limits", "check_reach"]


@dataclass(frozen=True)
class Limits:
    """The options that say which counts are legal, see space.options."""

    round_to: int = 1
    low: float = 1
    high: Mapping[Kind, float] | None = None
    protect: Collection[str] = ()

    def legal(self, plan: Plan) -> dict[str, range]:
        """Legal counts by group. Raises PruningError, one line, for limits that are none."""
        return options(plan, self.round_to, self.low, self.high, self.protect)

    def least(self, plan: Plan, cost: Cost) -> float:
        """The least share of the dense cost."""
        return cost(plan, {name: counts[0] for name, counts in self.legal(plan).items()}) / cost(plan, {})


def check_reach(plan: Plan, limits: Limits, share: float, cost: Cost, option: str) -> None:
    """PruningError, one line, where no policy costs `share` of the dense network or less.

    It names `option`, the least that can be reached, and each limit without which that would be less.
    """
    minimum = limits.least(plan, cost)
    if share >= 1 or minimum <= share:
        return
    default = Limits()
    without = {
        name: replace(limits, **{name: getattr(default, name)}).least(plan, cost)
        for name, value in vars(limits).items()
        if value and value != getattr(default, name)
    }
    causes = [
        f"{name} {_text(getattr(limits, name))} holds it there, {least:.4g} without it"
        for name, least in without.items()
        if least < minimum
    ]
    line = f"{option} {share:.4g} cannot be reached: with every group at its least, {minimum:.4g} remain"
    raise PruningError("; ".join([line, *causes]))


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {share:g}" for name, share in value.items()) + "}"
    return f"{value:g}" if isinstance(value, int | float) else f"[{', '.join(map(str, value))}]"  # type: ignore[call-overload]
