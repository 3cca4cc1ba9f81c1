"""Progress: plain lines, the live display, and what both say."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from automl_ext.config import Config
from automl_ext.objective import Objective
from automl_ext.progress import Live, Plain, Silent, Tally, choose
from automl_ext.searcher import Failure, Trial


class Story:
    """What a display reads of a run."""

    def __init__(self, baselines=()):
        fields = {"env": "a:B-v0", "searcher": "local", "trials": 4, "baselines": list(baselines)}
        self.config = Config.from_dict(fields)
        self.objectives = (Objective("accuracy"), Objective("latency_ms", "min"))


def trial(number, accuracy=0.5, error=None, origin="evaluated"):
    metrics = None if error else {"accuracy": accuracy, "latency_ms": 1.0}
    return Trial(number, "search", {"x": 1}, {}, None, 0, None, metrics, error=error, origin=origin)


def play(display, trials, total=None, baselines=(), pause=0.0):
    """One run: prepare, a search, a baseline, a final stage."""
    display.start(Story(baselines))
    display.stage("prepare", None)
    for stage in ("search", "search", "final-1"):
        display.stage(stage, total)
        best = None
        for told, one in enumerate(trials, 1):
            if one.metrics and (best is None or one.metrics["accuracy"] > best.metrics["accuracy"]):
                best = one
            display.trial(one, told, 3, best, 65.0)
        time.sleep(pause)
        display.note("trial 2 failed: exception: [red]no[/red]")
    display.close()


TRIALS = [trial(0, 0.25), trial(1, 0.75), trial(2, error=Failure("exception", "no")), trial(3, 0.75, origin="cached")]


def test_plain_lines_without_a_terminal():
    out = io.StringIO()
    play(Plain(Console(file=out, width=40), every=0.0), TRIALS, 4, ["random"])
    lines = out.getvalue().splitlines()
    assert lines[0] == "prepare begins"
    assert re.fullmatch(r"prepare took .* m?s", lines[1])
    assert lines[2] == "search begins: 4 trials"
    assert re.fullmatch(
        r"search 3/4, best accuracy 75.0 % \(trial 1\), 1 failed, .*/s, 3 under way, 1 min 5 s left", lines[5]
    )
    assert "trial 2 failed: exception: [red]no[/red]" in lines
    assert re.search(
        r"search took .*s, 4/4 trials, best accuracy 75.0 % \(trial 1\), 1 failed, 1 cached", "\n".join(lines)
    )
    assert "baseline random begins: 4 trials" in lines and "final-1 begins: 4 trials" in lines
    assert "\x1b" not in out.getvalue()


def test_plain_lines_come_every_few_seconds_only():
    out = io.StringIO()
    play(Plain(Console(file=out), every=60.0), TRIALS * 100)
    assert len(out.getvalue().splitlines()) == 2 * 4 + 3


@pytest.mark.slow
@pytest.mark.parametrize("total", [4, None])
def test_the_live_display_keeps_a_bar_a_stage(total):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    play(Live(console), TRIALS, total, ["random"], pause=0.4)
    last = out.getvalue()[-1200:]
    for stage in ("prepare", "search", "baseline random", "final-1"):
        assert re.search(rf"✓ {stage}\b.* (4/4|1/1) ", last)
    assert "best accuracy 75.0 % (trial 1)" in out.getvalue()
    assert "trial 2 failed: exception: [red]no[/red]" in out.getvalue()


def test_the_live_display_is_closed_after_an_error():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    display = Live(console)
    display.start(Story())
    display.stage("search", 10)
    display.trial(trial(0), 1, 2, trial(0), None)
    display.close()
    display.close()
    assert out.getvalue().endswith("\x1b[?25h")  # the cursor is shown again


def test_which_display():
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    assert isinstance(choose(terminal), Live)
    assert isinstance(choose(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})), Plain)
    assert isinstance(choose(Console(file=io.StringIO(), force_terminal=False)), Plain)


def test_silence(capsys):
    play(Silent(), TRIALS)
    assert capsys.readouterr() == ("", "")


def test_the_rate_counts_the_last_fifty():
    tally = Tally("search", began=0.0)
    assert tally.per_minute is None
    start = time.monotonic()
    tally.recent.clear()
    tally.recent.extend(start + 0.5 * index for index in range(200))
    assert tally.per_minute == pytest.approx(120)
    assert "120/min" in tally.facts()
    tally.recent.extend(start + 100 + 0.1 * index for index in range(51))
    assert "10/s" in tally.facts()


def test_no_objective_and_no_best_say_nothing():
    tally = Tally("search", 5)
    tally.add(trial(0, error=Failure("timeout", "late")), 1, 0, None, None)
    assert tally.facts()[0] == "1 failed" and tally.count == "1/5"
    tally.best = trial(1)
    assert tally.facts()[0] == "1 failed"


def test_finalists_are_called_by_name():
    tally = Tally("final-1", 2, Objective("accuracy"))
    dense = replace(trial(9), note={"role": "reference", "name": "dense"})
    tally.add(dense, 1, 0, dense, None)
    assert tally.facts()[0] == "best accuracy 50.0 % (dense)"
