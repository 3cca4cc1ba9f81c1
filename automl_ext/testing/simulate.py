"""A search in memory: the real order of asks and tells, evaluations by a plain function, any order of completion."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from automl_ext.order import Order
from automl_ext.searcher import Failure, Proposal, Searcher, Trial, stream
from automl_ext.space import Candidate

Evaluate = Callable[[Candidate], float | None]
"""The value to report, or None for a failed evaluation."""


def simulate(
    searcher: Searcher,
    evaluate: Evaluate,
    trials: int,
    *,
    parallel: int = 1,
    seed: int = 0,
    metric: str = "score",
    recorded: Mapping[int, Trial] | None = None,
    shuffled: bool = False,
    watch: Callable[[Searcher, int, list[Proposal]], None] | None = None,
) -> list[Trial]:
    """The trials of a search, in number order.

    recorded: trials that stand in for evaluations, by number, as in a resumed run. shuffled: evaluations finish in
    another order than they were asked. watch: called before each ask with (searcher, number, pending).
    """
    order, pending, finished, waiting = Order(parallel, trials), dict[int, Proposal](), dict[int, Trial](), list[int]()
    told: list[Trial] = []
    mixer = stream(seed, "completion")
    while True:
        event, number = order.next()
        if event == "ask":
            if watch is not None:
                watch(searcher, number, list(pending.values()))
            proposal = searcher.ask(number, list(pending.values()), stream(seed, "ask", number))
            order.ask(number, proposal is not None)
            if proposal is not None:
                pending[number] = proposal
                waiting.append(number)
        elif event == "wait":
            chosen = waiting.pop(int(mixer.integers(len(waiting))) if shuffled else 0)
            finished[chosen] = (recorded or {}).get(chosen) or _trial(chosen, pending[chosen], evaluate, metric)
            order.finish(chosen)
        elif event == "tell":
            trial = finished.pop(number)
            del pending[number]
            searcher.tell(trial, stream(seed, "tell", number))
            order.tell(number)
            told.append(trial)
        else:
            return told


def _trial(number: int, proposal: Proposal, evaluate: Evaluate, metric: str) -> Trial:
    value = evaluate(proposal.candidate)
    return Trial(
        number=number,
        stage="search",
        candidate=proposal.candidate,
        note=proposal.note,
        budget=proposal.budget,
        seed=number,
        parent=proposal.parent,
        metrics=None if value is None else {metric: value},
        error=Failure("exception", "planted failure") if value is None else None,
    )
