"""Asking stays cheap: at 4,000 told trials an ask costs at most twice what it costs at 400; `thorough`: 10,000, 1,000.

Asks are pure, so the same asks can be repeated: both searchers answer the same numbers again and again, by turns, in
CPU time of this thread, and the fastest repetition of each counts: other processes can only make a repetition slower.
The numbers are whole rounds and brackets of the searchers that have such, so that both stand at the same point of one.
"""

from __future__ import annotations

import time

import pytest

from automl_ext.registry import SEARCHERS, searcher_class
from automl_ext.searcher import Proposal, stream
from automl_ext.testing import simulate
from automl_ext.testing.planted import learning_spaces, planted_score, target_of
from automl_ext.worker import one_thread

MODELS = {"ddpg", "nao", "optuna", "policy", "ppo", "predictor", "progressive", "reinforce"}
"""Searchers that train a model; the others keep no more than running structures."""
QUICK = {"q-learning": {"batch": 1}}
"""Options that make thousands of tells quicker and leave ask as it is."""
ASKS, PENDING, REPEATS = 16, 7, 12


def told(factory, space, trials, options):
    """A searcher after `trials` trials, what is pending then, and how many were told in fact."""
    searcher = factory(target_of(space), stream(0, "build"), **options)
    done = len(simulate(searcher, planted_score(space, 0), trials, parallel=PENDING + 1))
    pending = []
    while len(pending) < PENDING:
        proposal = searcher.ask(done + len(pending), list(pending), stream(0, "ask", done + len(pending)))
        if proposal is None:
            break
        pending.append(proposal)
    return searcher, pending, done


def seconds(searcher, pending, first):
    """CPU seconds of ASKS asks, the same ones at every call."""
    streams = [stream(0, "ask", first + number) for number in range(ASKS)]
    start = time.thread_time()
    for number, rng in enumerate(streams):
        searcher.ask(first + number, pending, rng)
    return time.thread_time() - start


def growth(factory, space, options, few, many):
    """Cost of an ask after `many` told trials over that after `few`; None for a search that ends before."""
    states = [told(factory, space, trials, options) for trials in (few, many)]
    if [done for *_, done in states] != [few, many]:
        return None
    costs = [[seconds(searcher, pending, done + PENDING) for searcher, pending, done in states] for _ in range(REPEATS)]
    return min(late for _, late in costs) / min(early for early, _ in costs)


@pytest.mark.slow
@pytest.mark.parametrize(("few", "many"), [(400, 4_000), pytest.param(1_000, 10_000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, next(kind for kind in learning_spaces() if kind in entry.treats))
        for name, entry in SEARCHERS.items()
        if name not in MODELS
    ],
)
def test_an_ask_costs_at_most_twice_as_much_after_ten_times_as_many_trials(name, kind, few, many):
    one_thread()
    found = growth(searcher_class(name), learning_spaces()[kind], QUICK.get(name, {}), few, many)
    if found is None:
        pytest.skip(f"{name} ends before {many} trials")
    assert found <= 2, f"an ask of {name} at {many} told trials costs {found:.2f} times that at {few}"


class Scanner:
    """Looks through all its trials at every ask: what the measure must find."""

    def __init__(self, target, rng, *, scan=True):
        self.target, self.scan, self.trials = target, scan, []

    def ask(self, number, pending, rng):
        if self.scan:
            max((trial.metrics["score"] for trial in self.trials), default=0.0)
        return Proposal(self.target.space.sample(rng))

    def tell(self, trial, rng):
        self.trials.append(trial)


@pytest.mark.slow
@pytest.mark.parametrize(("scan", "low", "high"), [(True, 2.5, 20), (False, 0.6, 1.6)])
def test_the_measure_tells_a_scan_from_none(scan, low, high):
    space = learning_spaces()["choice"]
    assert low < growth(Scanner, space, {"scan": scan}, few=100, many=3_000) < high
