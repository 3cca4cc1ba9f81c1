"""Optuna's samplers on our spaces: TPE, Gaussian process, CMA-ES, NSGA-II, NSGA-III, random. An extra.

T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, "Optuna: A Next-generation Hyperparameter Optimization Framework",
KDD 2019, arXiv 1907.10902; TPE after J. Bergstra, R. Bardenet, Y. Bengio, B. Kegl, NIPS 2011.

A walk through the space drives Optuna's define-by-run suggestions; a parameter's name is the slot's path.

Differs from Optuna:
1. A parameter keeps its declared range, since Optuna wants one distribution a name; where the space narrows it, the
   suggestion goes to the nearest legal value, and that value is what Optuna is told. Where branches put different
   decisions at one path, each has a name of its own (path#0, path#1). An integer with `log` has no step there.
2. Each ask works on a throw-away copy of the study with a new sampler, seeded for this ask, so that asking changes
   nothing and a resumed search repeats. So the Gaussian process does not start its fit from the last one.
3. Pending trials are running ones (constant liar). Failed trials are told as FAIL. Limits are constraints; random and
   CMA-ES know none, and what misses a limit is told them as FAIL.
4. What a sampler stores in the study (CMA-ES's distribution, NSGA's parents) is worked out when a trial is told, by an
   ask whose trial is dropped, and never leaves the process. A trial's generation is in its note.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal

import numpy as np

from automl_ext.decisions import Choice, Decision, Integer, Value
from automl_ext.objective import Objective
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate, Walk

Sampler = Literal["tpe", "gp", "cmaes", "nsga2", "nsga3", "random"]
CLASSES: Mapping[str, str] = {
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "random": "RandomSampler",
}
WITH_GENERATIONS = {"cmaes", "nsga2", "nsga3"}
WITHOUT_CONSTRAINTS = {"cmaes", "random"}
NEEDED = {"cmaes": ("cmaes",), "gp": ("scipy", "torch")}
STUDY = "automl-ext"


class Optuna:
    """sampler: which of Optuna's. options: of that sampler, by Optuna's names (n_startup_trials, population_size, ...).

    Raises ImportError where Optuna is not installed, ValueError for options that the sampler does not take, and for
    several objectives with CMA-ES.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        sampler: Sampler = "tpe",
        options: dict[str, bool | int | float | str] | None = None,
    ) -> None:
        if sampler not in CLASSES:
            raise ValueError(f"searcher.sampler: one of {', '.join(CLASSES)}, not {sampler!r}")
        if sampler == "cmaes":
            one_objective(target.objectives, "optuna's cmaes")
        self._library = _import(sampler)
        self.space = target.space
        self.sampler = sampler
        self.objectives = [o for place, o in enumerate(target.objectives) if place == 0 or o.limit is None]
        self.limits = [objective for objective in target.objectives if objective.limit is not None]
        self.options = self._checked(options or {})
        self._parameters = self._distributions()
        with quiet(self._library):
            self.storage = self._library.storages.InMemoryStorage()
            directions = [self._library.study.StudyDirection[f"{o.goal.upper()}IMIZE"] for o in self.objectives]
            self.study = self.storage.create_new_study(directions, STUDY)

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        with quiet(self._library):
            storage = self._copy()
            for proposal in pending:
                running = self._trial(proposal.candidate, "RUNNING", system_attrs=dict(proposal.note))
                storage.create_new_trial(self.study, running)
            candidate, attributes = self._drawn(storage, rng)
        return Proposal(candidate, {key: value for key, value in attributes.items() if key.endswith("generation")})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Add the trial to the study, with what the sampler wants to remember from then on."""
        with quiet(self._library):
            told = self._told(trial, dict(trial.note))
            if self.sampler in WITH_GENERATIONS:
                storage = self._copy()
                storage.create_new_trial(self.study, told)
                _, attributes = self._drawn(storage, rng)
                kept = {key: value for key, value in attributes.items() if "optimizer" in key}
                told = self._told(trial, {**trial.note, **kept})
                for key, value in storage.get_study_system_attrs(self.study).items():
                    self.storage.set_study_system_attr(self.study, key, value)
            self.storage.create_new_trial(self.study, told)

    # ---------------------------------------------------------------- the study

    def _copy(self) -> Any:
        """Another storage with the same trials, which are shared: Optuna replaces a trial and does not change it."""
        trials = self.storage.get_all_trials(self.study, deepcopy=False)
        return copy.deepcopy(self.storage, {id(trial): trial for trial in trials})

    def _drawn(self, storage: Any, rng: np.random.Generator) -> tuple[Candidate, dict[str, Any]]:
        """A candidate, and what the sampler stored with its trial, which stays in `storage`."""
        sampler = self._make(int(rng.integers(2**31)), self.options)
        trial = self._library.load_study(study_name=STUDY, storage=storage, sampler=sampler).ask()
        candidate = self.space.build(lambda walk: self._suggest(trial, walk))
        return candidate, storage.get_trial_system_attrs(trial._trial_id)

    def _told(self, trial: Trial, attributes: dict[str, Any]) -> Any:
        """The trial as Optuna has it: COMPLETE with its values and constraints, or FAIL."""
        metrics = trial.metrics
        if metrics is None or not all(np.isfinite(metrics[o.name]) for o in (*self.objectives, *self.limits)):
            return self._trial(trial.candidate, "FAIL", system_attrs=attributes)
        constraints = {objective.name: _constraint(objective, metrics[objective.name]) for objective in self.limits}
        if self.sampler in WITHOUT_CONSTRAINTS:
            if any(value > 0 for value in constraints.values()):
                return self._trial(trial.candidate, "FAIL", system_attrs=attributes)
            constraints = {}
        values = [float(metrics[objective.name]) for objective in self.objectives]
        return self._trial(
            trial.candidate, "COMPLETE", values=values, constraints=constraints or None, system_attrs=attributes
        )

    def _trial(self, candidate: Candidate, state: str, **facts: Any) -> Any:
        """An Optuna trial with the parameters that a walk along `candidate` decides."""
        parameters: dict[str, Value] = {}
        walk = Walk(self.space)
        while not walk.done:
            parameters[self._parameters[walk.path, id(walk.declared)][0]] = candidate[walk.path]
            walk.choose(candidate[walk.path])
        known = dict(self._parameters.values())
        return self._library.trial.create_trial(
            state=self._library.trial.TrialState[state],
            params=parameters,
            distributions={name: known[name] for name in parameters},
            **facts,
        )

    # ---------------------------------------------------------------- the space

    def _distributions(self) -> dict[tuple[str, int], tuple[str, Any]]:
        """(path, id of the declared decision) -> (name, distribution)."""
        found = {}
        for slot in self.space.slots:
            for place, decision in enumerate(slot.decisions):
                name = slot.path if len(slot.decisions) == 1 else f"{slot.path}#{place}"
                found[slot.path, id(decision)] = (name, self._distribution(decision))
        return found

    def _distribution(self, decision: Decision) -> Any:
        kinds = self._library.distributions
        if isinstance(decision, Choice):
            return kinds.CategoricalDistribution(decision.options)
        if isinstance(decision, Integer):
            step = 1 if decision.log else decision.step
            return kinds.IntDistribution(decision.low, decision.high, log=decision.log, step=step)
        return kinds.FloatDistribution(decision.low, decision.high, log=decision.log)

    def _suggest(self, trial: Any, walk: Walk) -> Value:
        """Optuna's value for the declared decision; the walk takes the nearest legal one."""
        name, _ = self._parameters[walk.path, id(walk.declared)]
        decision = walk.declared
        value: Value
        if isinstance(decision, Choice):
            value = trial.suggest_categorical(name, decision.options)
        elif isinstance(decision, Integer):
            step = 1 if decision.log else decision.step
            value = trial.suggest_int(name, decision.low, decision.high, log=decision.log, step=step)
        else:
            value = trial.suggest_float(name, decision.low, decision.high, log=decision.log)
        return value

    # ---------------------------------------------------------------- the sampler

    def _checked(self, options: Mapping[str, bool | int | float | str]) -> dict[str, Any]:
        """The options as they are. ValueError for such as the sampler does not take."""
        taken = [name for name in inspect.signature(self._class).parameters if name != "seed"]
        for name in options:
            if name not in taken:
                raise ValueError(f"searcher.options: {self.sampler} takes no {name!r} (legal: {', '.join(taken)})")
        try:
            with quiet(self._library):
                self._make(0, options)
        except (TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"searcher.options: {self.sampler} refuses {dict(options)}: {error}") from error
        return dict(options)

    def _make(self, seed: int, options: Mapping[str, Any]) -> Any:
        return self._class(seed=seed, **options)

    @property
    def _class(self) -> Any:
        return getattr(self._library.samplers, CLASSES[self.sampler])


def _constraint(objective: Objective, value: float) -> float:
    """Optuna's form of a limit: kept where it is at most 0."""
    limit = objective.limit or 0.0
    return limit - value if objective.goal == "max" else value - limit


def _import(sampler: str) -> Any:
    """Optuna, and what the sampler needs beside it."""
    try:
        for needed in NEEDED.get(sampler, ()):
            import_module(needed)
        return import_module("optuna")
    except ModuleNotFoundError as error:
        reason = f'optuna needs an extra: pip install "automl-ext[optuna]" ({error})'
        raise ImportError(f"searcher.name: {reason}") from None


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """Optuna logs errors only, and warns of nothing experimental; afterwards it is as it was."""
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity(library.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", library.exceptions.ExperimentalWarning)
            yield
    finally:
        library.logging.set_verbosity(verbosity)
