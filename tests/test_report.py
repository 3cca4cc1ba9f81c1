"""The report: numbers against sums done by hand, hostile text, every state a run can be in, big journals."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_ext.config import Config
from automl_ext.journal import encode
from automl_ext.objective import Objective, front
from automl_ext.report import figures, final_table, printable, write_report
from automl_ext.report.display import column, duration, text
from automl_ext.report.drawing import thinned
from automl_ext.report.importance import TRUST, importance
from automl_ext.report.importance import encode as encode_candidates
from automl_ext.report.page import contents, pictures
from automl_ext.report.reading import tell
from automl_ext.run import Run
from automl_ext.searcher import Failure, Trial

ACCURACY = (Objective("accuracy"),)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$\\frac{${{7*7}}\x00\u202e"


def trial(number, metrics=None, candidate=None, stage="search", note=None, **fields):
    """A finished trial; without metrics a failed one."""
    error = (
        None if metrics is not None else fields.pop("error", Failure("exception", "ValueError: too wide", "at line 3"))
    )
    seed = fields.pop("seed", 0)
    return Trial(
        number, stage, candidate or {"width": number}, note or {}, None, seed, None, metrics, error=error, **fields
    )


def make_run(folder, trials, /, objectives=ACCURACY, outcome="finished", baselines=None, **config):
    """A run folder as a search leaves it."""
    fields = {"env": "automl_ext/Pruning-v0", "searcher": "ddpg", "name": "quick", "trials": 100, **config}
    run = Run.create(Config.from_dict(fields), out=folder)
    run.describe(
        outcome=outcome, **({"objectives": [vars(objective) for objective in objectives]} if objectives else {})
    )
    (run.folder / "trials.jsonl").write_bytes(b"".join(encode(trial) for trial in trials))
    for name, theirs in (baselines or {}).items():
        part = run.part(name, run.config)
        (part.folder / "trials.jsonl").write_bytes(b"".join(encode(trial) for trial in theirs))
        part.close()
    run.close()
    return Run.open(run.folder)


def finals(start, values, stage="final-1", test=True):
    """Final and test trials of {(role, name): [accuracy of each repeat]}; the test is 0.01 lower."""
    rows = [(role, name, repeat, value) for (role, name), all_ in values.items() for repeat, value in enumerate(all_)]
    made = []
    for role, name, repeat, value in rows:
        note = {"role": role, "name": name, "repeat": repeat}
        macs = 4.0 if name == "dense" else 2.0
        metrics = None if value is None else {"macs_m": macs, "accuracy_untuned": value - 0.1, "accuracy": value}
        made.append(trial(start + len(made), metrics, stage=stage, note=note))
    if test:
        for one in [one for one in made if one.metrics]:
            tested = {"test_accuracy": one.metrics["accuracy"] - 0.01, "test_macs_m": one.metrics["macs_m"]}
            made.append(trial(start + len(made), tested, stage="test", note=one.note))
    return made


def search_trials(count, best=0.9):
    return [trial(i, {"accuracy": best * (i + 1) / count, "macs_m": 2.0}) for i in range(count)]


PRUNING = {
    ("searched", "trial-9"): [0.95, 0.97],
    ("searched", "trial-8"): [0.94, 0.94],
    ("reference", "uniform"): [0.90, 0.92],
    ("reference", "dense"): [0.98, 0.98],
    ("baseline", "random"): [0.93, 0.935],
}


@pytest.fixture
def pruning(tmp_path):
    trials = search_trials(10) + finals(10, PRUNING)
    return make_run(tmp_path, trials, baselines={"random": search_trials(10, 0.8)}, trials=10, paper={
        "title": "AMC", "authors": "He et al.", "year": 2018, "arxiv": "1802.03494", "deviations": ["8 layers <only>"],
    })  # fmt: skip


# ---------------------------------------------------------------- the table that ends a run


def test_costs_are_drawn_once_each_macs_before_parameters_before_latency():
    values = {"accuracy": [0.1, 0.2], "latency_ms": [3.0, 1.0], "params_k": [1.0, 2.0], "macs_m": [1.0, 3.0],
              "macs_kept": [0.5, 0.6], "params_kept": [0.5, 0.5], "size": [1.0, 2.0]}  # fmt: skip
    objective = Objective("accuracy")
    story = SimpleNamespace(
        traded=[objective], objectives=[objective], values=values, column=lambda name: np.array(values[name])
    )
    assert [x for x, _ in figures._pairs(story)] == ["macs_m", "params_k", "latency_ms"]


def test_final_table_joins_the_last_stage_with_the_test(pruning):
    table = final_table(pruning)
    assert [(row["role"], row["name"]) for row in table] == [
        ("searched", "trial-9"), ("searched", "trial-8"), ("baseline", "random"),
        ("reference", "uniform"), ("reference", "dense"),
    ]  # fmt: skip
    first = table[0]
    assert list(first)[:4] == ["role", "name", "stage", "repeats"]
    assert list(first)[4:] == ["accuracy", "accuracy_untuned", "test_accuracy", "macs_m", "spread"]
    assert first["repeats"] == 2 and first["stage"] == "final-1"
    assert first["accuracy"] == pytest.approx(0.96) and first["spread"]["accuracy"] == pytest.approx(0.01)
    assert first["test_accuracy"] == pytest.approx(0.95) and first["accuracy_untuned"] == pytest.approx(0.86)
    assert table[4]["macs_m"] == 4.0 and table[2]["spread"]["accuracy"] == pytest.approx(0.0025)


def test_final_table_takes_the_last_stage_only_and_keeps_failed_finalists(tmp_path):
    early = finals(3, {("searched", "trial-2"): [0.5], ("reference", "dense"): [0.6]}, "final-9", test=False)
    last = {("searched", "trial-2"): [0.7, None], ("reference", "dense"): [None, None]}
    run = make_run(tmp_path, search_trials(3) + early + finals(5, last, "final-10"))
    searched, dense = final_table(run)
    assert searched["accuracy"] == 0.7 and searched["repeats"] == 2 and "accuracy" not in searched["spread"]
    assert dense["accuracy"] is None and dense["test_accuracy"] is None
    assert "2 of 2 failed" in write_report(run).read_text()


def test_final_table_without_final_stage_is_the_search_itself(tmp_path):
    run = make_run(tmp_path, search_trials(4), baselines={"random": search_trials(4, 0.8)})
    assert [(row["name"], row["stage"], row["accuracy"]) for row in final_table(run)] == [
        ("trial-3", "search", 0.9), ("random", "search", 0.8),
    ]  # fmt: skip
    assert final_table(make_run(tmp_path, [])) == []
    assert printable([]) == ([""], [])
    row = {"role": "searched", "name": "a", "stage": "final-1", "repeats": 1, "accuracy": 0.5, "spread": {}}
    beside = {"seconds_prune": 1.0, "latency_iqr_ms": 0.1, "test_latency_iqr_ms": 0.1}
    assert printable([row | beside]) == printable([row])


def test_printable_shows_units_percent_and_spread(pruning):
    headings, lines = printable(final_table(pruning))
    assert headings == ["", "accuracy (%)", "accuracy untuned (%)", "test accuracy (%)", "MACs (M)"]
    assert lines[0][:2] == ["searched (trial-9)", "96.0 ± 1.0"]
    assert lines[4][0] == "dense (reference)" and lines[4][4] == "4"


# ---------------------------------------------------------------- the verdict and the warnings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("baseline", "words", "standing"),
    [
        ([0.93, 0.932], "Ahead of random at the same budget (92.1 %)", "ahead"),
        ([0.955, 0.965], "Level with random at the same budget", "level"),
        ([0.99, 0.99], "Behind random at the same budget (98.0 %)", "behind"),
    ],
)
def test_the_verdict_is_honest(tmp_path, baseline, words, standing):
    values = PRUNING | {("baseline", "random"): baseline}
    run = make_run(tmp_path, search_trials(10) + finals(10, values), baselines={"random": search_trials(10)}, trials=10)
    verdict = contents(run)["verdict"]
    assert verdict.standing == standing and verdict.metric == "test_accuracy"
    assert words in verdict.sentence
    assert "found 95.0 % test accuracy at 50 % of the MACs of dense" in verdict.sentence
    assert "dense (97.0 % at 2 times the MACs)" in verdict.sentence


def test_a_loss_to_minimise_is_judged_downwards(tmp_path):
    loss = (Objective("loss", "min"),)
    mine, theirs = [trial(0, {"loss": 0.5})], [trial(0, {"loss": 0.4})]
    page = contents(make_run(tmp_path, mine, loss, baselines={"random": theirs}))
    assert page["verdict"].standing == "behind" and "random at the same budget (0.4" in page["verdict"].sentence


def test_warnings_name_what_weakens_the_result(tmp_path):
    limited = (Objective("accuracy"), Objective("macs_m", "min", limit=1.0))
    trials = [trial(0, {"accuracy": 0.5, "macs_m": 2.0}), trial(1)]
    expect = {"accuracy": [0.9, 1.0]}
    run = make_run(tmp_path, trials, limited, "interrupted", {"random": trials * 0}, trials=9, expect=expect)
    said = " ".join(contents(run)["warnings"])
    for words in ("was interrupted", "1 of 2 search trials failed", "misses a limit: MACs 2 M, at most 1 M",
                  "expects accuracy between 90.0 % and 100.0 %; it is 50.0 %", "Baseline random has 0 trials",
                  "No final stage"):  # fmt: skip
        assert words in said
    assert "No baseline" in " ".join(contents(make_run(tmp_path, trials[:1]))["warnings"])
    assert contents(make_run(tmp_path, []))["warnings"] == []


# ---------------------------------------------------------------- the page


class Page(HTMLParser):
    """Collects tags, attributes and text; fails on anything that could run or load."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.sources, self.links, self.words = set(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            if name == "src":
                self.sources.append(value)
            if name in ("href", "xlink:href", "action", "data"):
                self.links.append(value)
            assert name != "style" or "url(" not in re.sub(r"url\(#[\w-]+\)", "", value)

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def check_page(html):
    page = Page(html)
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base", "link", "foreignobject"}
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert all(link.startswith(("#", "https://arxiv.org/abs/")) for link in page.links)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    assert len(html.encode()) < 5_000_000
    return page


@pytest.mark.slow
def test_the_page_says_it_all(pruning):
    (pruning.folder / "best" / "pictures").mkdir(parents=True)
    (pruning.folder / "best" / "model.py").write_text("")
    (pruning.folder / "best" / "pictures" / "channels.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    path = write_report(pruning)
    assert path == pruning.folder / "report.html"
    html = path.read_text()
    page = check_page(html)
    for words in ("quick", "automl_ext/Pruning-v0", "ddpg", "95.0 %", "searched (trial-9)", "random (baseline)",
                  "Progress of the search", "Finalists beside", "He et al., 2018", "8 layers <only>", "best/model.py",
                  "channels, the best candidate", "MACs (M)", "name: quick", "versions: torch"):  # fmt: skip
        assert words in page.text or words in html, words
    assert page.links.count("https://arxiv.org/abs/1802.03494") == 1 and len(page.sources) == 1
    assert write_report(pruning, pruning.folder / "elsewhere").read_text() == html


@pytest.mark.slow
def test_hostile_text_stays_text(tmp_path):
    failure = Failure(EVIL, EVIL, EVIL * 50)
    trials = []
    for i in range(60):
        candidate = {EVIL: EVIL, "x": i, "y": [EVIL, "b"][i % 2]}
        metrics = {"accuracy": i / 60, EVIL: 1.0 + i, "lat_ms": 60.0 - i} if i % 4 else None
        trials.append(trial(i, metrics, candidate, **({} if i % 4 else {"error": failure})))
    trials += finals(60, {("searched", EVIL): [0.9, 0.8], ("reference", EVIL): [0.7], (EVIL, EVIL): [0.6]})
    paper = {"title": EVIL, "authors": EVIL, "year": 2018, "arxiv": "javascript:alert(1)", "deviations": [EVIL]}
    run = make_run(tmp_path, trials, outcome=f"failed: {EVIL}", name=EVIL, paper=paper,
                   searcher={"name": "ddpg", EVIL: EVIL},
                   env={"id": EVIL, EVIL: EVIL}, baselines={"random": trials[:60]})  # fmt: skip
    run.describe(**{EVIL: EVIL})
    (run.folder / "best" / "pictures").mkdir(parents=True)
    (run.folder / "best" / "pictures" / "<img src=x onerror=alert(3)>.svg").write_text(f"<svg>{EVIL}</svg>")
    page = check_page(write_report(run).read_text())
    assert page.text.count("<script>alert(1)</script>") > 15
    assert "javascript:alert(1)" in page.text
    assert page.tags >= {"svg", "img", "table"}
    printable(final_table(run))


def test_pictures_are_embedded_unless_linked_or_large(tmp_path):
    secret = tmp_path / "secret.svg"
    secret.write_text("secret")
    folder = tmp_path / "run"
    (folder / "best" / "pictures").mkdir(parents=True)
    (folder / "references" / "dense").mkdir(parents=True)
    (folder / "best" / "pictures" / "a.svg").write_text("<svg><script>alert(1)</script></svg>")
    (folder / "best" / "pictures" / "b.svg").write_text("x" * 500_000)
    (folder / "best" / "pictures" / "c.svg").symlink_to(secret)
    (folder / "best" / "pictures" / "d.txt").write_text("no picture")
    (folder / "references" / "dense" / "channels.svg").write_text("<svg/>")
    found = list(pictures(folder))
    assert [picture["caption"].split(":")[0] for picture in found] == [
        "a, the best candidate", "b, the best candidate", "dense/channels",
    ]  # fmt: skip
    assert found[0]["address"].startswith("data:image/svg+xml;base64,") and found[1]["address"] == ""


FAILED = [trial(i) for i in range(5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trials", "fields", "words"),
    [
        ([], {"objectives": (), "outcome": "not started"}, "No trial has finished yet."),
        (FAILED, {}, "All 5 trials failed; there is no result."),
        (FAILED[:1], {"outcome": "failed: 1 failure in a row"}, "The only trial failed"),
        (search_trials(1), {}, "nothing stands beside it to compare"),
        (search_trials(6) + FAILED[:0], {"outcome": "interrupted"}, "The run was interrupted: this is what 6 trials"),
        (search_trials(6), {"outcome": "running"}, "The run ended without notice"),
        ([trial(i, {"accuracy": 0.5}) for i in range(40)], {}, "Nearly all candidates have the same value"),
        ([trial(0, {"accuracy": 0.5}, origin="stopped")], {}, "No result among 1 trial."),
    ],
    ids=["none", "only failures", "one failure", "one", "interrupted", "killed", "constant", "stopped"],
)
def test_every_state_gives_a_sensible_page(tmp_path, trials, fields, words):
    page = check_page(write_report(make_run(tmp_path, trials, **fields)).read_text())
    assert words in page.text
    if any(one.error for one in trials):
        assert "ValueError: too wide" in page.text and "trial 0 (search)" in page.text


def test_a_run_that_goes_on_is_called_running(tmp_path):
    run = make_run(tmp_path, search_trials(3), outcome="running", trials=10)
    with filelock.FileLock(run.folder / ".lock"):
        page = check_page(write_report(run).read_text())
    assert "is still running" in page.text and "3 of 10" in page.text


def many(count):
    """A long journal, line by line: slow progress, failures, conditional decisions."""
    draw = np.random.default_rng(0)
    for i in range(count):
        candidate = {f"block/{j}": int(value) for j, value in enumerate(draw.integers(1, 30, size=6))}
        value = sum(candidate.values()) / 200 + i / (10 * count)
        yield trial(i, {"accuracy": float(value), "macs_m": float(draw.random())} if i % 50 else None, candidate)


@pytest.mark.parametrize(
    "count",
    [
        300,
        pytest.param(20_000, marks=pytest.mark.slow),
        pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.thorough]),
    ],
)
def test_big_journals_stay_small_and_quick(tmp_path, count):
    run = make_run(tmp_path, many(count), (Objective("accuracy"), Objective("macs_m", "min")), trials=count)
    began = time.perf_counter()
    html = write_report(run).read_text()
    assert time.perf_counter() - began < 60
    check_page(html)
    assert len(html) < 600_000


@pytest.mark.slow
def test_importing_the_report_and_writing_one_needs_no_torch(pruning):
    code = (
        "import sys, automl_ext.report as report, automl_ext.compare; from automl_ext.run import Run\n"
        "early = {'torch', 'matplotlib', 'sklearn', 'gymnasium', 'jinja2'} & set(sys.modules)\n"
        f"report.write_report(Run.open({str(pruning.folder)!r}))\n"
        "assert not early and not {'torch', 'gymnasium'} & set(sys.modules), early"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ---------------------------------------------------------------- reading

outcomes = st.lists(
    st.tuples(st.sampled_from(["whole", "failed", "stopped", "cached"]), st.integers(0, 5), st.integers(0, 3)),
    max_size=25,
)


@given(outcomes, st.sampled_from(["max", "min"]), st.randoms(use_true_random=False))
def test_the_story_agrees_with_brute_force(rows, goal, shuffler):
    objectives = (Objective("score", goal), Objective("size", "min", limit=2.0))
    trials = [
        trial(i, None if kind == "failed" else {"score": float(score), "size": float(size)},
              origin={"stopped": "stopped", "cached": "cached"}.get(kind, "evaluated"))
        for i, (kind, score, size) in enumerate(rows)
    ]  # fmt: skip
    shuffled = trials.copy()
    shuffler.shuffle(shuffled)
    story = tell(shuffled, objectives)
    curve, best = [], None
    for one in trials:
        if one.metrics and one.origin != "stopped" and one.metrics["size"] <= 2:
            score = one.metrics["score"]
            best = score if best is None else (max if goal == "max" else min)(best, score)
        curve.append(np.nan if best is None else best)
    np.testing.assert_array_equal(story.best_so_far(), np.array(curve))
    assert story.failed == sum(one.error is not None for one in trials)
    assert story.searched == len(trials) and story.origins["cached"] == sum(one.origin == "cached" for one in trials)
    assert (
        story.whole == len(story.sample) == sum(one.metrics is not None and one.origin != "stopped" for one in trials)
    )


@pytest.mark.parametrize("with_finals", [False, True])
def test_the_best_is_the_runs_best(tmp_path, with_finals):
    trials = [trial(i, {"accuracy": (7 * i % 11) / 11}) for i in range(22)]
    trials += [trial(22), trial(23, {"accuracy": 1.0}, origin="stopped")]
    if with_finals:
        trials += finals(24, {("searched", "a"): [0.5, 0.9], ("searched", "b"): [0.8, 0.7], ("reference", "c"): [1.0]})
    run = make_run(tmp_path, trials)
    assert tell(run.trials(), ACCURACY).best() == run.best()


def test_failures_are_grouped_by_kind_with_the_first_of_each():
    kinds = ["timeout", "exception", "timeout", "died"]
    trials = [trial(i, error=Failure(kind, f"{kind} {i}"), attempts=1 + i) for i, kind in enumerate(kinds)]
    story = tell(trials, ACCURACY)
    assert {kind: (group.count, group.first.number) for kind, group in story.failures.items()} == {
        "timeout": (2, 0), "exception": (1, 1), "died": (1, 3),
    }  # fmt: skip
    assert story.retried == 3


def test_the_sample_is_bounded_and_fair():
    story = tell((trial(i, {"accuracy": float(i)}) for i in range(8_000)), ACCURACY)
    values = [value for _, value in story.sample]
    assert len(values) == len(set(values)) == 2_000
    assert 3_800 < np.mean(values) < 4_200


# ---------------------------------------------------------------- importance


def planted(count, noise, seed=0):
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        candidate = {
            "op": str(draw.choice(["a", "b", "c"])),
            "rate": float(draw.random()),
            "idle": float(draw.random()),
        }
        if candidate["op"] == "a":
            candidate["op/left"] = int(draw.integers(8))
        value = 2.0 * (candidate["op"] == "b") + candidate["rate"] + noise * draw.normal()
        rows.append((candidate, float(value)))
    return rows


@pytest.mark.slow
def test_importance_finds_planted_decisions_and_doubts_noise():
    found = importance(planted(200, 0.02))
    assert found.r2 > 0.8 and found.candidates == 200
    names = [name for name, _, _ in found.slots]
    assert names[:2] == ["op", "rate"] and set(names) == {"op", "rate", "idle", "op/left"}
    drops = {name: drop for name, drop, _ in found.slots}
    assert drops["op"] > 10 * abs(drops["idle"])
    noise = importance([(candidate, float(i * 7919 % 199)) for i, (candidate, _) in enumerate(planted(199, 0.0))])
    assert noise.r2 < TRUST and noise.slots == ()
    assert importance(planted(10, 0.0)).reason and importance(planted(200, 0.02)) == found


def test_equal_candidates_count_once():
    """Copies in training and held-out parts would make any forest look good."""
    draw = np.random.default_rng(1)
    rows = [({"x": i % 20}, float(draw.random())) for i in range(200)]
    assert "20 different candidates" in importance(rows).reason


def test_encoding_keeps_numbers_and_marks_silence():
    matrix, slots = encode_candidates(
        [{"n": 1, "c": "a"}, {"n": 5, "c": "b"}, {"c": "a"}, {"n": 9, "c": "a", "only": 1}]
    )
    assert set(slots) == {"n", "c", "only"}
    assert matrix[:, slots["n"]].tolist() == [[1, 0], [5, 0], [5, 1], [9, 0]]
    assert matrix[:, slots["c"]].tolist() == [[1, 0], [0, 1], [1, 0], [1, 0]]
    assert encode_candidates([{"n": 3, "flag": True}] * 4)[1] == {}


@pytest.mark.slow
def test_the_page_says_when_the_forest_is_not_to_be_trusted(tmp_path):
    draw = np.random.default_rng(0)
    page = contents(make_run(tmp_path, [trial(i, {"accuracy": float(draw.random())}) for i in range(60)]))
    assert "too poorly for its importances to be trusted" in page["doubt"]
    assert "Which decisions matter" not in [figure.heading for figure in page["figures"]]


# ---------------------------------------------------------------- figures


@pytest.mark.slow
def test_figures_repeat_themselves_and_keep_text(tmp_path):
    two = (Objective("accuracy"), Objective("macs_m", "min"))
    run = make_run(tmp_path, many(200), two, baselines={"random": many(100)})
    first, second = contents(run)["figures"], contents(run)["figures"]
    assert [figure.svg for figure in first] == [figure.svg for figure in second]
    assert [figure.heading for figure in first] == [
        "Progress of the search", "Trade-off", "Growth of the front", "Which decisions matter",
    ]  # fmt: skip
    for figure in first:
        assert "<text" in figure.svg and "#0102" not in figure.svg and "var(--ink)" in figure.svg
    ids = [name for figure in first for name in re.findall(r'\bid="([^"]+)"', figure.svg)]
    assert len(ids) == len(set(ids))
    pointers = [name for figure in first for name in re.findall(r'(?:url\(|href=")#([\w-]+)', figure.svg)]
    assert pointers and set(pointers) <= set(ids)
    points = [one.metrics for one in run.trials() if one.metrics]
    assert f"{len(front(points, two))} evaluations not dominated" in first[1].caption


@pytest.mark.slow
def test_a_single_objective_is_shown_against_what_it_costs(tmp_path):
    trials = [
        trial(i, {"accuracy": i / 20, "latency_ms": 1.0 + i, "macs_m": 3.0, "depth": float(i)}) for i in range(20)
    ]
    drawn = {figure.heading: figure for figure in contents(make_run(tmp_path, trials))["figures"]}
    assert "latency (ms)" in drawn["Trade-off"].svg
    plain = [replace(one, metrics={"accuracy": one.metrics["accuracy"], "macs_m": 3.0}) for one in trials]
    assert "Trade-off" not in {figure.heading for figure in contents(make_run(tmp_path, plain))["figures"]}


@given(st.lists(st.integers(0, 9), max_size=300), st.integers(2, 50))
def test_thinned_curves_lie_on_the_curve(steps, most):
    curve = np.maximum.accumulate(np.array([np.nan, *steps], dtype=float)[1:]) if steps else np.zeros(0)
    x, y = thinned(curve, most)
    assert len(x) <= max(most, 2)
    assert all(curve[int(place) - 1] == value for place, value in zip(x, y, strict=True))
    if len(curve):
        assert x[0] == 1 and x[-1] == len(curve)
        if len(set(steps)) + 1 < most:
            assert set(y) == set(curve)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("name", "values", "heading", "shown"),
    [
        ("accuracy", [0.961, 0.5], "accuracy (%)", "96.1"),
        ("test_accuracy", [0.96104, 0.96108], "test accuracy (%)", "96.10"),
        ("accuracy", [55.0, 61.0], "accuracy", "55"),
        ("macs_m", [2.4375, 1.0], "MACs (M)", "2.44"),
        ("latency_ms", [0.31415, 0.5], "latency (ms)", "0.314"),
        ("params", [12345.0], "params", "12,345"),
        ("loss", [1e-9, 1.0], "loss", "1e-09"),
        ("macs_kept", [0.5], "MACs kept (%)", "50.0"),
        ("m", [1.0], "m", "1"),
        ("_", [2.0], "?", "2"),
    ],
)
def test_metrics_show_their_unit(name, values, heading, shown):
    column_ = column(name, values)
    assert (column_.heading, column_.number(values[0])) == (heading, shown)
    assert column_.number(None) == column_.number(float("nan")) == "\N{EN DASH}"


def test_durations_and_texts():
    assert [duration(s) for s in (0.0312, 4.25, 200, 3600, 7500, 90000, None)] == [
        "31.2 ms", "4.2 s", "3 min 20 s", "1 h", "2 h 5 min", "1 d 1 h", "\N{EN DASH}",
    ]  # fmt: skip
    assert text("a\x00b\u202ec\n") == "a b c\n" and text("x" * 300, 10) == "x" * 9 + "…" and text(3.0) == "3.0"


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["max", "min"])
def test_progress_shows_the_best_quarter_of_the_evaluations_beside_a_flat_curve(tmp_path, goal):
    sign = 1 if goal == "max" else -1
    values = [0.46, *np.linspace(0.43, 0.455, 18), 0.461]
    run = make_run(tmp_path, [trial(n, {"score": sign * value}) for n, value in enumerate(values)],
                   (Objective("score", goal),))  # fmt: skip
    drawn = {figure.heading: figure for figure in contents(run)["figures"]}["Progress of the search"]
    dots = [use for use in re.findall(r"<use [^>]*>", drawn.svg) if "fill-opacity: 0.3" in use]
    assert len(dots) >= 5 and "those far off are left out" in drawn.caption
