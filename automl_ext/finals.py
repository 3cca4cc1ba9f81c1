"""Final stages: the best of the search beside references and baselines, at growing budgets, then on test data.

Search metrics are proxies. The finalists' trials go to the same journal; the best is chosen by validation, and test
data is read once, for whoever came through the last stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from automl_ext.config import Config, FinalStage
from automl_ext.env import SearchEnv
from automl_ext.fronts import best_first
from automl_ext.loop import Crew, Stage
from automl_ext.objective import Metrics, Objective, rank, traded
from automl_ext.run import Run
from automl_ext.searcher import Proposal, Trial, job_seed, standing, who
from automl_ext.space import Candidate


def play_finals(run: Run, crew: Crew, first: int) -> int:
    """All final stages and the test stage, numbered from `first`. Returns the number behind the last trial.

    What the search may do every baseline may do: send as many candidates, and be narrowed down stage by stage.
    """
    config = run.config
    baselines = [_best_of(part, crew, config, name) for name, part in run.baselines.items()]
    sides = [_best_of(run, crew, config), *baselines]
    references = [Finalist("reference", name, dict(candidate)) for name, candidate in crew.env.references.items()]
    for index, final in enumerate(config.final, 1):
        stage = f"final-{index}"
        entrants = [*sides[0], *references, *chain.from_iterable(sides[1:])]
        first = _final(run, crew, stage, entrants, final, first).play()
        sides = [_survivors(run, crew, stage, side, config, index) for side in sides]
    if type(crew.env).test is not SearchEnv.test:
        first = _test(run, crew, first)
    return first


@dataclass(frozen=True)
class Finalist:
    """A candidate of the final stages. role: searched | reference | baseline. entry: which of a baseline's it is."""

    role: str
    name: str
    candidate: Candidate
    entry: str = ""

    def note(self, repeat: int) -> dict[str, Any]:
        note = {"role": self.role, "name": self.name, "repeat": repeat}
        return note | {"entry": self.entry} if self.entry else note

    def has(self, trial: Trial) -> bool:
        return who(trial) == (self.role, self.name, self.entry)


class Finalists:
    """Asks each finalist once a repeat, in order; a searcher like any other to the loop."""

    def __init__(self, proposals: Sequence[Proposal], first: int) -> None:
        self.proposals = proposals
        self.first = first

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        index = number - self.first
        return self.proposals[index] if index < len(self.proposals) else None

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Nothing is learned from a final stage."""


def top(trials: Sequence[Trial], count: int, crew: Crew) -> list[Trial]:
    """The best `count` trials of different candidates, those of the largest budget first.

    With several traded objectives they are spread over their front.
    """
    objectives, keys = crew.goals.objectives, set[str]()
    distinct: dict[float, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: (standing(trial, objectives), -trial.number), reverse=True):
        key = crew.env.space.key(trial.candidate)
        if key not in keys:
            keys.add(key)
            distinct.setdefault(standing(trial, objectives)[0], []).append(trial)
    chosen: list[Trial] = []
    for group in distinct.values():
        places = best_first([trial.metrics for trial in group], objectives, count - len(chosen))
        chosen += [group[place] for place in places]
    return chosen


def _whole(run: Run, stage: str) -> list[Trial]:
    return [trial for trial in run.trials(stage) if trial.metrics is not None and trial.origin != "stopped"]


def _best_of(run: Run, crew: Crew, config: Config, baseline: str = "") -> list[Finalist]:
    """The best of a search, or of the baseline of that name, as many as the first final stage takes."""
    count = config.final[0].top if config.final else 1
    whole = _whole(run, "search")
    found = {f"trial-{trial.number}": trial.candidate for trial in top(whole, count, crew)}
    if config.final and crew.env.combines > 1:
        best = [trial.candidate for trial in top(whole, crew.env.combines, crew)]
        combined = crew.env.combine(best) if len(best) > 1 else None
        if combined is not None:
            found[f"best-{len(best)}-combined"] = combined
    if baseline:
        return [Finalist("baseline", baseline, candidate, entry) for entry, candidate in found.items()]
    return [Finalist("searched", name, candidate) for name, candidate in found.items()]


def _final(run: Run, crew: Crew, name: str, entrants: Sequence[Finalist], final: FinalStage, first: int) -> Stage:
    proposals = [
        Proposal(entrant.candidate, entrant.note(repeat), final.budget)
        for repeat in range(final.seeds)
        for entrant in entrants
    ]
    return _listed(run, crew, name, proposals, first)


def _listed(run: Run, crew: Crew, name: str, proposals: Sequence[Proposal], first: int) -> Stage:
    def seed_of(number: int, proposal: Proposal) -> int:
        return job_seed(run.config.seed, "final", int(proposal.note["repeat"]))

    return Stage(run, crew, name, Finalists(proposals, first), seed_of, len(proposals), first, checked=False)


def _survivors(
    run: Run, crew: Crew, stage: str, finalists: Sequence[Finalist], config: Config, index: int
) -> list[Finalist]:
    """Those of `finalists` that go on to the next stage, by the mean over repeats of the validation result."""
    count = config.final[index].top if index < len(config.final) else len(finalists)
    objectives = crew.goals.objectives
    trials = list(run.trials(stage))
    repeats = {finalist.entry or finalist.name: [t for t in trials if finalist.has(t)] for finalist in finalists}
    if len(traded(objectives)) > 1:
        means = [_mean([trial.metrics for trial in own], objectives) for own in repeats.values()]
        return [finalists[index] for index in best_first(means, objectives, count)]

    def standing(finalist: Finalist) -> tuple[float, float]:
        ranks = [rank(trial.metrics, objectives) for trial in repeats[finalist.entry or finalist.name]]
        return tuple(np.mean(ranks, axis=0)) if ranks else rank(None, objectives)

    return sorted(finalists, key=standing, reverse=True)[:count]


def _mean(results: Sequence[Metrics | None], objectives: Sequence[Objective]) -> Metrics | None:
    """The objectives' means over repeats; None where a repeat failed."""
    whole = [metrics for metrics in results if metrics is not None]
    if not whole or len(whole) < len(results):
        return None
    return {o.name: sum(float(metrics[o.name]) for metrics in whole) / len(whole) for o in objectives}


def _test(run: Run, crew: Crew, first: int) -> int:
    """Test data is read once, for whoever came through the last final stage."""
    proposals = [
        replace(Proposal(trial.candidate, trial.note, trial.budget), parent=trial.number)
        for trial in sorted(run.last_stage(), key=lambda trial: trial.number)
    ]
    return _listed(run, crew, "test", proposals, first).play() if proposals else first
