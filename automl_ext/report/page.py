"""The report's page: everything a run says about itself, gathered for one self-contained HTML file.

All text of a run is taken for hostile: the template escapes it, pictures stand behind <img>, where no script runs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl_ext.objective import Objective
from automl_ext.report import covered, figures
from automl_ext.report.display import NOTHING, column, count, duration, text
from automl_ext.report.importance import TRUST, Importance, importance
from automl_ext.report.reading import Story, outcome, read, wall_seconds
from automl_ext.report.tables import Row, cell, final_rows, metric_order, title
from automl_ext.report.verdict import judge, warnings

if TYPE_CHECKING:
    from automl_ext.run import Run

_ARXIV = re.compile(r"[a-z.-]{0,20}/?\d{4,7}(\.\d{4,5})?(v\d+)?")
_PICTURE_BYTES, _PICTURES_BYTES = 400_000, 2_400_000
_ROWS, _DECISIONS, _CONFIG, _LINES, _WORDS = 60, 300, 30_000, 40, 2_000


def render(run: Run) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    here = Path(__file__).parent
    loader = FileSystemLoader(here)
    jinja = Environment(autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    context = contents(run)
    context["figures"] = [
        {"heading": figure.heading, "svg": Markup(figure.svg), "caption": figure.caption}  # noqa: S704
        for figure in context["figures"]
    ]
    style = Markup((here / "page.css").read_text(encoding="utf-8"))  # noqa: S704
    return jinja.get_template("page.html.j2").render(**context, style=style)


def contents(run: Run) -> dict[str, Any]:
    """What the template shows, unescaped."""
    story, how = read(run), outcome(run)
    baselines = {name: read(part) for name, part in run.baselines.items()}
    rows = final_rows(story, baselines)
    verdict = judge(rows, story, baselines)
    found = importance(story.sample)
    drawn = [
        figures.progress(story, baselines, run.config.searcher.name),
        figures.finalists(rows, verdict.metric),
        *figures.trade_offs(story, baselines, rows),
        covered.growth_figure(story, baselines, run.config.searcher.name),
        figures.decisions(found),
    ]
    best = story.best()
    return {
        "name": text(run.config.name, 120),
        "seed": run.config.seed,
        "verdict": verdict,
        "status": _status(how),
        "facts": _facts(run, story),
        "warnings": warnings(run.config, rows, story, baselines, how),
        "table": _table(rows, story),
        "described": list(_described(run.folder / "finalists.json", rows)),
        "figures": [figure for figure in drawn if figure is not None],
        "doubt": _doubt(found, story),
        "best": None if best is None else {"number": best.number, "stage": best.stage},
        "decisions": [] if best is None else _decisions(best.candidate),
        "pictures": list(pictures(run.folder)),
        "artefacts": _artefacts(run.folder / "best"),
        "failures": _failures(story),
        "failed": story.failure_count,
        "paper": _paper(run),
        "config": text(run.config.to_yaml(), _CONFIG),
        "versions": [(text(name, 60), text(value, 160)) for name, value in _flat(run.manifest)],
    }


def pictures(folder: Path) -> Iterator[dict[str, str]]:
    """The SVG files below best/pictures and references, as data: addresses; files too large or linked are left out."""
    left, root = _PICTURES_BYTES, folder.resolve()
    for place in ("best/pictures", "references"):
        for path in sorted((folder / place).rglob("*.svg"))[:60]:
            if not path.is_file() or not path.resolve().is_relative_to(root / place):
                continue
            size = path.stat().st_size
            name = text(str(path.relative_to(folder / place).with_suffix("")), 80)
            caption = name if place == "references" else f"{name}, the best candidate"
            if size > _PICTURE_BYTES or size > left:
                yield {"caption": f"{caption}: {size:,} bytes, too large for this page", "address": ""}
                continue
            left -= size
            coded = base64.b64encode(path.read_bytes()).decode("ascii")
            yield {"caption": caption, "address": f"data:image/svg+xml;base64,{coded}"}


def _status(how: str) -> tuple[str, str]:
    """(word, kind) of the badge."""
    if how in ("running", "not started"):
        return how, "busy"
    if how == "finished":
        return how, "good"
    return {"interrupted": how, "killed": "ended without notice"}.get(how, "stopped by an error"), "poor"


def _facts(run: Run, story: Story) -> list[tuple[str, str]]:
    config = run.config
    planned = "" if config.trials is None or config.trials == story.searched else f" of {config.trials:,}"
    trials = f"{story.searched:,}{planned}"
    details = [(story.failed, "failed"), (story.origins["cached"], "from the cache"), (story.retried, "retried")]
    details.append((story.origins["stopped"], "stopped early"))
    trials += "".join(f", {number:,} {word}" for number, word in details if number)
    facts = [
        ("Environment", text(config.env.id, 80)),
        ("Searcher", text(config.searcher.name, 80)),
        ("Seed", str(config.seed)),
        ("Trials", trials),
        ("Evaluation time", duration(story.seconds)),
        ("Wall time", duration(wall_seconds(run))),
        ("Started", re.sub(r"T(\d\d:\d\d):\d\d\+00:00$", r" \1 UTC", text(run.manifest.get("created", NOTHING), 40))),
    ]
    goals = [_goal(objective) for objective in story.objectives]
    if config.reward is not None:
        weighed = ", ".join(_goal(objective) for objective in story.target)
        facts.append(("Reward", f"{text(config.reward.name, 60)} ({weighed})"))
    return [*facts, ("Objectives" if len(goals) > 1 else "Objective", ", ".join(goals) or NOTHING)]


def _goal(objective: Objective) -> str:
    """Such as "maximise accuracy", "minimise latency, at most 5 ms"."""
    shown = column(objective.name, [objective.limit])
    limit = f", at {'most' if objective.goal == 'min' else 'least'} {shown.quantity(objective.limit)}"
    return f"{objective.goal}imise {shown.label}{'' if objective.limit is None else limit}"


def _table(rows: Sequence[Row], story: Story) -> dict[str, Any] | None:
    """Headings and cells of the result table; the best value of each objective (and its test) is marked."""
    if not rows:
        return None
    names = metric_order(rows, story.objectives)
    columns = [column(name, [row.mean(name) for row in rows]) for name in names]
    goals = {prefix + objective.name: objective.goal for objective in story.objectives for prefix in ("", "test_")}
    lines = []
    for row in rows[:_ROWS]:
        cells = []
        for shown in columns:
            means = [value for other in rows if (value := other.mean(shown.name)) is not None]
            pick = {"max": max, "min": min}.get(goals.get(shown.name, ""))
            leads = bool(pick and len(means) > 1 and row.mean(shown.name) == pick(means))
            cells.append((cell(shown, row.mean(shown.name), row.spread(shown.name)), leads))
        remark = f"{row.failed} of {row.repeats} failed" if row.failed else ""
        line = {"title": title(row.role, row.name), "chosen": row.chosen, "on_front": row.on_front}
        lines.append({**line, "cells": cells, "remark": remark})
    repeats = max(row.repeats for row in rows)
    stage = text(rows[0].stage, 20)
    note = f"Values of stage {stage}, test metrics of the test stage."
    if stage == "search":
        note = "Values of the search itself: no final stage has finished."
    if repeats > 1:
        note += f" Mean of up to {repeats} repeats ± half of their range."
    more = f" {len(rows) - _ROWS} further rows are left out." if len(rows) > _ROWS else ""
    return {"headings": [shown.heading for shown in columns], "rows": lines, "note": note + more}


def _described(file: Path, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """(title, text) of the rows of the table that the environment has words for."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for row in rows[:_ROWS]:
        own = known.get(row.role) if isinstance(known, dict) else None
        words = own.get(row.name) if isinstance(own, dict) else None
        if words:
            yield title(row.role, row.name), text(words, _WORDS)


def _doubt(found: Importance, story: Story) -> str:
    """Why the figure of decision importance is missing, "" where it is there."""
    if found.slots:
        return ""
    if found.reason:
        return f"Not estimated: {found.reason}" if story.whole else ""
    return (
        "Not shown: a random forest explains the objective too poorly for its importances to be trusted "
        f"(R² {found.r2:.2f} on held-out candidates, {count(found.candidates, 'candidate')}; at least {TRUST} is asked "
        "for). The objective may be noisy, or depend on decisions jointly."
    )


def _decisions(candidate: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (text(path, 120), f"{value:.6g}" if isinstance(value, float) else text(value, 120))
        for path, value in list(candidate.items())[:_DECISIONS]
    ]
    more = len(candidate) - len(rows)
    return [*rows, (f"{more} more decisions", "…")] if more > 0 else rows


def _artefacts(folder: Path) -> list[str]:
    """Names of the files that the best candidate was exported to."""
    if not folder.is_dir():
        return []
    return [text(f"best/{path.name}", 120) for path in sorted(folder.iterdir()) if path.is_file()][:30]


def _failures(story: Story) -> list[dict[str, str]]:
    groups = sorted(story.failures.values(), key=lambda group: -group.count)
    rows = []
    for group in groups[:20]:
        failure = group.first.error
        if failure is not None:
            lines = text(failure.traceback, 6_000).strip().splitlines()
            rows.append({
                "kind": text(group.kind, 40),
                "count": f"{group.count:,}",
                "where": f"trial {group.first.number} ({text(group.first.stage, 20)})",
                "message": text(failure.message, 400),
                "traceback": "\n".join(text(line, 200) for line in lines[-_LINES:]),
            })  # fmt: skip
    return rows


def _paper(run: Run) -> dict[str, Any] | None:
    paper = run.config.paper
    if paper is None:
        return None
    authors = paper.authors if isinstance(paper.authors, str) else ", ".join(map(str, paper.authors or ()))
    arxiv = str(paper.arxiv or "")
    return {
        "title": text(paper.title, 300),
        "by": ", ".join(part for part in (text(authors, 300), str(paper.year or "")) if part),
        "arxiv": text(arxiv, 60),
        "link": f"https://arxiv.org/abs/{arxiv}" if _ARXIV.fullmatch(arxiv) else "",
        "deviations": [text(deviation, 600) for deviation in paper.deviations or ()],
    }


def _flat(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The manifest as (name, value) lines; what the head of the page shows is left out."""
    for name, value in list(manifest.items())[:100]:
        if isinstance(value, Mapping) and not prefix:
            yield from _flat(value, f"{name}: ")
        elif name not in ("objectives", "target_objectives", "created_s") and value is not None:
            yield prefix + str(name), value if isinstance(value, str) else json.dumps(value)
