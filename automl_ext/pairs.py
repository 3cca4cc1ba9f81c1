"""Paired tests between groups of runs: by seed, two tests, Holm's correction over all pairs that are tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any

from automl_ext.groups import Group, Side
from automl_ext.significance import FEWEST, holm, sign_test, signed_rank_test


def paired(groups: Sequence[Group], goal: str, value: Callable[[Side], float | None]) -> list[dict[str, Any]]:
    """Runs against runs, and runs against their own baselines and references, paired by seed; one dict a pair.

    left, right, pairs, difference (median), wins, losses, ties, p values of both tests, raw and Holm's, said.
    """
    wanted = [
        (left, right)
        for left, right in combinations(groups, 2)
        if left.role == "searched" and (right.role == "searched" or right.beside == left.label)
    ]
    pairs = [_pair(left, right, goal, value) for left, right in wanted]
    for test in ("sign", "signed_rank"):
        tested = [pair for pair in pairs if pair[test] is not None]
        for pair, adjusted in zip(tested, holm([pair[test] for pair in tested]), strict=True):
            pair[f"{test}_holm"] = adjusted
    for pair in pairs:
        pair["said"] = _said(pair)
    return pairs


def _pair(left: Group, right: Group, goal: str, value: Callable[[Side], float | None]) -> dict[str, Any]:
    both = [(value(side), value(right.sides[seed])) for seed, side in left.sides.items() if seed in right.sides]
    raw = [mine - other for mine, other in both if mine is not None and other is not None]
    gains = [difference if goal == "max" else -difference for difference in raw]
    enough = len(raw) >= FEWEST
    return {
        "left": left.label,
        "right": right.label,
        "pairs": len(raw),
        "difference": median(raw) if raw else None,
        "wins": sum(gain > 0 for gain in gains),
        "losses": sum(gain < 0 for gain in gains),
        "ties": sum(gain == 0 for gain in gains),
        "sign": sign_test(gains) if enough else None,
        "signed_rank": signed_rank_test(gains) if enough else None,
        "sign_holm": None,
        "signed_rank_holm": None,
    }


def _said(pair: Mapping[str, Any]) -> str:
    if pair["signed_rank_holm"] is None:
        return f"too few pairs ({pair['pairs']}; it takes {FEWEST})"
    if pair["signed_rank_holm"] < 0.05:
        better = "left" if pair["wins"] > pair["losses"] else "right"
        agreed = pair["sign_holm"] < 0.05
        return f"{better} is better (p < 0.05)" if agreed else f"{better} is better by Wilcoxon's test only"
    return "no difference shown" + (" (5 pairs cannot go below p = 0.06)" if pair["pairs"] == FEWEST else "")
