"""SearchEnv: a search target is an environment.

Subclasses say what can be chosen (`space`) and how good a choice is (`evaluate`). They are final. As a Gymnasium
environment an episode is one walk: each step settles one decision, the reward comes when the candidate is whole.
The search loop does not step; it calls `evaluate` in worker processes.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

import gymnasium
import numpy as np
from numpy.typing import NDArray

from automl_ext import registry
from automl_ext.objective import Metrics, Objective
from automl_ext.searcher import Failure, Target, Variation
from automl_ext.space import Candidate, Choice, Decision, Space, Value, Walk

Report = Callable[[float, float], bool]
"""report(step, value) -> stop now? Adds a point to the trial's learning curve."""


class _OnDemand:
    """A field of `Job` for a path, or for a function that gives it: called when the field is read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.kept = "_" + name

    def __get__(self, job: Job | None, owner: type | None = None) -> str | None:
        held = None if job is None else job.__dict__[self.kept]  # None of the class is the default of the field
        return held() if callable(held) else held

    def __set__(self, job: Job, value: str | Callable[[], str | None] | None) -> None:
        job.__dict__[self.kept] = value


@dataclass(frozen=True)
class Job:
    """What a worker gets. Folders are paths as text, or None where there is none.

    folder: the evaluation's own, empty; made when it is first read, for most targets keep nothing.
    parent: the finished folder of the trial to inherit from.
    shared: what `prepare` made. budget: what this evaluation may cost, in the target's own unit (None: its default).
    stopping: a rule for early stopping, JSON fixed when the job was asked; {}: it cannot judge yet, and
    wants the curve.
    """

    number: int
    candidate: Candidate
    budget: float | None = None
    seed: int = 0
    stage: str = "search"
    folder: _OnDemand = _OnDemand()
    parent: str | None = None
    shared: str | None = None
    stopping: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def never_stop(step: float, value: float) -> bool:
    """A report for evaluations outside a search: records nothing, never stops."""
    return False


class SearchEnv(gymnasium.Env[NDArray[np.float32], Any], ABC):
    """A search target. A subclass sets `space` and `objectives` (the first is the primary one) and writes `evaluate`.

    references: hand-made candidates by name, shown beside every result; they may lie outside a narrowed space.
    bins: into how many values a number is binned where the space mixes choices and numbers.
    batch: how many jobs `evaluate_many` likes to get at once.
    measured: names of further metrics that are wall-clock quantities and stay outside the promise of determinism.
    waits: whether bounds of the space, or references, are known only after `ready`. A searcher is then built for a
    second time after it, and the first `reset` prepares.
    notes: what a user should know of this target, a line each; shown at the start and in the log.
    combines: how many of the best candidates `combine` takes; 0 where it is not written.
    """

    space: Space
    objectives: tuple[Objective, ...]
    references: Mapping[str, Candidate] = {}
    bins: int = 9
    batch: int = 1
    measured: tuple[str, ...] = ()
    waits: bool = False
    notes: Sequence[str] = ()
    combines: int = 0
    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    supernet: Callable[[np.random.Generator], Any] | None = None
    _walk: Walk
    _ended: bool = True

    def prepare(self, folder: Path) -> None:
        """Once a run, before any evaluation: put what all evaluations share into `folder` (empty at the start)."""

    def ready(self, folder: Path) -> None:
        """Learn from what `prepare` left in `folder` how the space is narrowed, and candidates of references.

        Called in the process that searches, before the first proposal; also of a resumed run, and before an export.
        Workers do without it. It changes neither decisions nor objectives and adds no name to the references. The space
        can be walked before it, too, with the decisions as declared. An environment that needs it sets `waits`.
        """

    @abstractmethod
    def evaluate(self, job: Job, report: Report) -> Metrics:
        """Metrics of one candidate; at least the objectives. Whatever it raises makes a failed trial."""

    def evaluate_many(self, jobs: Sequence[Job], report: Report) -> list[Metrics | Failure]:
        """Metrics of several candidates, bit-equal to one by one. Only called where `batch` > 1."""
        raise TypeError(f"{type(self).__name__} sets batch > 1 and does not write evaluate_many")

    def test(self, job: Job, report: Report) -> Metrics:
        """Metrics on the test split, of finalists and references only. `job.parent`: the folder of its last trial.

        The default has no test split and reports nothing.
        """
        return {}

    def combine(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """One candidate out of the best `combines` of the search, the best first, for the final stages beside them.

        It may lie outside the space. AutoAugment's final policy is made so. None: there is none.
        """
        return None

    def export(self, job: Job, folder: Path) -> None:
        """Write artefacts that load without this package into `folder`. `job.parent`: its last trial's folder."""

    def describe(self, candidate: Candidate) -> str:
        """A few lines of text that say what a candidate is, for the report's finalists. Cheap; "": nothing to say."""
        return ""

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """Write SVG files that show `candidate` into `folder`, for the report."""

    def depict(self, job: Job, folder: Path) -> None:
        """Write SVG files that show an evaluated candidate into `folder`. `job.parent`: its last trial's folder.

        The default illustrates the candidate; a target writes this, too, where trained networks have something to show.
        """
        self.illustrate(job.candidate, folder)

    def observe(self, walk: Walk) -> NDArray[np.float32]:
        """Features of an unfinished walk for learning agents, flat, in [0, 1]: what is made, and where the walk is."""
        here = np.array([slot.path == walk.path for slot in self.space.slots], dtype=np.float32)
        made = self.space.to_vector(walk.candidate).astype(np.float32)
        return np.concatenate([made, here])

    def features(self, candidate: Candidate) -> NDArray[np.float64]:
        """(d,) what surrogate models learn on; the vector view unless the task knows better (paths of a network)."""
        return self.space.to_vector(candidate)

    @property
    def variation(self) -> Variation:
        """How evolution changes a candidate; the generic one unless the paper has its own."""
        from automl_ext.evolution.variation import GenericVariation

        return GenericVariation(self.space)

    # ---------------------------------------------------------------- final: the Gymnasium side

    @final
    @property
    def target(self) -> Target:
        return Target(
            self.space,
            self.objectives,
            self.references,
            self.observe,
            self.variation,
            self.supernet,
            self.features,
        )

    @final
    @cached_property
    def discrete(self) -> bool:
        """Whether actions are `Discrete` (any choice in the space) or `Box(0, 1, (1,))` (numbers only)."""
        return any(isinstance(decision, Choice) for slot in self.space.slots for decision in slot.decisions)

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        if not self.discrete:
            return gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        sizes = [len(_actions(decision, self.bins)) for slot in self.space.slots for decision in slot.decisions]
        return gymnasium.spaces.Discrete(max(sizes))

    @cached_property
    def observation_space(self) -> gymnasium.Space[NDArray[np.float32]]:  # type: ignore[override]
        walk = self.space.walk()
        size = 1 if walk.done else len(self.observe(walk))
        return gymnasium.spaces.Box(0.0, 1.0, (size,), np.float32)

    @final
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Open a walk; `options={"made": partial candidate}` continues one. info: `action_mask`, `candidate`."""
        super().reset(seed=seed)
        if self.waits:
            self._prepared_once()
        self._walk = self.space.walk((options or {}).get("made", {}))
        return self._observation(), self._info()

    @final
    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Settle one decision. The reward is the primary objective, negated where minimised, at the end of the walk.

        Raises RuntimeError after the episode's end, and what `evaluate` raises.
        """
        walk: Walk | None = getattr(self, "_walk", None)
        if walk is None or (walk.done and self._ended):
            raise RuntimeError("the episode is over (or never began): call reset() before step()")
        requested: Value = None
        realised: Value = None
        if not walk.done:
            requested = self._decode(action, walk.declared)
            realised = walk.choose(requested)
        info = {**self._info(), "requested": requested, "realised": realised}
        if not walk.done:
            return self._observation(), 0.0, False, False, info
        self._ended = True
        metrics = self._measure(walk.candidate)
        return self._observation(), self.objectives[0].signed(metrics), True, False, {**info, "metrics": metrics}

    @final
    def action_masks(self) -> NDArray[np.bool_]:
        """(n,) which actions are legal now; at least one is."""
        size = int(self.action_space.n) if self.discrete else 1  # type: ignore[attr-defined]
        mask = np.zeros(size, dtype=bool)
        if not self.discrete or self._walk.done:
            mask[0] = True
            return mask
        values = _actions(self._walk.declared, self.bins)
        for index, value in enumerate(values):
            mask[index] = value in self._walk.decision
        if not mask.any():
            nearest = self._walk.declared.to_unit(self._walk.decision.first)
            mask[int(np.argmin([abs(self._walk.declared.to_unit(value) - nearest) for value in values]))] = True
        return mask

    @final
    def render(self) -> str:
        """The walk so far as text."""
        lines = [f"{path} = {value!r}" for path, value in self._walk.candidate.items()]
        return "\n".join([*lines, "done" if self._walk.done else f"{self._walk.path}: {self._walk.decision.legal}"])

    @final
    def close(self) -> None:
        """Remove the scratch folder of evaluations outside a search."""
        if "_scratch" in self.__dict__:
            self._cleanup()
            del self._scratch

    def _observation(self) -> NDArray[np.float32]:
        if self._walk.done:
            return np.zeros(self.observation_space.shape or (1,), dtype=np.float32)
        return np.array(self.observe(self._walk), dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        self._ended = False
        return {"action_mask": self.action_masks().astype(np.int8), "candidate": self._walk.candidate}

    def _decode(self, action: Any, declared: Decision) -> Value:
        if not self.discrete:
            return declared.from_unit(float(np.asarray(action).reshape(-1)[0]))
        values = _actions(declared, self.bins)
        return values[min(int(action), len(values) - 1)]

    def _measure(self, candidate: Candidate) -> dict[str, float]:
        """Evaluate outside a search."""
        shared = self._prepared_once()
        seed = int(self.np_random.integers(2**31))
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            job = Job(0, candidate, seed=seed, folder=folder, shared=str(shared))
            metrics = dict(self.evaluate(job, never_stop))
        if not all(math.isfinite(value) for value in metrics.values()):
            raise ValueError(f"evaluate gave a number that is not finite: {metrics}")
        return metrics

    def _prepared_once(self) -> Path:
        """Where, outside a search, what `prepare` makes lives: in a scratch folder until `close`."""
        if "_scratch" not in self.__dict__:
            self._scratch = Path(tempfile.mkdtemp(prefix="automl-ext-"))
            self._cleanup = weakref.finalize(self, shutil.rmtree, self._scratch, True)
            (self._scratch / "shared").mkdir()
            self.prepare(self._scratch / "shared")
            self.ready(self._scratch / "shared")
        return self._scratch / "shared"


def _actions(decision: Decision, bins: int) -> Sequence[Value]:
    """The values behind the discrete actions at a declared decision."""
    return decision.declared if isinstance(decision, Choice) else decision.grid(bins)


registry.register()  # whoever has environments at hand can have ours from gymnasium.make
