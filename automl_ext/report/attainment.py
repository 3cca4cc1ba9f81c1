"""Fronts of groups of runs in one pair of axes: what half of the runs attain, and the middle half of them.

A place is attained by a run that has a candidate as good in both objectives. The line bounds what at least half of a
group's runs attain, the shaded band lies between what a quarter and what three quarters of them attain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from automl_ext.fronts import attainment, nondominated
from automl_ext.objective import Objective
from automl_ext.report.display import column
from automl_ext.report.drawing import DASHES, MARKERS, SERIES
from automl_ext.report.reading import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Clouds = Mapping[str, Sequence[Numbers]]
"""Label of a group -> one cloud of costs, (n, 2), a run."""


def draw_attainment(axes: Axes, groups: Clouds, objectives: Sequence[Objective]) -> None:
    """The second objective to the right, the first one upwards; groups in the order of the house colours."""
    fronts = {label: [_front(cloud) for cloud in clouds] for label, clouds in groups.items()}
    whole = np.concatenate([front for each in fronts.values() for front in each])
    room = np.where(np.ptp(whole, axis=0) > 0, np.ptp(whole, axis=0), np.maximum(np.abs(whole[0]), 1.0)) * 0.06
    best, edge = whole.min(axis=0) - room, whole.max(axis=0) + room
    signs = np.array([1.0 if objective.goal == "min" else -1.0 for objective in objectives])
    columns = [column(objective.name, signs[k] * whole[:, k]) for k, objective in enumerate(objectives)]
    scale = signs * np.array([shown.factor for shown in columns])
    for index, each in enumerate(fronts.values()):
        look = SERIES[index % len(SERIES)]
        levels = {percent: outline(attainment(each, percent), edge) * scale for percent in (25, 50, 75)}
        if len(each) > 1:
            band = np.concatenate([levels[25], levels[75][::-1]])
            axes.fill(band[:, 1], band[:, 0], color=look, alpha=0.15, linewidth=0)
        middle = levels[50]
        axes.plot(middle[:, 1], middle[:, 0], color=look, linestyle=DASHES[index % len(DASHES)], linewidth=2, zorder=5)
        for front in each:
            points = front * scale
            dots: Any = {"color": look, "alpha": 0.45, "markersize": 2.8, "markeredgewidth": 0}
            axes.plot(points[:, 1], points[:, 0], MARKERS[index % len(MARKERS)], **dots)
    for name, axis, limit in (("y", 0, axes.set_ylim), ("x", 1, axes.set_xlim)):
        limit(*sorted((best[axis] * scale[axis], edge[axis] * scale[axis])))
        way = "higher" if objectives[axis].goal == "max" else "lower"
        axes.set(**{f"{name}label": f"{columns[axis].heading}, {way} is better"})
    axes.set_title("Fronts: attained by half of the runs, by 25 to 75 % shaded", loc="left", fontsize=9)


def outline(corners: Numbers, edge: Numbers) -> Numbers:
    """(m, 2) the line around what corners of costs attain, from the worst second cost to the worst first cost."""
    if not len(corners):
        return edge[None, :]
    firsts = np.repeat(corners[:, 0], 2)
    seconds = np.concatenate([[edge[1]], np.repeat(corners[:, 1], 2)[:-1]])
    line = np.column_stack([firsts, seconds])
    return np.concatenate([line, [[edge[0], corners[-1, 1]]]])


def _front(cloud: Numbers) -> Numbers:
    """(n, 2) what nothing dominates in one run's cloud, by the first cost."""
    front = cloud[nondominated(cloud)]
    return np.asarray(front[np.argsort(front[:, 0], kind="stable")])
