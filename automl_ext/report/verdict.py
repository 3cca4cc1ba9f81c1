"""The verdict of a run in one sentence, and what its reader should be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from automl_ext.report.covered import words
from automl_ext.report.display import Column, column, cost, count, text
from automl_ext.report.reading import Story
from automl_ext.report.tables import Row, metric_order, test_metric

if TYPE_CHECKING:
    from automl_ext.config import Config

Standing = Literal["ahead", "level", "behind", "unknown"]
_SIDES: dict[Standing, str] = {"ahead": "Ahead of", "level": "Level with", "behind": "Behind"}


@dataclass(frozen=True)
class Verdict:
    """`sentence`: the result and who is ahead. `standing`: against the best baseline. `metric`: what was compared."""

    sentence: str
    standing: Standing = "unknown"
    metric: str | None = None


def judge(rows: Sequence[Row], story: Story, baselines: Mapping[str, Story]) -> Verdict:
    """What the table says about the chosen candidate, on test data where there is a test; honest when it loses."""
    chosen = next((row for row in rows if row.chosen), None)
    if chosen is None or not story.objectives:
        return Verdict(_nothing(story))
    tested = test_metric(story.primary, chosen.values)
    metric = tested if tested and all(tested in row.values for row in rows if row.values) else story.primary
    if chosen.mean(metric) is None:
        return Verdict(_nothing(story))
    shown = column(metric or "", [row.mean(metric) for row in rows])
    price = price_metric(rows, story)
    sides: dict[Standing, list[str]] = {standing: [] for standing in _SIDES}
    standings: list[Standing] = []
    for row in rows:
        if row.role == "searched" or row.mean(metric) is None:
            continue
        standing = compare(chosen, row, metric, story.objectives[0].goal)
        sides[standing].append(_rival(row, chosen, shown, price, story, baselines))
        if row.role == "baseline":
            standings.append(standing)
    sentence = f"The search found {shown.quantity(chosen.mean(metric))} {shown.label}{_price(chosen, rows, price)}"
    sentence += "." if any(sides.values()) else "; nothing stands beside it to compare."
    for standing, start in _SIDES.items():
        if sides[standing]:
            sentence += f" {start} {_listed(sides[standing])}."
    front = words(story, baselines)
    sentence += f" {front}" if front else ""
    unfavourable = [standing for standing in reversed(_SIDES) if standing in standings]
    return Verdict(sentence, unfavourable[0] if unfavourable else "unknown", metric)


def compare(left: Row, right: Row, metric: str | None, goal: str) -> Standing:
    """ahead or behind where `left` differs from `right` by more than either's spread over repeats, else level."""
    mine, other = left.mean(metric), right.mean(metric)
    if mine is None or other is None:
        return "unknown"
    noise = max(left.spread(metric) or 0.0, right.spread(metric) or 0.0)
    gain = (mine - other) if goal == "max" else (other - mine)
    if abs(gain) <= noise:
        return "level"
    return "ahead" if gain > 0 else "behind"


def price_metric(rows: Sequence[Row], story: Story) -> str | None:
    """What a candidate costs: the first further objective to minimise, else MACs, parameters, latency, ..."""
    names = metric_order(rows, story.objectives)
    for objective in story.objectives[1:]:
        if objective.goal == "min" and objective.name in names:
            return objective.name
    costs = [name for name in names if cost(name) is not None and name != story.primary]
    return min(costs, key=lambda name: (cost(name), name.startswith("test_")), default=None)


def warnings(
    config: Config, rows: Sequence[Row], story: Story, baselines: Mapping[str, Story], outcome: str
) -> list[str]:
    """Plain sentences on what weakens the result."""
    said: list[str] = []
    how = {"running": "is still running", "interrupted": "was interrupted", "killed": "ended without notice"}.get(
        outcome
    )
    if how:
        said.append(f"The run {how}: this is what {count(story.searched, 'trial')} of the search gave so far.")
    elif outcome.startswith("failed"):
        said.append(f"The run stopped with an error: {text(outcome.removeprefix('failed: '), 300)}")
    if story.searched and 0.1 * story.searched <= story.failed < story.searched:
        said.append(f"{story.failed:,} of {count(story.searched, 'search trial')} failed.")
    if story.whole:
        said += _comparison(rows, story, baselines)
        said += _limits(rows, story)
        said += _expected(config, rows)
    return said


def _comparison(rows: Sequence[Row], story: Story, baselines: Mapping[str, Story]) -> list[str]:
    said = []
    if not baselines:
        said.append("No baseline ran beside this search: it cannot be said whether it is better than chance.")
    for name, part in baselines.items():
        if part.searched != story.searched:
            said.append(
                f"Baseline {text(name, 60)} has {count(part.searched, 'trial')}, the search {story.searched:,}: "
                "not the same budget."
            )
    if not story.finals:
        said.append(
            f"No final stage: the values are the best of {count(story.searched, 'search evaluation')} and therefore "
            "optimistic."
        )
    elif all(row.repeats < 2 for row in rows):
        said.append("Each finalist was evaluated once: no spread is known, and small differences mean nothing.")
    return said


def _limits(rows: Sequence[Row], story: Story) -> list[str]:
    chosen = next((row for row in rows if row.chosen), None)
    said = []
    for objective in story.objectives:
        value = chosen.mean(objective.name) if chosen else None
        if value is not None and objective.violation({objective.name: value}) > 0:
            shown, word = column(objective.name, [value]), "most" if objective.goal == "min" else "least"
            limit = shown.quantity(objective.limit)
            said.append(f"The best candidate misses a limit: {shown.label} {shown.quantity(value)}, at {word} {limit}.")
    return said


def _expected(config: Config, rows: Sequence[Row]) -> list[str]:
    """Bounds of the config's `expect` that the chosen candidate misses."""
    chosen = next((row for row in rows if row.chosen), None)
    said = []
    for name, bounds in dict(config.expect or {}).items():
        value = chosen.mean(name) if chosen else None
        low, high = tuple(bounds)
        shown = column(name, [number for number in (value, low, high) if number is not None])
        span = f"between {_bound(shown, low, 'any')} and {_bound(shown, high, 'any')}"
        if value is None:
            said.append(f"The config expects {shown.label} {span}; there is no such metric.")
        elif (low is not None and value < low) or (high is not None and value > high):
            said.append(f"The config expects {shown.label} {span}; it is {shown.quantity(value)}.")
    return said


def _bound(shown: Column, value: float | None, nothing: str) -> str:
    return nothing if value is None else shown.quantity(value)


def _nothing(story: Story) -> str:
    if not story.searched:
        return "No trial has finished yet."
    if story.failed == story.searched:
        who = "The only trial" if story.searched == 1 else f"All {count(story.searched, 'trial')}"
        return f"{who} failed; there is no result."
    return f"No result among {count(story.searched, 'trial')}."


def _price(chosen: Row, rows: Sequence[Row], price: str | None) -> str:
    """Such as " at 50 % of the MACs of dense", " at 2.4 M MACs" or nothing."""
    value = chosen.mean(price)
    if price is None or value is None:
        return ""
    shown = column(price, [row.mean(price) for row in rows])
    references = [row for row in rows if row.role == "reference" and (row.mean(price) or 0) > 0]
    dearest = max(references, key=lambda row: row.mean(price) or 0, default=None)
    if dearest is not None and 0 <= value < 0.995 * (dearest.mean(price) or 0):
        share = 100 * value / (dearest.mean(price) or 1)
        return f" at {share:.3g} % of the {shown.label} of {text(dearest.name, 40)}"
    return f" at {shown.quantity(value)} {shown.label}"


def _rival(
    row: Row, chosen: Row, shown: Column, price: str | None, story: Story, baselines: Mapping[str, Story]
) -> str:
    """Such as "random at the same budget (95.8 %)", "dense (97.9 % at 2.0 times the MACs)"."""
    name, remark = text(row.name, 40), shown.quantity(row.mean(shown.name))
    if row.role == "baseline" and row.name in baselines:
        trials = baselines[row.name].searched
        name += " at the same budget" if trials == story.searched else f" with {count(trials, 'trial')}"
    mine, theirs = chosen.mean(price), row.mean(price)
    if price and mine and theirs and mine > 0 and abs(theirs / mine - 1) > 0.05:
        remark += f" at {theirs / mine:.2g} times the {column(price).label}"
    return f"{name} ({remark})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
