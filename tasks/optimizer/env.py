"""Update rules as a search target: how an optimizer turns gradients into steps.

Bello, Zoph, Vasudevan, Le: "Neural Optimizer Search with Reinforcement Learning", ICML 2017, arXiv 1709.07417 (space
`rules`). Chen et al.: "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, arXiv 2302.06675 (`programs`).

A rule trains small child tasks; a short sweep finds its learning rate first. Many rules train at once, see
population.py. Equal rules are one candidate to the cache, by what they do and not by how they are written.

Differs from the papers:

1. Children are far smaller, and there may be several: `loss` is the geometric mean of their validation losses, which
   tells more than the accuracy that both papers take.
2. Learning rate and schedule multiply the update from outside, in `programs`, too, where it can also be read; so every
   rule is judged at a rate that suits it.
3. A rule that diverges at every rate, or does not use the gradient, is a failed trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, final

from automl_ext.tasks.optimizer.children import Child, ChildName, child
from automl_ext.tasks.optimizer.fingerprint import fingerprint
from automl_ext.tasks.optimizer.graph import Graph, Program, RuleError, graph
from automl_ext.tasks.optimizer.population import Outcome, Plan, Schedule, trained
from automl_ext.tasks.optimizer.programs import ProgramSpace
from automl_ext.tasks.optimizer.reference import REFERENCES
from automl_ext.tasks.optimizer.rules import RuleSpace
from pydantic import Field

from automl_ext.data import load
from automl_ext.env import Job, Report, SearchEnv
from automl_ext.objective import Metrics, Objective
from automl_ext.searcher import Failure, Variation
from automl_ext.space import Candidate, Space

__all__ = ["OptimizerEnv"]

SpaceName = Literal["rules", "programs"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1000)]


@final
class OptimizerEnv(SearchEnv):
    """Search the update rule of an optimizer."""

    objectives = (Objective("loss", "min"),)

    def __init__(
        self,
        space: SpaceName = "rules",
        children: Sequence[ChildName] = ("mlp",),
        dataset: str = "digits",
        *,
        root: str | None = None,
        groups: Annotated[int, Field(ge=1, le=3)] = 2,
        without: Sequence[str] = (),
        lines: Annotated[int, Field(ge=1, le=100)] = 12,
        start: Literal["random", "adamw"] = "random",
        memory: Annotated[int, Field(ge=1, le=9)] = 3,
        rates: Sequence[Rate] = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0),
        sweep: Count = 20,
        steps: Count = 100,
        batch: Annotated[int, Field(ge=16, le=4096, multiple_of=16)] = 32,
        repeats: Annotated[int, Field(ge=1, le=64)] = 1,
        schedule: Schedule = "constant",
        population: Annotated[int, Field(ge=1, le=4096)] = 256,
        seed: int = 0,
    ) -> None:
        self.memory = memory
        self.plan = Plan(tuple(rates), (0.0,), sweep, steps, batch, repeats, schedule)
        data = load(dataset, root=root, seed=seed)
        self.children = [child(name, data) for name in children]
        if space == "rules" and start != "random":
            raise RuleError("start: programs start at adamw, rules only at random ones")
        if space == "programs" and without:
            raise RuleError("without: only rules have operands and functions to leave out")
        self.encoding: RuleSpace | ProgramSpace = (
            RuleSpace(groups, without) if space == "rules" else ProgramSpace(lines, memory, start)
        )
        self.space = Space(
            *self.encoding.space.decisions, narrow=self.encoding.space.narrow, canonical=self._canonical
        )
        self.references = {name: {"reference": name} for name in REFERENCES}
        self.batch = population

    @property
    def variation(self) -> Variation:
        """The space's own, or the generic one."""
        return self.encoding.variation or super().variation

    def program(self, candidate: Candidate) -> Program:
        """The statements of a candidate, or of a reference."""
        if "reference" in candidate:
            return REFERENCES[str(candidate["reference"])]
        return self.encoding.program(candidate)

    def rule(self, candidate: Candidate) -> Graph:
        """What a candidate does. Raises RuleError for what is no rule, or needs more memory than allowed."""
        made = graph(self.program(candidate), None if "reference" in candidate else self.memory)
        fingerprint(made)
        return made

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """`loss`, `accuracy`; of each child its own and the learning rate. Not finite for a rule that diverges."""
        (found,) = self.evaluate_many([job], report)
        if isinstance(found, Failure):
            raise RuleError(found.message.removeprefix("RuleError: "))
        return found

    def evaluate_many(self, jobs: Sequence[Job], report: Report) -> list[Metrics | Failure]:
        """As `evaluate`; rules of one seed and budget train together."""
        found: list[Metrics | Failure] = [Failure("exception", "RuleError: not evaluated")] * len(jobs)
        together: dict[tuple[int, float | None, str], list[tuple[int, Graph]]] = {}
        for place, job in enumerate(jobs):
            try:
                rule = self.rule(job.candidate)
            except RuleError as error:
                found[place] = Failure("exception", f"RuleError: {error}")
                continue
            together.setdefault((job.seed, job.budget, job.stage), []).append((place, rule))
        for (seed, budget, _), rules in together.items():
            plan = replace(self.plan, steps=round(budget) if budget else self.plan.steps)
            for (place, _), metrics in zip(rules, self._measured([r for _, r in rules], plan, seed), strict=True):
                found[place] = metrics
        return found

    def _measured(self, rules: Sequence[Graph], plan: Plan, seed: int) -> list[Metrics]:
        outcomes: list[dict[str, Outcome | None]] = [{} for _ in rules]
        left = list(range(len(rules)))
        for each in self.children:
            for place, outcome in zip(left, trained([rules[p] for p in left], each, plan, seed), strict=True):
                outcomes[place][each.name] = outcome
            left = [place for place in left if outcomes[place][each.name] is not None]
        return [_metrics(own, self.children) for own in outcomes]

    def _canonical(self, candidate: Candidate) -> Candidate:
        try:
            return {"does": fingerprint(self.rule(candidate))}
        except RuleError:
            return candidate


def _metrics(outcomes: dict[str, Outcome | None], children: Sequence[Child]) -> Metrics:
    whole = [outcome for outcome in outcomes.values() if outcome is not None]
    if len(whole) < len(children):
        return {"loss": math.nan}
    found = {
        "loss": math.exp(sum(math.log(max(outcome.loss, 1e-9)) for outcome in whole) / len(whole)),
        "accuracy": sum(outcome.accuracy for outcome in whole) / len(whole),
    }
    for name, outcome in outcomes.items():
        if outcome is not None:
            found |= {f"{name}_rate": outcome.rate}
            if len(children) > 1:
                found |= {f"{name}_loss": outcome.loss}
    return found
