"""A search in memory: the real order of asks and tells, evaluations by a plain function, any order of completion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from automl_ext.objective import Metrics
from automl_ext.order import Order
from automl_ext.searcher import Failure, Proposal, Searcher, Trial, stream
from automl_ext.space import Candidate

Evaluate = Callable[[Candidate], float | Metrics | None]
"""The value to report, or all metrics, or None for a failed evaluation."""
Watch = Callable[[str, Searcher, int, dict[int, Proposal]], None]
"""(event, searcher, number, pending): before each "ask", after each "finish" and each "tell"."""


def simulate(
    searcher: Searcher,
    evaluate: Evaluate,
    trials: int,
    *,
    parallel: int = 1,
    seed: int = 0,
    metric: str = "score",
    recorded: Mapping[int, Trial] | None = None,
    schedule: np.random.Generator | None = None,
    watch: Watch | None = None,
    start: tuple[int, Mapping[int, Proposal]] = (0, {}),
) -> list[Trial]:
    """The trials that are told, in number order.

    recorded: trials that stand in for evaluations, by number, as in a resumed run. schedule: draws which evaluation
    finishes next; None: they finish in the order asked. start: (number of the next tell, pending proposals) where the
    searcher was loaded from a saved state. Raises ValueError where a recorded trial is not what the searcher asks.
    """
    order, told, finished = Order(parallel, trials), list[Trial](), dict[int, Trial]()
    pending, recorded, watch = dict(start[1]), recorded or {}, watch or _unwatched
    order.continue_at(start[0], start[0] + len(pending))
    running = list(pending)
    while True:
        event, number = order.next()
        if event == "ask":
            watch(event, searcher, number, pending)
            proposal = searcher.ask(number, list(pending.values()), stream(seed, "ask", number))
            order.ask(number, proposal is not None)
            if proposal is not None:
                pending[number] = replace(proposal, note=json.loads(json.dumps(proposal.note)))
                running.append(number)
        elif event == "wait":
            chosen = running.pop(0 if schedule is None else int(schedule.integers(len(running))))
            finished[chosen] = _finished(chosen, pending[chosen], recorded.get(chosen), evaluate, metric)
            order.finish(chosen)
            watch("finish", searcher, chosen, pending)
        elif event == "tell":
            trial = finished.pop(number)
            del pending[number]
            searcher.tell(trial, stream(seed, "tell", number))
            order.tell(number)
            told.append(trial)
            watch(event, searcher, number, pending)
        else:
            return told


def _unwatched(event: str, searcher: Searcher, number: int, pending: dict[int, Proposal]) -> None:
    pass


def _finished(number: int, proposal: Proposal, known: Trial | None, evaluate: Evaluate, metric: str) -> Trial:
    if known is not None:
        if (known.candidate, known.budget, known.parent) != (proposal.candidate, proposal.budget, proposal.parent):
            raise ValueError(f"ask {number} gives {proposal.candidate}, and {known.candidate} was recorded")
        return known
    value = evaluate(proposal.candidate)
    return Trial(
        number=number,
        stage="search",
        candidate=proposal.candidate,
        note=proposal.note,
        budget=proposal.budget,
        seed=number,
        parent=proposal.parent,
        metrics=value if value is None or isinstance(value, Mapping) else {metric: value},
        error=Failure("exception", "planted failure") if value is None else None,
    )
