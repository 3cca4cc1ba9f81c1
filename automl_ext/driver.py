"""A whole run: prepare, search, baselines, final stages, test, export.

config -> env -> searcher -> journal -> report
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from automl_ext.config import Component, Config, checked, load
from automl_ext.env import Job, SearchEnv
from automl_ext.executors import Executor, WorkerDied, build_executor
from automl_ext.finals import play_finals
from automl_ext.goals import Goals, build_goals
from automl_ext.halt import Halt, Interrupted
from automl_ext.journal import write_json
from automl_ext.loop import Crew, Stage
from automl_ext.mistakes import ConfigError
from automl_ext.progress import Progress, Silent
from automl_ext.registry import check_options, make, searcher_class
from automl_ext.rules import stopping_class
from automl_ext.run import Run, RunError
from automl_ext.searcher import Proposal, Searcher, Target, Trial, job_seed, leader, stream, who
from automl_ext.stopping.rule import Rule
from automl_ext.worker import one_thread

__all__ = ["Interrupted", "RunError", "search", "start"]


def start(
    config: Config | str | Path | Mapping[str, Any],
    out: str | Path = "runs",
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Run:
    """Make a run from a config and search. Everything that can be refused is refused before anything is written.

    Raises ConfigError, SpaceError and what the environment's constructor raises for bad options; see also `search`.
    """
    if isinstance(config, str | Path):
        config = load(config)
    config = checked(config if isinstance(config, Config) else Config.from_dict(config))
    env = build_env(config)
    goals = build_goals(config, env.objectives)
    searcher = build_searcher(config.searcher, goals.seen(env.target), config.seed)
    build_stopping(config, goals, env.target)
    run = Run.create(config, out)
    return search(run, env=env, searcher=None if env.waits else searcher, executor=executor, progress=progress)


def build_env(config: Config) -> SearchEnv:
    """The environment that the config names."""
    env = make(config.env.id, **config.env.options).unwrapped
    if not isinstance(env, SearchEnv):
        raise RunError(f"{config.env.id}: {type(env).__name__} is no SearchEnv; a target is a subclass of it")
    return env


def build_searcher(component: Component, target: Target, seed: int) -> Searcher:
    """The searcher that the config names, with its own stream of randomness."""
    kind = searcher_class(component.name)
    options = check_options(kind, component.options, "searcher")
    searcher: Searcher = kind(target, stream(seed, "build"), **options)
    return searcher


def build_stopping(config: Config, goals: Goals, target: Target) -> Rule | None:
    """The stopping rule that the config names, if any. ConfigError beside a reward: curves are of one objective."""
    if config.stopping is None:
        return None
    if goals.rule is not None:
        raise ConfigError(
            "stopping", f"judges curves of {goals.target[0].name}, and a reward is followed; use one only"
        )
    kind = stopping_class(config.stopping.name)
    options = check_options(kind, config.stopping.options, "stopping")
    rule: Rule = kind(goals.seen(target), stream(config.seed, "stopping"), **options)
    return rule


def search(
    run: Run,
    *,
    env: SearchEnv | None = None,
    searcher: Searcher | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Run:
    """Drive a run to its end, or continue it. `env`, `searcher`, `executor`: objects in place of what the config names.

    An `env` object stays in this process (`executor: serial`), unless the config's env.id rebuilds it in workers.
    Where the environment waits for `prepare` (`SearchEnv.waits`), the config's searcher is built after it.
    Raises RunError (a searcher broke its contract, too many failures, prepare failed) and Interrupted (a signal).
    """
    config = run.config
    env = env if env is not None else build_env(config)
    goals = build_goals(config, env.objectives)
    if searcher is None and not env.waits:
        searcher = build_searcher(config.searcher, goals.seen(env.target), config.seed)
    one_thread()
    run.describe(
        objectives=[vars(objective) for objective in goals.objectives],
        target_objectives=[vars(objective) for objective in goals.target],
        measured=sorted({*env.measured, *(o.name for o in (*goals.target, *goals.objectives) if o.measured)}),
        outcome="running",
    )
    with ExitStack() as stack:
        progress = progress or Silent()
        progress.start(run)
        stack.callback(progress.close)
        halt = stack.enter_context(Halt(config.wall_time, config.executor.grace))
        payload = _description(config)
        executor = executor or build_executor(config.executor, env)
        crew = Crew(env, goals, executor, progress, halt, payload)
        try:
            _play(run, crew, searcher)
        except BaseException as error:
            executor.close(now=True)
            run.describe(outcome="interrupted" if isinstance(error, Interrupted) else f"failed: {error}")
            run.log(f"ended: {error}")
            raise
        executor.close()
    run.describe(outcome="finished")
    run.log("finished")
    return run


def _play(run: Run, crew: Crew, searcher: Searcher | None) -> None:
    """All stages of one run in their order."""
    config = run.config
    for line in crew.env.notes:
        crew.progress.note(line)
        run.log(line)
    _prepare(run, crew)
    _ready(run, crew.env)
    searcher = searcher if searcher is not None else _late_searcher(config, crew)
    number = _search_stage(run, crew, searcher, config).play()
    run.describe(searched=number)
    for baseline in config.baselines:
        _baseline(run, crew, baseline)
    play_finals(run, crew, number)
    _export(run, crew)


def _description(config: Config) -> dict[str, Any]:
    """How a worker builds the environment, and where it finds the user's modules."""
    return {"env": {"id": config.env.id, "options": config.env.options}, "path": [str(Path.cwd())]}


def _call(crew: Crew, call: str, folder: Path, jobs: Sequence[Job] = (), retries: int = 2) -> None:
    """One call of the environment in a worker, its files moved to `folder` in one step. RunError if it fails.

    retries: how often it is called again when the worker died.
    """
    part = folder.with_name(folder.name + ".part")
    rows = [job.to_json() for job in jobs]
    payload = json.dumps({**crew.payload, "call": call, "jobs": rows, "folder": str(part.absolute())})
    for left in range(retries, -1, -1):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            outcome = _answer(crew, payload)
            break
        except WorkerDied as death:
            if not left:
                raise RunError(f"{call} failed: {death}") from None
    if outcome["error"] is not None:
        error = outcome["error"]
        raise RunError(f"{call} failed: {error['message']}\n{error['traceback']}".strip())
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _answer(crew: Crew, payload: str) -> dict[str, Any]:
    """The only outcome of a payload; signals are heard while it is awaited."""
    future = crew.executor.submit(payload, None)
    while True:
        crew.halt.check()
        try:
            outcome: dict[str, Any] = json.loads(future.result(timeout=0.2))["outcomes"][0]
            return outcome
        except TimeoutError:
            if future.done():
                raise


def _prepare(run: Run, crew: Crew) -> None:
    if run.shared.exists():
        return
    if type(crew.env).prepare is SearchEnv.prepare:
        run.shared.mkdir()
        return
    crew.progress.stage("prepare", None)
    _call(crew, "prepare", run.shared, retries=run.config.retries)
    run.log("prepared")


def _ready(run: Run, env: SearchEnv) -> None:
    """The environment of this process learns what `prepare` left. RunError where it cannot."""
    try:
        env.ready(run.shared)
    except Exception as error:
        raise RunError(f"ready failed: {type(error).__name__}: {error}") from error


def _late_searcher(config: Config, crew: Crew) -> Searcher:
    """The config's searcher for an environment that waited for `prepare`. RunError where it cannot treat it."""
    try:
        return build_searcher(config.searcher, crew.goals.seen(crew.env.target), config.seed)
    except ValueError as error:
        raise RunError(f"searcher {config.searcher.name}: {error}") from error


def _search_stage(run: Run, crew: Crew, searcher: Searcher, config: Config) -> Stage:
    def seed_of(number: int, proposal: Proposal) -> int:
        return job_seed(config.seed, "evaluate", number if config.seeds == "per-trial" else 0)

    limit = run.manifest.get("searched", config.trials)
    timed = config.wall_time is not None and "searched" not in run.manifest
    stopping = build_stopping(config, crew.goals, crew.env.target)
    return Stage(run, crew, "search", searcher, seed_of, limit, stopping=stopping, timed=timed)


def _baseline(run: Run, crew: Crew, component: Component) -> None:
    """The same budget for another searcher, in a run of its own inside this one."""
    name = component.name
    told = sum(1 for _ in run.trials("search"))
    config = run.config.model_copy(
        update={"searcher": component, "baselines": (), "final": (), "trials": told, "wall_time": None, "target": None}
    )
    with run.part(name, config) as part:
        facts = {key: run.manifest[key] for key in ("objectives", "target_objectives", "measured")}
        part.describe(**facts, searched=told)
        if not part.shared.exists():
            part.shared.symlink_to(Path("..") / ".." / "shared")
        crew.progress.note(f"baseline {name}: {told} trials")
        searcher = build_searcher(component, crew.goals.seen(crew.env.target), config.seed)
        _search_stage(part, crew, searcher, config).play()


def _export(run: Run, crew: Crew) -> None:
    """The best candidate's artefacts and pictures, made in a worker."""
    best = run.best()
    if best is None:
        crew.progress.note("no trial succeeded: nothing to export")
        return
    _describe(run, crew.env)
    export(run, crew, best, run.folder / "best")


def _describe(run: Run, env: SearchEnv) -> None:
    """finalists.json: what each finalist is, in words, by role and name."""
    found: dict[str, dict[str, str]] = {}
    for stage in range(1, len(run.config.final) + 1):
        for trial in run.trials(f"final-{stage}"):
            own = found.setdefault(str(trial.note["role"]), {})
            own[str(trial.note["name"])] = env.describe(trial.candidate)
    last = run.last_stage()
    for name in found.get("baseline", ()):  # of several candidates the one that the table shows
        best = leader([trial for trial in last if who(trial)[:2] == ("baseline", name)], run.objectives)
        if best is not None:
            found["baseline"][name] = env.describe(best.candidate)
    if any(text for own in found.values() for text in own.values()):
        write_json(run.folder / "finalists.json", found)


def export(run: Run, crew: Crew, trial: Trial, folder: Path) -> None:
    """What the environment exports for one trial, its pictures, and candidate.json beside them."""
    parent = run.trial_folder(trial.number)
    job = Job(
        number=trial.number,
        candidate=trial.candidate,
        budget=trial.budget,
        seed=trial.seed,
        stage=trial.stage,  # where its weights are gone, it is trained again as it was
        parent=str(parent.absolute()) if parent.exists() else None,
        shared=str(run.shared.absolute()),
    )
    _call(crew, "export", folder, [job], run.config.retries)
    if type(crew.env).illustrate is not SearchEnv.illustrate:
        _call(crew, "illustrate", folder / "pictures", [job], run.config.retries)
    facts = {"number": trial.number, "stage": trial.stage, "candidate": trial.candidate, "metrics": trial.metrics}
    write_json(folder / "candidate.json", facts)


def export_trial(run: Run, number: int, folder: Path, progress: Progress | None = None) -> Path:
    """Export trial `number` of a finished run into `folder`. RunError for no such trial or a failed one."""
    if number not in run.journal:
        raise RunError(f"{run.folder}: no trial {number}; this run has {len(run.journal)}")
    trial = run.journal.get(number)
    if trial.error is not None:
        raise RunError(f"{run.folder}: trial {number} failed ({trial.error.kind}); only a trial with metrics exports")
    env = build_env(run.config)
    _ready(run, env)
    payload = _description(run.config)
    executor = build_executor(run.config.executor.model_copy(update={"workers": 1}), env)
    try:
        with Halt() as halt:
            goals = build_goals(run.config, env.objectives)
            export(run, Crew(env, goals, executor, progress or Silent(), halt, payload), trial, folder)
    finally:
        executor.close(now=True)
    return folder
