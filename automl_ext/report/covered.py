"""What a search's front covers beside its baselines', in numbers, in words and as a curve over the evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from automl_ext.fronts import Frame, frame, growth, nondominated
from automl_ext.report.display import column, count, text
from automl_ext.report.drawing import DASHES, MARKERS, SERIES, canvas, count_evaluations, inline, legend, named, thinned
from automl_ext.report.figures import Figure
from automl_ext.report.reading import Story


@dataclass(frozen=True)
class Covered:
    """size: different results that no other dominates. volume: their hypervolume."""

    size: int
    volume: float


def box_of(stories: Mapping[str, Story]) -> Frame | None:
    """The box of all stories together; None where fewer than two objectives are traded or nothing was found."""
    if any(len(story.traded) < 2 for story in stories.values()):
        return None
    return frame([story.cloud() for story in stories.values()])


def covered(stories: Mapping[str, Story]) -> dict[str, Covered]:
    """What each story's front covers of their common box, by name; {} where there is no front to speak of."""
    box = box_of(stories)
    if box is None:
        return {}
    found = {}
    for name, story in stories.items():
        cloud = story.cloud()
        found[name] = Covered(len(np.unique(cloud[nondominated(cloud)], axis=0)), box.hypervolume(cloud))
    return found


def words(story: Story, baselines: Mapping[str, Story]) -> str:
    """Such as "12 results are not dominated; hypervolume 0.66 (random 0.58)."; "" for one objective."""
    found = covered({"": story, **baselines})
    if not found:
        return ""
    shown, own = column("hypervolume", [each.volume for each in found.values()]), found.pop("")
    rivals = ", ".join(f"{text(name, 40)} {shown.number(each.volume)}" for name, each in found.items())
    size = f"{count(own.size, 'result')} of the search {'is' if own.size == 1 else 'are'} not dominated"
    return f"{size}; hypervolume {shown.number(own.volume)}" + (f" ({rivals})." if rivals else ".")


def growth_figure(story: Story, baselines: Mapping[str, Story], searcher: str) -> Figure | None:
    """Hypervolume of the front over the evaluations, the search against each baseline."""
    stories = {named(searcher): story}
    stories |= {named(f"{name} (baseline)"): part for name, part in list(baselines.items())[:6]}
    box, sizes = box_of(stories), covered(stories)
    if box is None:
        return None
    shown = column("hypervolume", [each.volume for each in sizes.values()])
    with canvas("growth") as (figure, axes):
        for index, (name, part) in enumerate(stories.items()):
            x, y = thinned(growth(part.costs(), box))
            line = {"color": SERIES[index], "linestyle": DASHES[index], "linewidth": 2.0, "label": name}
            axes.step(x, y, where="post", zorder=5 - index / 10, **line)
            axes.plot(x[-1:], y[-1:], MARKERS[index], color=SERIES[index], markersize=5, zorder=6)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("hypervolume so far")
        count_evaluations(axes)
        legend(axes, 2)
        said = ", ".join(f"{name} {shown.number(each.volume)}" for name, each in sizes.items())
        svg = inline(figure, "growth", f"Hypervolume of the front: {said}")
    at = ", ".join(
        f"{(metric := column(objective.name, [value])).label} {metric.quantity(value)}"
        for objective, value in zip(story.traded, _values(story, box), strict=True)
    )
    counts = ", ".join(f"{text(name, 40).strip()} {each.size:,}" for name, each in sizes.items())
    caption = f"Share of the box between the reference point ({at}) and the best values of all searches here that the "
    return Figure("Growth of the front", svg, f"{caption}front covers. Results not dominated: {counts}.")


def _values(story: Story, box: Frame) -> list[float]:
    """The reference point in the metrics' own units."""
    return [
        float(at if objective.goal == "min" else -at) for objective, at in zip(story.traded, box.reference, strict=True)
    ]
