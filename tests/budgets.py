"""A search in memory whose results depend on the budget: what simulate does, with a function of proposals."""

from __future__ import annotations

from automl_ext.order import Order
from automl_ext.searcher import Failure, Trial, stream


def search_budgets(searcher, evaluate, trials, *, parallel=1, seed=0, watch=None):
    """The trials told. evaluate(proposal) -> metrics or None. watch(number, told, pending, proposal) after each ask."""
    order, told, pending = Order(parallel, trials), [], {}
    while True:
        event, number = order.next()
        if event == "ask":
            proposal = searcher.ask(number, list(pending.values()), stream(seed, "ask", number))
            if watch is not None:
                watch(number, told, dict(pending), proposal)
            order.ask(number, proposal is not None)
            if proposal is not None:
                pending[number] = proposal
        elif event == "wait":
            order.finish(order.told)
        elif event == "tell":
            proposal = pending.pop(number)
            metrics = evaluate(proposal)
            trial = Trial(
                number=number,
                stage="search",
                candidate=proposal.candidate,
                note=proposal.note,
                budget=proposal.budget,
                seed=0,
                parent=proposal.parent,
                metrics=metrics,
                error=Failure("exception", "planted failure") if metrics is None else None,
            )
            searcher.tell(trial, stream(seed, "tell", number))
            order.tell(number)
            told.append(trial)
        else:
            return told
