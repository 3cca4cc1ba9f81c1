"""How rows decide a claim: each judge takes them by the label of their search, and says (holds, numbers)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, wilcoxon

from automl_ext import Objective
from automl_ext.fronts import hypervolumes
from automl_ext.significance import bootstrap_interval

Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""Label of a search -> its rows, by seed."""
Judge = Callable[[Rows], tuple[bool, str]]


def greater(differences: Sequence[float]) -> float:
    """One-sided p that differences of pairs are positive."""
    kept = [value for value in differences if value != 0]
    return float(wilcoxon(kept, alternative="greater").pvalue) if kept else 1.0


def measured(rows: Sequence[Row], of: Callable[[Row], float]) -> np.ndarray:
    return np.array([of(row) for row in rows], dtype=float)


def top(count: int) -> Callable[[Row], float]:
    """Mean of the best `count` trials."""
    return lambda row: float(np.mean(sorted(row["scores"])[-count:]))


def anytime(row: Row) -> float:
    """Mean over the second half of the best so far."""
    best = np.maximum.accumulate(row["scores"])
    return float(best[len(best) // 2 :].mean())


def first_at(row: Row, level: float) -> float:
    """How many trials until the score is `level`; one more than all where it never is."""
    reached = np.flatnonzero(np.array(row["scores"]) >= level)
    return float(reached[0] + 1 if len(reached) else len(row["scores"]) + 1)


def better(left: str, right: str, of: Callable[[Row], float], what: str) -> Judge:
    """`left` measures higher than `right`."""

    def judge(rows: Rows) -> tuple[bool, str]:
        one, two = measured(rows[left], of), measured(rows[right], of)
        p = greater(one - two)
        low, high = bootstrap_interval(list(one - two)) or (0.0, 0.0)
        said = f"{what}: {left} {one.mean():.3f}, {right} {two.mean():.3f}, difference {(one - two).mean():+.3f}"
        return p < 0.05, f"{said} ({low:+.3f} to {high:+.3f}), p = {p:.1g}"

    return judge


def both(*judges: Judge) -> Judge:
    def judge(rows: Rows) -> tuple[bool, str]:
        found = [each(rows) for each in judges]
        return all(holds for holds, _ in found), "; ".join(said for _, said in found)

    return judge


def rises(rows: Rows) -> tuple[bool, str]:
    """The last tenth against the first 60, which were drawn at random."""
    scores = [np.array(row["scores"]) for row in rows["q-learning"]]
    early, late = np.array([each[:60].mean() for each in scores]), np.array([each[-15:].mean() for each in scores])
    p = greater(late - early)
    return p < 0.05, f"mean of trials {early.mean():.3f} at ε = 1, {late.mean():.3f} of the last 15, p = {p:.1g}"


def widens(rows: Rows) -> tuple[bool, str]:
    """The lead in the mean of the best 15 so far, a third into the search and at its end."""
    leads = []
    for part in (3, 1):
        ends = [[float(np.mean(sorted(row["scores"][: len(row["scores"]) // part])[-15:])) for row in rows[label]]
                for label in ("reinforce", "random")]  # fmt: skip
        leads.append(np.array(ends[0]) - np.array(ends[1]))
    p = greater(leads[1] - leads[0])
    return p < 0.05, f"its lead {leads[0].mean():+.3f} after a third, {leads[1].mean():+.3f} at the end, p = {p:.1g}"


def earlier(rows: Rows) -> tuple[bool, str]:
    """Level: the median of the best that random search finds with as many trials."""
    level = float(np.median([max(row["scores"]) for row in rows["random"]]))
    evolution, learned = (
        measured(rows[label], lambda row: first_at(row, level)) for label in ("evolution", "reinforce")
    )
    p = greater(np.log(learned) - np.log(evolution))
    said = f"evaluations to what random search ends at, median: evolution {np.median(evolution):.0f}"
    return (
        p < 0.05,
        f"{said}, reinforce {np.median(learned):.0f}, random {len(rows['random'][0]['scores'])}, p = {p:.1g}",
    )


def smaller(rows: Rows) -> tuple[bool, str]:
    """The cost of the best found, of evolution against RL; only where costs are known."""
    if "costs" not in rows["evolution"][0]:
        return True, "sizes: no networks here"

    def cost(row: Row) -> float:
        return float(row["costs"][int(np.argmax(row["scores"]))])

    one, two = measured(rows["evolution"], cost), measured(rows["reinforce"], cost)
    p = greater(two - one)
    return p < 0.05, f"parameters of the best: evolution {one.mean():.2f} M, reinforce {two.mean():.2f} M, p = {p:.1g}"


def fewer(rows: Rows) -> tuple[bool, str]:
    """How many more evaluations random search takes to what PNAS has found at its end; censored at its end."""
    ratios = []
    for mine, random in zip(rows["progressive"], rows["random"], strict=True):
        level = max(mine["scores"])
        ratios.append(first_at(random, level) / first_at(mine, level))
    several = sum(ratio >= 3 for ratio in ratios)
    p = float(binomtest(several, len(ratios), 0.5, alternative="greater").pvalue)
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    said = f"random search takes {middle:.1f} ({low:.1f} to {high:.1f}) times the evaluations, at least 3 times"
    return p < 0.05, f"{said} in {several} of {len(ratios)} seeds, p = {p:.1g}"


def decoded(rows: Rows) -> tuple[bool, str]:
    """Round by round: the mean of the decoded ones against that of the ten they were climbed from."""
    gains, over_start = [], []
    for row in rows["nao"]:
        scores, rounds = np.array(row["scores"]), np.array(row["round"])
        for number in range(1, int(rounds.max()) + 1):
            seeds = np.sort(scores[rounds < number])[-10:]
            gains.append(float(scores[rounds == number].mean() - seeds.mean()))
            over_start.append(float(scores[rounds == number].mean() - scores[rounds == 0].mean()))
    p, against_all = greater(gains), greater(over_start)
    said = f"decoded less the ten climbed from {np.mean(gains):+.3f}, p = {p:.1g}"
    return p < 0.05, f"{said}; less the random start {np.mean(over_start):+.3f}, p = {against_all:.1g}"


def on_target(rows: Rows) -> tuple[bool, str]:
    """Cost in targets of the best by reward, beside that of the most accurate. The paper's own network is 4 % above."""

    def cost(row: Row) -> float:
        return float(row["costs"][int(np.argmax(row["scores"]))])

    found, free = measured(rows["rewarded"], cost), measured(rows["accuracy alone"], cost)
    met = int(((found >= 0.5) & (found <= 1.05)).sum())
    p = float(binomtest(met, len(found), 0.5, alternative="greater").pvalue)
    less = greater(free - found)
    said = f"cost of the best {found.mean():.2f} targets, 0.5 to 1.05 in {met} of {len(found)}, p = {p:.1g}"
    return max(p, less) < 0.05, f"{said}; of the most accurate {free.mean():.2f}, p = {less:.1g}"


def dominates(rows: Rows) -> tuple[bool, str]:
    """Hypervolume of all trials, in the box of both."""
    goals = (Objective("score"), Objective("cost", "min"))
    pairs = [
        hypervolumes([np.array(one["points"]), np.array(two["points"])], goals)
        for one, two in zip(rows["nsga2"], rows["random"], strict=True)
    ]
    mine, other = np.array(pairs).T
    p = greater(mine - other)
    return p < 0.05, f"hypervolume: nsga2 {mine.mean():.3f}, random {other.mean():.3f}, p = {p:.1g}"


def saves(rows: Rows) -> tuple[bool, str]:
    (found,) = rows.values()
    saved, lost = measured(found, lambda row: row["saved"]), measured(found, lambda row: row["best"] - row["kept"])
    low, high = bootstrap_interval(list(saved)) or (0.0, 0.0)
    said = (
        f"{saved.mean():.0%} of the epochs saved ({low:.0%} to {high:.0%}); accuracy lost {lost.mean():.4f} in the mean"
    )
    return bool(saved.mean() >= 0.4 and lost.max() <= 0.01), f"{said}, {lost.max():.4f} at most"
