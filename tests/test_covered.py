"""What a report, a status line and the end of a run say about a front: numbers against areas by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from automl_ext.config import Config
from automl_ext.journal import encode
from automl_ext.objective import Objective
from automl_ext.outcome import standing, standing_row, summary
from automl_ext.report import write_report
from automl_ext.report.covered import Covered, covered, growth_figure, words
from automl_ext.report.page import contents
from automl_ext.report.reading import read, tell
from automl_ext.report.tables import final_rows
from automl_ext.run import Run
from automl_ext.searcher import Failure, Trial

TWO = (Objective("accuracy"), Objective("latency_ms", "min"))
SQUARE = [(0.9, 3.0), (0.5, 1.0), (0.5, 1.0), (0.4, 2.0), None]
"""Accuracy and latency: two different results that nothing dominates, one of them twice; one dominated, one failed."""


def trials(points, stage="search", start=0, **note):
    made = []
    for number, point in enumerate(points, start):
        metrics = None if point is None else {"accuracy": point[0], "latency_ms": point[1], "size": 1.0}
        error = None if metrics else Failure("exception", "no")
        made.append(Trial(number, stage, {"x": number}, note, None, 0, None, metrics, error=error))
    return made


def make_run(folder, journal, /, objectives=TWO, baselines=None, target=None, **config):
    fields = {"env": "a/B-v0", "searcher": "random", "name": "front", "trials": len(journal), **config}
    run = Run.create(Config.from_dict(fields), out=folder)
    rows = [vars(objective) for objective in target or objectives]
    run.describe(outcome="finished", objectives=[vars(o) for o in objectives], target_objectives=rows)
    (run.folder / "trials.jsonl").write_bytes(b"".join(encode(trial) for trial in journal))
    for name, theirs in (baselines or {}).items():
        part = run.part(name, run.config)
        part.describe(objectives=[vars(o) for o in objectives], target_objectives=rows)
        (part.folder / "trials.jsonl").write_bytes(b"".join(encode(trial) for trial in theirs))
        part.close()
    run.close()
    return Run.open(run.folder)


def test_a_front_by_hand():
    """The box from (0.9, 1) to (0.46, 3.2); its dominated part are two rectangles that overlap."""
    story = tell(trials(SQUARE), TWO)
    width, height = 0.44, 2.2
    area = width * 0.2 + 0.04 * height - 0.04 * 0.2
    assert covered({"it": story}) == {"it": Covered(2, pytest.approx(area / (width * height)))}
    assert story.cloud().shape == (4, 2) and story.costs().shape == (5, 2)
    assert words(story, {}) == "2 results of the search are not dominated; hypervolume 0.174."


def test_one_objective_and_constraints_have_no_front():
    limited = (TWO[0], Objective("latency_ms", "min", limit=5.0))
    for objectives in (TWO[:1], limited, ()):
        story = tell(trials(SQUARE), objectives)
        assert covered({"": story}) == {} and words(story, {}) == "" and growth_figure(story, {}, "random") is None
    assert covered({"": tell(trials([None]), TWO)}) == {}


def test_what_misses_a_limit_covers_nothing():
    three = (*TWO, Objective("size", "min", limit=0.5))
    assert covered({"": tell(trials(SQUARE), three)}) == {}


def test_results_of_smaller_budgets_do_not_count():
    """Whatever a short training promised, and wherever it stands in the journal."""
    journal = [replace(trial, budget=1.0 if trial.number % 2 else 9.0) for trial in trials(SQUARE)]
    story = tell([journal[1], journal[0], *journal[2:]], TWO)
    assert story.counts().tolist() == [True, False, True, False, False]
    assert story.cloud().tolist() == [[-0.9, 3.0], [-0.5, 1.0]]
    lone = tell([replace(journal[0], budget=1.0), *journal[1:2], replace(journal[2], budget=9.0)], TWO[:1])
    assert lone.best_so_far()[-1] == 0.5 and lone.best().number == 2
    assert tell([], TWO).counts().tolist() == []


@pytest.mark.slow
def test_status_report_and_end_tell_of_the_front(tmp_path):
    run = make_run(tmp_path, trials(SQUARE), baselines={"grid": trials([(0.3, 4.0)])})
    facts = standing(run)
    assert facts["front"]["size"] == 2 and standing_row(facts)[5] == "accuracy 90.0 %, front of 2"
    said = "2 results of the search are not dominated; hypervolume 0.174 (grid 0.000)."
    assert summary(run)["front"]["said"] == said
    page = contents(run)
    assert page["verdict"].sentence.endswith(said)
    growth = next(figure for figure in page["figures"] if figure.heading == "Growth of the front")
    assert "accuracy 46.0 %, latency 3.20 ms" in growth.caption and "random 2, grid (baseline) 1" in growth.caption
    alone = make_run(tmp_path, trials(SQUARE), TWO[:1])
    assert standing(alone)["front"] is None and standing_row(standing(alone))[5] == "accuracy 90.0 %"


@pytest.mark.slow
def test_finalists_on_the_front_are_marked(tmp_path):
    finals = [
        *trials([(0.9, 3.0)], "final-1", 2, role="searched", name="trial-0", repeat=0),
        *trials([(0.5, 1.0)], "final-1", 3, role="searched", name="trial-1", repeat=0),
        *trials([(0.4, 2.0)], "final-1", 4, role="reference", name="dense", repeat=0),
    ]
    run = make_run(tmp_path, [*trials(SQUARE[:2]), *finals])
    assert [row.on_front for row in final_rows(read(run), {})] == [True, True, False]
    assert write_report(run).read_text().count("on the front") == 2
    alone = make_run(tmp_path, [*trials(SQUARE[:2]), *finals], TWO[:1])
    assert not any(row.on_front for row in final_rows(read(alone), {}))


@pytest.mark.slow
def test_three_objectives_are_shown_in_two_figures_with_references(tmp_path):
    three = (*TWO, Objective("macs_m", "min"))
    journal = [
        *trials(SQUARE[:4]),
        *trials([(0.9, 3.0)], "final-1", 4, role="searched", name="trial-0", repeat=0),
        *trials([(0.95, 5.0)], "final-1", 5, role="reference", name="dense", repeat=0),
    ]
    for place, one in enumerate(journal):
        one.metrics["macs_m"] = 1.0 + place
    drawn = contents(make_run(tmp_path, journal, three))["figures"]
    figures = {figure.heading: figure.svg for figure in drawn}
    first, second = figures["Trade-off"], figures["Trade-off with MACs"]
    assert "latency (ms)" in first and "MACs (M)" in second and "MACs" not in first
    assert all(">dense<" in svg.replace(" ", "").replace("\n", "") for svg in (first, second))
    ids = [name for svg in (first, second) for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_a_rewarded_run_shows_the_front_behind_the_reward(tmp_path):
    reward = {"name": "weighted-sum", "weights": {"accuracy": 1.0}}
    journal = trials(SQUARE)
    for trial in journal[:4]:
        trial.metrics["reward"] = trial.metrics["accuracy"]
    run = make_run(tmp_path, journal, (Objective("reward"),), target=TWO, reward=reward)
    page = contents(run)
    assert ("Reward", "weighted-sum (maximise accuracy, minimise latency)") in page["facts"]
    assert "2 results of the search are not dominated" in page["verdict"].sentence
    drawn = {figure.heading: figure for figure in page["figures"]}
    assert "latency (ms)" in drawn["Trade-off"].svg and "accuracy" in drawn["Trade-off"].svg
    assert "best reward so far" in drawn["Progress of the search"].svg
    limit = (Objective("accuracy"), Objective("latency_ms", "min", limit=2.5))
    facts = contents(make_run(tmp_path, journal, limit))["facts"]
    assert ("Objectives", "maximise accuracy, minimise latency, at most 2.50 ms") in facts
