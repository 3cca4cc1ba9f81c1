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
3. A rule that diverges at every rate, does not use the gradient, or needs too much memory is a failed trial.

The funnel against overfitting the children: `final-1` trains them, or others, for longer, all later stages train wider
ones, and the test stage trains on tasks that no search saw (heldout.py). In all of them learning rate and weight decay
are tuned for whole trainings, with the same number of tries for rules and references.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, final

from automl_ext.tasks.optimizer import alone
from automl_ext.tasks.optimizer.children import Child, ChildName, child
from automl_ext.tasks.optimizer.fingerprint import fingerprint
from automl_ext.tasks.optimizer.formula import lines as formulas
from automl_ext.tasks.optimizer.graph import Graph, Program, RuleError, graph
from automl_ext.tasks.optimizer.heldout import HeldOut
from automl_ext.tasks.optimizer.heldout import held_out as held_out_task
from automl_ext.tasks.optimizer.population import Outcome, Plan, Schedule, trained
from automl_ext.tasks.optimizer.programs import ProgramSpace
from automl_ext.tasks.optimizer.reference import REFERENCES
from automl_ext.tasks.optimizer.rules import RuleSpace
from pydantic import Field

from automl_ext.data import load
from automl_ext.env import Job, Report, SearchEnv
from automl_ext.objective import Metrics, Objective
from automl_ext.searcher import Failure, Variation
from automl_ext.space import Candidate, Space, Value

__all__ = ["OptimizerEnv"]

SpaceName = Literal["rules", "programs"]
MUON = "muon"
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1000)]


@final
class OptimizerEnv(SearchEnv):
    """Search the update rule of an optimizer.

    space: rules or programs, see those files. children: what a rule has to train; see children.py. final_children: in
    final stages, by default the same. dataset, root: of the images, as automl_ext.data takes them.
    groups, without: of rules. lines, start: of programs. memory: how many slots a rule may use.
    rates: of the sweep. sweep, steps: of both parts of a training without a budget. batch, repeats, schedule: see Plan.
    decays: weight decays that final stages try, each with all rates. wider: how much so are the children of later
    stages. held_out, held_out_steps: tasks of the test stage, and how long each training is.
    population: how many rules a worker trains at once, at most.
    Raises ValueError (RuleError, DataError), one line, for whatever cannot work.
    """

    objectives = (Objective("loss", "min"),)

    def __init__(
        self,
        space: SpaceName = "rules",
        children: Sequence[ChildName] = ("mlp",),
        dataset: str = "digits",
        *,
        final_children: Sequence[ChildName] | None = None,
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
        repeats: Annotated[int, Field(ge=1, le=64)] = 4,
        schedule: Schedule = "constant",
        decays: Sequence[Annotated[float, Field(ge=0, le=10)]] = (0.0, 0.01, 0.1),
        wider: Annotated[int, Field(ge=1, le=64)] = 4,
        held_out: Sequence[HeldOut] = ("diabetes", "cancer", "wine", "friedman", "photographs", "adding"),
        held_out_steps: Count = 150,
        population: Annotated[int, Field(ge=1, le=4096)] = 64,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.later = tuple(children if final_children is None else final_children)
        lists = {"children": children, "final_children": self.later, "rates": rates, "decays": decays}
        for name, values in {**lists, "held_out": held_out}.items():
            if not values or len(set(values)) < len(values):
                raise RuleError(f"{name}: at least one, each once, not {list(values)}")
        if space == "rules" and start != "random":
            raise RuleError("start: only programs start at adamw")
        if space == "programs" and without:
            raise RuleError("without: only rules have operands and functions to leave out")
        if space == "programs" and groups != 2:
            raise RuleError("groups: only rules have groups; programs have lines")
        if space == "rules" and lines != 12:
            raise RuleError("lines: only programs have lines; rules have groups")
        self.memory, self.wider, self.names, self.decays = memory, wider, tuple(children), tuple(decays)
        self.plan = Plan(tuple(rates), (0.0,), sweep, steps, batch, repeats, schedule)
        self.held_out, self.held_out_steps, self.batch = tuple(held_out), held_out_steps, population
        self.data = load(dataset, root=root, seed=seed)
        if len(self.data.train) < batch:
            raise RuleError(f"batch: {dataset} has {len(self.data.train)} train images, which is less than {batch}")
        self.encoding: RuleSpace | ProgramSpace = (
            RuleSpace(groups, without) if space == "rules" else ProgramSpace(lines, memory, start)
        )
        plain = self.encoding.space
        self.space = Space(*plain.decisions, narrow=plain.narrow, canonical=self._canonical)
        self.references = {name: {"reference": name} for name in (*REFERENCES, *([MUON] if alone.HAS_MUON else []))}

    # ---------------------------------------------------------------- what searchers see

    @property
    def variation(self) -> Variation:
        """The space's own, or the generic one."""
        return self.encoding.variation or super().variation

    def program(self, candidate: Mapping[str, Value]) -> Program:
        """The statements of a candidate, or of a reference. Raises RuleError for Muon, which has none."""
        if candidate.get("reference") == MUON:
            raise RuleError("muon works on whole matrices and is no rule of single numbers")
        if "reference" in candidate:
            return REFERENCES[str(candidate["reference"])]
        return self.encoding.program(dict(candidate))

    def rule(self, candidate: Candidate) -> Graph:
        """What a candidate does. Raises RuleError for what is no rule, or needs more memory than allowed."""
        made = graph(self.program(candidate), None if "reference" in candidate else self.memory)
        fingerprint(made)
        return made

    # ---------------------------------------------------------------- evaluation

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """`loss`, and `accuracy`; of each child its own loss and learning rate. Not a number where a rule diverges.

        budget: steps of a training.
        """
        (found,) = self.evaluate_many([job], report)
        if isinstance(found, Failure):
            raise RuleError(found.message)
        return found

    def evaluate_many(self, jobs: Sequence[Job], report: Report) -> list[Metrics | Failure]:
        """As `evaluate`; rules of one seed, budget and stage train together."""
        found: list[Metrics | Failure] = [{} for _ in jobs]
        together: dict[tuple[int, float | None, str], list[tuple[int, Graph | None]]] = {}
        for place, job in enumerate(jobs):
            try:
                rule = None if job.candidate.get("reference") == MUON else self.rule(job.candidate)
            except RuleError as error:
                found[place] = Failure("invalid", str(error))
                continue
            together.setdefault((job.seed, job.budget, job.stage), []).append((place, rule))
        for (seed, budget, stage), rules in together.items():
            children, plan = self._stage(stage, budget)
            outcomes = self._trained([rule for _, rule in rules], children, plan, seed)
            for (place, _), own in zip(rules, outcomes, strict=True):
                found[place] = _metrics(own, children)
        return found

    def test(self, job: Job, report: Report) -> Metrics:
        """`heldout_loss`, the geometric mean over tasks that no search saw, and `heldout_<task>_loss` of each."""
        steps = self.held_out_steps
        plan = replace(self.plan, decays=self.decays, sweep=steps, steps=steps, repeats=1)
        children = [held_out_task(name) for name in self.held_out]
        rule = None if job.candidate.get("reference") == MUON else self.rule(job.candidate)
        (own,) = self._trained([rule], children, plan, job.seed)
        losses = {name: outcome.loss for name, outcome in own.items() if outcome is not None}
        if len(losses) < len(children):
            return {}
        each = {f"heldout_{name}_loss": loss for name, loss in losses.items()}
        return {"heldout_loss": _mean(losses.values())} | each  # the first is the one that reports compare

    def export(self, job: Job, folder: Path) -> None:
        """`optimizer.py`, and the formula; see export.py. The learning rate is the best one on the first child."""
        from automl_ext.tasks.optimizer.export import write

        children, plan = self._stage(job.stage if job.stage.startswith("final") else "search", job.budget)
        outcome = self._trained([self.rule(job.candidate)], children[:1], plan, job.seed)[0][children[0].name]
        if outcome is None:
            raise RuleError("it diverges at every learning rate")
        write(self.program(job.candidate), folder, outcome.rate, outcome.decay)

    def describe(self, candidate: Candidate) -> str:
        """Its formula."""
        return "" if candidate.get("reference") == MUON else "\n".join(formulas(self.program(candidate), "text"))

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`formula.svg`; `curves.svg` and `held-out.svg`, beside references; `update.svg`: its sign and size."""
        from automl_ext.tasks.optimizer import illustrate

        if candidate.get("reference") != MUON:
            tasks = [held_out_task(name) for name in self.held_out]
            longer = replace(self.plan, sweep=self.held_out_steps, steps=self.held_out_steps, repeats=1)
            illustrate.draw(self.program(candidate), self._children(self.later), self.plan, tasks, longer, folder)

    # ---------------------------------------------------------------- parts

    def _stage(self, stage: str, budget: float | None) -> tuple[Sequence[Child], Plan]:
        """What is trained in a stage, and how."""
        steps = round(budget) if budget else self.plan.steps
        if not stage.startswith("final"):
            return self._children(self.names), replace(self.plan, steps=steps)
        plan = replace(self.plan, decays=self.decays, sweep=steps, steps=steps)
        return self._children(self.later, 1 if stage == "final-1" else self.wider), plan

    def _children(self, names: Sequence[ChildName], width: int = 1) -> Sequence[Child]:
        for name in names:
            if (name, width) not in self._made:
                self._made[name, width] = child(name, self.data, width)
        return [self._made[name, width] for name in names]

    @cached_property
    def _made(self) -> dict[tuple[str, int], Child]:
        return {}

    def _trained(
        self, rules: Sequence[Graph | None], children: Sequence[Child], plan: Plan, seed: int
    ) -> list[dict[str, Outcome | None]]:
        """What becomes of each rule (None: Muon) on each child; those that fail on one are spared the next."""
        outcomes: list[dict[str, Outcome | None]] = [{} for _ in rules]
        for each in children:
            left = [place for place, own in enumerate(outcomes) if None not in own.values()]
            known = {place: rule for place in left if (rule := rules[place]) is not None}
            found = dict(zip(known, trained(list(known.values()), each, plan, seed), strict=True))
            for place in left:
                outcomes[place][each.name] = (
                    found[place] if place in found else alone.trained_alone(alone.muon, each, plan, seed)
                )
        return outcomes

    def _canonical(self, candidate: Candidate) -> Candidate:
        try:
            return {"does": fingerprint(self.rule(candidate))}
        except RuleError:
            return candidate


def _metrics(outcomes: Mapping[str, Outcome | None], children: Sequence[Child]) -> Metrics:
    whole = {name: outcome for name, outcome in outcomes.items() if outcome is not None}
    if len(whole) < len(children):
        return {"loss": math.nan}
    found = {
        "loss": _mean(outcome.loss for outcome in whole.values()),
        "accuracy": sum(outcome.accuracy for outcome in whole.values()) / len(whole),
    }
    for name, outcome in whole.items():
        found |= {f"{name}_loss": outcome.loss} if len(whole) > 1 else {}
        found |= {f"{name}_rate": outcome.rate}
    return found


def _mean(losses: Iterable[float]) -> float:
    """The geometric mean, which no child with larger losses than the others rules."""
    values = [math.log(max(loss, 1e-12)) for loss in losses]
    return math.exp(sum(values) / len(values))
