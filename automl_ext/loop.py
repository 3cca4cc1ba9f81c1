"""The loop of one stage: ask, evaluate, record, tell, in the order that `Order` gives.

    proposal <- searcher.ask      metrics <- executor      trial -> journal (durable)      trial -> searcher.tell

A trial whose line is in the journal already stands in for its evaluation, so a resumed stage repeats the same asks and
tells and evaluates only what is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from automl_ext import state
from automl_ext.cache import Cache, Folders
from automl_ext.dispatch import Dispatch
from automl_ext.env import Job, SearchEnv
from automl_ext.executors import Executor
from automl_ext.fronts import Archive
from automl_ext.goals import Goals
from automl_ext.halt import Halt
from automl_ext.objective import rank
from automl_ext.order import Order
from automl_ext.progress import Progress
from automl_ext.run import Run, RunError
from automl_ext.searcher import Failure, Proposal, Searcher, Trial, standing, stream
from automl_ext.space import SpaceError
from automl_ext.stopping.rule import Rule

CAUSES = 5
"""How many different causes of failure a stage shows, each once."""


@dataclass(frozen=True)
class Crew:
    """What every stage of a run works with. `payload`: {"env", "path"}, how a worker builds the environment."""

    env: SearchEnv
    goals: Goals
    executor: Executor
    progress: Progress
    halt: Halt
    payload: dict[str, Any]


@dataclass
class Stage:
    """One stage of a run. `seed_of` gives a trial's seed; `checked`: candidates must lie in the space.

    stopping: stops evaluations by their curves; these then run one by one, since a batch has no curve for each.
    timed: whether the wall time ends it; what the journal holds already is always repeated.

    Raises RunError when a searcher breaks its contract, the journal does not repeat, or `max_failures` is reached.
    """

    run: Run
    crew: Crew
    name: str
    searcher: Searcher
    seed_of: Callable[[int, Proposal], int]
    limit: int | None = None
    first: int = 0
    checked: bool = True
    stopping: Rule | None = None
    timed: bool = False

    def __post_init__(self) -> None:
        config, env = self.run.config, self.crew.env
        self.order = Order(config.parallel, self.limit, self.first)
        batch = 1 if self.stopping else env.batch
        self.dispatch = Dispatch(self.crew.executor, self.crew.payload, batch, config.timeout, config.retries)
        self.cache = Cache(env.space) if config.cache and self.name == "search" else None
        self.folders = Folders(self.run)
        self.pending: dict[int, Proposal] = {}
        self.best: Trial | None = None
        self.front = Archive(self.crew.goals.objectives)
        self._results: dict[int, Trial] = {}
        self._fixed: dict[int, dict[str, Any] | None] = {}
        self._followers: dict[int, list[int]] = {}
        self._failures: tuple[str, int] = ("", 0)
        self._shown: set[str] = set()
        self._started, self._evaluated = time.monotonic(), 0

    def play(self) -> int:
        """Run the stage to its end. Returns the number behind its last trial. Raises Interrupted when told to stop."""
        self.crew.progress.stage(self.name, self.limit)
        self._load_state()
        while True:
            if self.crew.halt.interrupted:
                self._drain()
            if self.timed and self.crew.halt.over and self.order.asked >= self.run.journal.end:
                self.order.stop()
            event, number = self.order.next()
            if event == "ask":
                self._ask(number)
            elif event == "tell":
                self._tell(number)
            elif event == "wait":
                for finished, result in self.dispatch.wait():
                    self._record(finished, result)
            else:
                return self.order.asked

    # ---------------------------------------------------------------- ask

    def _ask(self, number: int) -> None:
        rng = stream(self.run.config.seed, "ask", number)
        proposal = self.searcher.ask(number, list(self.pending.values()), rng)
        self.order.ask(number, proposal is not None)
        if proposal is not None:
            self._admit(number, self._checked(number, proposal))

    def _checked(self, number: int, proposal: Proposal) -> Proposal:
        """The proposal with its note as JSON gives it back, so that a resumed run sees the same."""
        try:
            if self.checked:
                self.crew.env.space.check(proposal.candidate)
            return replace(proposal, note=json.loads(json.dumps(proposal.note, allow_nan=False)))
        except (SpaceError, TypeError, ValueError) as error:
            name = self.run.config.searcher.name
            raise RunError(f"searcher {name} broke its contract at ask {number}: {error}") from error

    def _admit(self, number: int, proposal: Proposal) -> None:
        """Find the result of a proposal: in the journal, from an equal trial, or by evaluating it."""
        self.pending[number] = proposal
        self._fix_stopping(number, proposal)
        original = self.cache.original(number, proposal) if self.cache else None
        if number in self.run.journal:
            trial = self._recorded(number, proposal)
            if trial.origin == "cached" and original is not None:
                self.folders.copied(number, original)
            self._finish(trial)
        elif original is None:
            self._evaluate(number)
        elif original in self.pending and original not in self._results:
            self._followers.setdefault(original, []).append(number)
        else:
            self._follow(number, original)

    def _fix_stopping(self, number: int, proposal: Proposal) -> None:
        """Ask the rule now, with what is told now: an evaluation may begin later, at a time that depends on workers.

        A rule that cannot judge yet learns from whole curves, so these are asked for: {}.
        """
        if self.stopping is None or number in self.run.journal or number in self._fixed:
            return
        fixed = self.stopping.stopping(proposal, self.seed_of(number, proposal))
        name = self.run.config.stopping.name if self.run.config.stopping else ""
        self._fixed[number] = {} if fixed is None else json.loads(json.dumps({"rule": name, **fixed}))

    def _recorded(self, number: int, proposal: Proposal) -> Trial:
        trial = self.run.journal.get(number)
        asked = (self.name, proposal.candidate, proposal.budget, proposal.parent)
        if asked != (trial.stage, trial.candidate, trial.budget, trial.parent):
            raise RunError(
                f"{self.run.folder}: trial {number} of the journal is not what this configuration and these versions "
                f"ask for; start a new run (journal: {trial.candidate}, asked: {proposal.candidate})"
            )
        return trial

    def _follow(self, number: int, original: int) -> None:
        """Take the recorded result of an equal trial; evaluate where that one failed or was stopped."""
        known = self.run.journal.get(original)
        if known.metrics is None or known.origin == "stopped":
            self._evaluate(number)
            return
        self.folders.copied(number, original)
        self._record(number, {"metrics": known.metrics, "curve": known.curve, "origin": "cached"})

    # ---------------------------------------------------------------- evaluate and record

    def _evaluate(self, number: int) -> None:
        proposal = self.pending[number]
        self.dispatch.add(
            Job(
                number=number,
                candidate=proposal.candidate,
                budget=proposal.budget,
                seed=self.seed_of(number, proposal),
                stage=self.name,
                folder=str(self.run.trial_folder(number).absolute()),
                parent=self.folders.parent(proposal.parent),
                shared=str(self.run.shared.absolute()),
                stopping=self._fixed.get(number),
            )
        )

    def _record(self, number: int, result: dict[str, Any]) -> None:
        proposal = self.pending[number]
        if self.name != "test" and result.get("origin") != "cached":
            result = self.crew.goals.settled(result)
        trial = Trial(
            number=number,
            stage=self.name,
            candidate=proposal.candidate,
            note=proposal.note,
            budget=proposal.budget,
            seed=self.seed_of(number, proposal),
            parent=proposal.parent,
            **{"metrics": None, **result},
        )
        self.run.journal.append(trial)
        self._evaluated += 1
        self._finish(trial)

    def _finish(self, trial: Trial) -> None:
        self._results[trial.number] = trial
        self.order.finish(trial.number)
        for number in self._followers.pop(trial.number, []):
            self._follow(number, trial.number)

    # ---------------------------------------------------------------- tell

    def _tell(self, number: int) -> None:
        trial, proposal = self._results.pop(number), self.pending.pop(number)
        self.searcher.tell(trial, stream(self.run.config.seed, "tell", number))
        self._fixed.pop(number, None)
        if self.stopping is not None:
            self.stopping.tell(trial, stream(self.run.config.seed, "stopping", number))
        self.order.tell(number)
        if self.cache:
            self.cache.told(trial, proposal)
        if self.name != "test":
            self._judge(trial)
        if self.name == "search":
            keep = getattr(self.searcher, "keep", set)() | ({self.best.number} if self.best else set())
            keep = keep | set(self.front.numbers)
            self.folders.tidy(number, keep | {p.parent for p in self.pending.values() if p.parent is not None})
        self._save_state()
        told, out = self.order.told - self.first, self.order.asked - self.order.told
        self.crew.progress.trial(trial, told, out, self.best, self._seconds_left(told))

    def _judge(self, trial: Trial) -> None:
        """Keep the best, count failures of the same cause in a row, stop at the target."""
        if trial.error is not None:
            self._count_failure(trial, trial.error)
            return
        self._failures = ("", 0)
        if trial.origin == "stopped" or trial.metrics is None:
            return
        objectives = self.crew.goals.objectives
        self.front.add(trial.number, trial.metrics, trial.budget)
        if self.best is None or standing(trial, objectives) > standing(self.best, objectives):
            self.best = trial
        goal = self.run.config.target if self.name == "search" else None
        if goal is not None and rank(trial.metrics, objectives) >= (
            0.0,
            objectives[0].signed({objectives[0].name: goal}),
        ):
            self.order.stop()

    def _count_failure(self, trial: Trial, error: Failure) -> None:
        cause = f"{error.kind}: {error.message.partition(chr(10))[0]}"
        count = self._failures[1] + 1 if self._failures[0] == cause else 1
        self._failures = (cause, count)
        self.run.log(f"trial {trial.number} failed: {cause}")
        log = self.run.trial_folder(trial.number) / "log.txt"
        where = f" ({log})" if log.exists() else ""
        if cause not in self._shown and len(self._shown) < CAUSES:
            self._shown.add(cause)
            more = "; all that follow stand in run.log only" if len(self._shown) == CAUSES else ""
            self.crew.progress.note(f"trial {trial.number} failed: {cause}{where}{more}")
        if count >= self.run.config.max_failures:
            raise RunError(f"stopped: {count} trials in a row failed with {cause}{where}")

    def _seconds_left(self, told: int) -> float | None:
        """An estimate from this session's own pace; None before the first evaluation."""
        wall = self.crew.halt.left() if self.timed else None
        if self.limit is None or not self._evaluated:
            return wall
        left = (time.monotonic() - self._started) / self._evaluated * (self.limit - told)
        return left if wall is None else min(left, wall)

    # ---------------------------------------------------------------- saved state, early end

    def _save_state(self) -> None:
        if hasattr(self.searcher, "state"):
            state.save(self._state_file, self.searcher.state(), self.order.told, self.pending, self._fixed)

    def _load_state(self) -> None:
        """Continue from a saved state instead of repeating the tells, where the searcher has one."""
        if not hasattr(self.searcher, "load") or not self._state_file.exists():
            return
        saved, told, pending, self._fixed = state.load(self._state_file)
        self.searcher.load(saved)
        for number in range(self.first, told):
            trial = self.run.journal.get(number)
            proposal = Proposal(trial.candidate, trial.note, trial.budget, trial.parent)
            original = self.cache.original(number, proposal) if self.cache else None
            if trial.origin == "cached" and original is not None:
                self.folders.copied(number, original)
            if self.cache:
                self.cache.told(trial, proposal)
            if self.stopping is not None:
                self.stopping.tell(trial, stream(self.run.config.seed, "stopping", number))
            self._judge(trial)
        self.order.continue_at(told, told + len(pending))
        for number, proposal in pending.items():
            self._admit(number, proposal)

    @property
    def _state_file(self) -> Any:
        return self.run.folder / f"searcher-{self.name}.safetensors"

    def _drain(self) -> None:
        """Start nothing more; record what finishes within the grace time; then raise Interrupted."""
        halt = self.crew.halt
        finished = self.dispatch.drain(0.0)
        self.crew.progress.note(halt.message(self.dispatch.running))
        while True:
            for number, result in finished:
                self._record(number, result)
            if not self.dispatch.running or halt.grace_left() <= 0:
                halt.leave()
            finished = self.dispatch.drain(0.2)
