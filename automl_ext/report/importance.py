"""Which decisions matter: permutation importance of a random forest, by slot, with its cross-validated R².

A report reads journals and not environments, so slots and encodings are rebuilt from the candidates alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_ext.report.display import count
from automl_ext.report.reading import Numbers, key
from automl_ext.searcher import stream

ENOUGH = 30
TRUST = 0.3
_MOST, _OPTIONS, _SLOTS, _FOLDS, _REPEATS, _TREES = 1_000, 12, 60, 5, 3, 60


@dataclass(frozen=True)
class Importance:
    """`slots`: (path, mean drop of R² when its values are shuffled, standard deviation over folds), largest first.

    r2: of held-out predictions, of the objective's ranks. reason: why there is nothing to show, else "".
    """

    slots: tuple[tuple[str, float, float], ...] = ()
    r2: float | None = None
    candidates: int = 0
    reason: str = ""


def importance(sample: Sequence[tuple[dict[str, Any], float]]) -> Importance:
    """Importance of each decision for the objective, from (candidate, value) pairs; equal candidates count once."""
    merged: dict[str, list[float]] = defaultdict(list)
    candidates: dict[str, dict[str, Any]] = {}
    for candidate, value in sample:
        name = key(candidate)
        candidates[name] = candidate
        merged[name].append(value)
    names = sorted(candidates)
    values = np.array([fmean(merged[name]) for name in names])
    if len(names) < ENOUGH:
        return Importance(
            candidates=len(names), reason=f"{count(len(names), 'different candidate')}; it takes {ENOUGH}."
        )
    if len(set(values.tolist())) < 3:
        return Importance(candidates=len(names), reason="Nearly all candidates have the same value.")
    chosen = stream(0, "importance sample").permutation(len(names))[:_MOST]
    matrix, slots = encode([candidates[names[index]] for index in chosen])
    if not slots:
        return Importance(candidates=len(chosen), reason="No decision differs between the candidates.")
    from scipy.stats import rankdata

    ranks = rankdata(values[chosen]) / len(chosen)
    r2, drops = _held_out(matrix, ranks, slots)
    if r2 < TRUST:
        return Importance((), r2, len(chosen))
    order = sorted(drops, key=lambda slot: -float(np.mean(drops[slot])))
    rows = tuple((slot, float(np.mean(drops[slot])), float(np.std(drops[slot]))) for slot in order)
    return Importance(rows, r2, len(chosen))


def encode(candidates: Sequence[dict[str, Any]]) -> tuple[Numbers, dict[str, list[int]]]:
    """(candidates, columns) and the columns of each slot that varies; at most 60 slots, those active most often.

    Numbers with many values stay numbers, with a column for silence; all else is one-hot over its frequent values.
    """
    active = Counter(path for candidate in candidates for path in candidate)
    columns: list[NDArray[np.float64]] = []
    slots: dict[str, list[int]] = {}
    for path, _ in active.most_common():
        made = _columns([candidate.get(path, _SILENT) for candidate in candidates])
        if made and len(slots) < _SLOTS:
            slots[path] = list(range(len(columns), len(columns) + len(made)))
            columns += made
    return (np.column_stack(columns) if columns else np.zeros((len(candidates), 0))), slots


_SILENT = object()


def _columns(values: Sequence[object]) -> list[Numbers]:
    """The columns of one slot, [] where it never varies."""
    spoken = [value for value in values if value is not _SILENT]
    silent = np.array([value is _SILENT for value in values])
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in spoken)
    columns: list[Numbers] = []
    if numeric and len({float(value) for value in spoken}) > 2:  # type: ignore[arg-type]
        middle = float(np.median(np.array(spoken, dtype=float)))
        columns.append(np.array([middle if value is _SILENT else float(value) for value in values]))  # type: ignore[arg-type]
        columns += [silent.astype(float)] if silent.any() else []
        return columns
    shown = [_SILENT if value is _SILENT else repr(value) for value in values]
    frequent = Counter(shown).most_common(_OPTIONS)
    if len(frequent) < 2:
        return []
    return [np.array([value == option for value in shown], dtype=float) for option, _ in frequent]


def _held_out(matrix: Numbers, target: Numbers, slots: dict[str, list[int]]) -> tuple[float, dict[str, list[float]]]:
    """Cross-validated R², and by slot the drop of R² in each fold when the slot's columns are shuffled together."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold

    draw, predicted = stream(0, "importance"), np.zeros_like(target)
    drops: dict[str, list[float]] = {slot: [] for slot in slots}
    for train, held in KFold(_FOLDS, shuffle=True, random_state=0).split(matrix):
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=0, n_jobs=1)
        forest.fit(matrix[train], target[train])
        predicted[held] = forest.predict(matrix[held])
        whole = r2_score(target[held], predicted[held])
        for slot, places in slots.items():
            shuffled = np.tile(matrix[held], (_REPEATS, 1))
            rows = np.concatenate([draw.permutation(len(held)) for _ in range(_REPEATS)])
            shuffled[:, places] = matrix[held][rows][:, places]
            answers = forest.predict(shuffled).reshape(_REPEATS, -1)
            drops[slot].append(float(np.mean([whole - r2_score(target[held], answer) for answer in answers])))
    return float(r2_score(target, predicted)), drops
