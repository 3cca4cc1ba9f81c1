"""What the sub-policies of a policy do to real images, at growing strength, as one SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from automl_ext.tasks.augmentation.apply import Applier, Ground, Images
from automl_ext.tasks.augmentation.encoding import end_of
from automl_ext.tasks.augmentation.operations import OPERATIONS, RangeSet
from automl_ext.tasks.augmentation.picture import Cell, Line, write
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, SubPolicy, described

from automl_ext.data import Split

__all__ = ["Row", "draw", "examples", "rows"]

MOST_ROWS = 10
SHARES = {"a third": 1 / 3, "two thirds": 2 / 3, "the full range": 1.0}
EXAMPLES = 10
MOST_BYTES = 300_000
SIZES = ((2, 48), (1, 48), (1, 32), (1, 16), (1, 8))
"""(images a cell, pixels of their longer side at most), the next one where a picture gets too large."""


@dataclass(frozen=True)
class Row:
    """label: in words. chance: how often an image draws it, on average over a training. found: whether its values are
    those of the policy; else they stand for many."""

    label: str
    chance: float
    steps: SubPolicy
    found: bool = True


def rows(schedule: Sequence[Policy]) -> list[Row]:
    """The sub-policies of all policies, the likeliest first, those alike as in the policy; equal ones once.

    Where each is a single operation that always happens (RandAugment, TrivialAugment), a row an operation.
    """
    chances: dict[SubPolicy, float] = {}
    for policy in schedule:
        for stage in policy.stages:
            weights = stage.weights or (1 / len(stage.choices),) * len(stage.choices)
            for choice, weight in zip(stage.choices, weights, strict=True):
                steps = tuple(step for step in choice if step.probability and step.operation in OPERATIONS)
                chances[steps] = chances.get(steps, 0.0) + weight / len(schedule)
    alone = all(len(steps) <= 1 and all(step.probability == 1 for step in steps) for steps in chances)
    if alone:
        return _by_operation(chances)
    found = [Row(described(steps), chance, steps) for steps, chance in chances.items() if not _idle(steps) and chance]
    return sorted(found, key=lambda row: -round(row.chance, 9))


def draw(
    schedule: Sequence[Policy], images: Images, ground: Ground, ranges: RangeSet, file: Path, remark: str = ""
) -> None:
    """Rows of sub-policies into `file` (SVG, no outside assets, at most `MOST_BYTES` where images allow it).

    images: (n, h, w, c) uint8 to show, a few of them a row. ranges: what a full range is. remark: last in the caption.
    Every operation happens, and signs and places are the same along a row.
    """
    every = rows(schedule)
    single = all(len(row.steps) == 1 for row in every)
    shown = every if single else every[:MOST_ROWS]
    found = any(row.found and _graded(row.steps) for row in shown)
    headings = ["original", *(["as found"] if found else []), *SHARES] if shown else ["original"]
    caption = _caption(len(shown), len(every), found, remark)
    for count, side in SIZES:
        lines = [_line(row, index, images, ground, ranges, count, found) for index, row in enumerate(shown)]
        size = write(headings, lines or [_originals(images, count)], caption, side, file)
        if size <= MOST_BYTES:
            break


def examples(split: Split, most: int = EXAMPLES) -> Images:
    """(n, h, w, c) the first image of each of up to `most` classes; the first images where there are masks."""
    places = np.arange(len(split))[:most]
    if split.label.ndim == 1:
        _, firsts = np.unique(split.label.numpy(), return_index=True)
        places = firsts[:most]
    return np.ascontiguousarray(split.image[places].permute(0, 2, 3, 1).numpy())


def at_share(step: Step, share: float, ranges: RangeSet) -> Step:
    """The step, always, at a share of the way from doing nothing to the end of the range on its own side."""
    if step.value is None:
        return replace(step, probability=1.0)
    neutral = OPERATIONS[step.operation].neutral or 0.0
    value = neutral + share * (end_of(step, ranges) - neutral)
    return replace(step, probability=1.0, value=float(round(value)) if step.operation == "Posterize" else value)


def _by_operation(chances: dict[SubPolicy, float]) -> list[Row]:
    """In the order of the table; one at many values stands at the strongest of them."""
    found = []
    for name in OPERATIONS:
        same = {steps: chance for steps, chance in chances.items() if steps and steps[0].operation == name and chance}
        values = [steps[0].value for steps in same if steps[0].value is not None]
        label = f"{name} {min(values):.3g} to {max(values):.3g}" if len(values) > 1 else name
        if same and not all(map(_idle, same)):
            steps = max(same, key=_reach)
            words = label if len(values) > 1 else described(steps)
            found.append(Row(words, sum(same.values()), steps, len(values) <= 1))
    return found


def _idle(steps: SubPolicy) -> bool:
    return all(step.idle for step in steps)


def _graded(steps: SubPolicy) -> bool:
    return any(step.value is not None for step in steps)


def _reach(steps: SubPolicy) -> float:
    """How far the first step is from doing nothing, in its unit."""
    value, neutral = steps[0].value, OPERATIONS[steps[0].operation].neutral
    return 0.0 if value is None else abs(value - (neutral or 0.0))


def _line(
    row: Row, index: int, images: Images, ground: Ground, ranges: RangeSet, count: int, found: bool
) -> Line:  # fmt: skip
    """The row as cells. found: whether there is a column of values as found."""
    chosen = images[[(index * count + place) % len(images) for place in range(count)]]
    cells: list[Cell | None] = [Cell(chosen)]
    steps = tuple(step for step in row.steps if not step.idle)
    if found:
        own = tuple(replace(step, probability=1.0) for step in steps)
        cells.append(Cell(_made(own, chosen, ground, index), _values(own), marked=True) if row.found else None)
    for share in SHARES.values():
        scaled = tuple(at_share(step, share, ranges) for step in steps)
        cells.append(Cell(_made(scaled, chosen, ground, index), _values(scaled)))
    return Line(row.label, f"{float(f'{100 * row.chance:.2g}'):g} per 100 images", cells)


def _originals(images: Images, count: int) -> Line:
    return Line("nothing is changed", "", [Cell(images[:count])])


def _made(steps: SubPolicy, images: Images, ground: Ground, seed: int) -> Images:
    """The same seed draws the same signs and places, whatever the values."""
    applier = Applier(Policy((Stage((steps,)),)), ground)
    return applier(images, np.random.default_rng(seed))[0]


def _values(steps: SubPolicy) -> str:
    return ", ".join("-" if step.value is None else f"{step.value:.3g}" for step in steps) if _graded(steps) else ""


def _caption(shown: int, every: int, found: bool, remark: str) -> str:
    if not every:
        return remark
    parts = ["Every operation happens here, whatever its probability, so that its effect is seen."]
    own = "As found: the policy's own values. The other columns go" if found else "The columns go"
    parts.append(f"{own} from no effect to the end of the range, all operations of a row alike; values below images.")
    if every > shown:
        parts.append(f"{every - shown} more sub-policies are not shown.")
    return " ".join([*parts, remark]).strip()
