"""The worker's side: one function from JSON to JSON that runs in any process.

    {"env": {"id", "options"}, "call": "evaluate", "jobs": [...], "folder", "path"}  ->  {"outcomes": [...]}

call: prepare | evaluate | test | export | illustrate ("evaluate" covers every stage but "test"). Whatever an evaluation
raises, prints or returns becomes an outcome. `python -m automl_ext.worker` answers one payload on standard input.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from automl_ext.capture import captured
from automl_ext.env import Job, SearchEnv, never_stop
from automl_ext.executors import ExecutorError
from automl_ext.halt import Interrupted
from automl_ext.memory import keep_memory
from automl_ext.objective import Metrics
from automl_ext.place import Place
from automl_ext.rules import stopping_class
from automl_ext.searcher import CandidateError, Failure

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment variables that numeric libraries read once, when they are loaded."""

Outcome = dict[str, Any]
"""metrics, curve, error, stopped, seconds: what became of one job."""

_ENVS: dict[str, SearchEnv] = {}
_limited = 0


def work(payload: str, live_env: SearchEnv | None = None) -> str:
    """Answer one payload. `live_env`: an environment of this process in place of the one that the payload names.

    Raises ExecutorError where the environment cannot be built here.
    """
    request = json.loads(payload)
    env = live_env if live_env is not None else built(request)
    one_thread()
    keep_memory()
    jobs = [Job(**row) for row in request["jobs"]]
    if request["call"] not in ("evaluate", "test"):
        outcomes = [_serve(env, request["call"], jobs, Path(request["folder"]))]
    elif len(jobs) > 1 and request["call"] == "evaluate":
        outcomes = _evaluate_many(env, jobs)
    else:
        outcomes = [_evaluate(env, job, request["call"]) for job in jobs]
    return json.dumps({"outcomes": outcomes}, allow_nan=False)


def built(request: Mapping[str, Any]) -> SearchEnv:
    """The environment that a payload names, built once a process. Raises ExecutorError."""
    for folder in request["path"]:
        if folder not in sys.path:
            sys.path.append(folder)
    key = json.dumps(request["env"], sort_keys=True)
    if key not in _ENVS:
        _ENVS[key] = _build(request["env"]["id"], request["env"]["options"])
    return _ENVS[key]


def _build(name: str | None, options: Mapping[str, Any]) -> SearchEnv:
    hint = ""
    if name is not None and not name.startswith("automl_ext/") and ":" not in name:
        hint = f"; a target of a script or notebook has to be put into a module and named module:{name}"
    try:
        if name is None:
            raise ValueError("it is an object of another process and has no id")
        from automl_ext.registry import make

        env = make(name, **options).unwrapped
    except Exception as error:
        raise ExecutorError(f"{name or 'target'}: a worker cannot build it: {_message(error)}{hint}") from None
    if not isinstance(env, SearchEnv):
        raise ExecutorError(f"{name}: {type(env).__name__} is no SearchEnv; a target is a subclass of it")
    return env


def one_thread() -> None:
    """One thread for sums in this process: another number of threads gives other sums. Cheap to repeat."""
    global _limited
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if len(sys.modules) != _limited:
        from threadpoolctl import threadpool_limits

        os.environ.update(ONE_THREAD)
        threadpool_limits(1)
        if "cv2" in sys.modules:
            sys.modules["cv2"].setNumThreads(0)
        _limited = len(sys.modules)


class _Curve:
    """report(step, value): records the learning curve and says when to stop.

    stopping: {"rule": name} and what that rule's function `stop` needs; only that rule's module is imported.
    """

    def __init__(self, stopping: Mapping[str, Any] | None) -> None:
        self.points: list[list[float]] = []
        self.told = False
        self.broken: Failure | None = None
        self._stopping = stopping
        self._stop = stopping_class(stopping["rule"]).stop if stopping else None  # type: ignore[attr-defined]

    def report(self, step: float, value: float) -> bool:
        """Add a point; whether to stop now. FloatingPointError, and a failed evaluation, for what is not finite."""
        step, value = float(step), float(value)
        if not (math.isfinite(step) and math.isfinite(value)):
            self.broken = Failure("non-finite", f"reported {value} at step {step:g}")
            raise FloatingPointError(self.broken.message)
        self.points.append([step, value])
        self.told = self.told or (self._stop is not None and self._stop(self._stopping, self.points))
        return self.told


def _evaluate(env: SearchEnv, job: Job, call: str) -> Outcome:
    """One evaluation, in a folder of its own."""
    curve, place, began = _Curve(job.stopping), Place(job.folder), time.perf_counter()

    def run() -> dict[str, float]:
        function = env.test if call == "test" else env.evaluate
        metrics = function(replace(job, folder=place.make), curve.report)
        return checked(metrics, () if call == "test" else [objective.name for objective in env.objectives])

    outcome = _attempt(place, run)
    outcome["seconds"] = time.perf_counter() - began
    if curve.broken is not None:
        trace = (outcome["error"] or {}).get("traceback", "")
        outcome.update(metrics=None, error=asdict(replace(curve.broken, traceback=trace)))
    outcome.update(curve=curve.points, stopped=curve.told and outcome["error"] is None)
    return _settled(place, outcome)


def _attempt(place: Place, run: Callable[[], Mapping[str, float]]) -> Outcome:
    """Call `run` with its output captured; whatever it raises, or the disk refuses, is a failure."""
    try:
        with place.opened() as log, captured(log):
            return _outcome(run())
    except (Interrupted, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        return _failed(failure_of(error))


def _settled(place: Place, outcome: Outcome) -> Outcome:
    """The folder takes its final name; of a failed evaluation only the log is kept, with the traceback."""
    try:
        place.settle(outcome["error"])
    except OSError as error:
        return {**_failed(failure_of(error)), "seconds": outcome["seconds"]}
    return outcome


def _evaluate_many(env: SearchEnv, jobs: Sequence[Job]) -> list[Outcome]:
    """A vectorised population; its seconds are shared out evenly. If it raises, its jobs are evaluated one by one."""
    places, results = [Place(job.folder) for job in jobs], list[Metrics | Failure]()
    began = time.perf_counter()

    def run() -> dict[str, float]:
        for place in places[1:]:
            place.opened().close()
        inside = [replace(job, folder=place.make) for job, place in zip(jobs, places, strict=True)]
        results.extend(env.evaluate_many(inside, never_stop))
        return {}

    whole = _attempt(places[0], run)
    seconds = (time.perf_counter() - began) / len(jobs)
    if whole["error"] is not None:
        return [_evaluate(env, job, "evaluate") for job in jobs]
    if len(results) != len(jobs):
        results = [Failure("metrics", f"evaluate_many gave {len(results)} results for {len(jobs)} jobs")] * len(jobs)
    places[0].share(places[1:])
    names = [objective.name for objective in env.objectives]
    outcomes = [_judged(result, names) | {"seconds": seconds} for result in results]
    return [_settled(place, outcome) for place, outcome in zip(places, outcomes, strict=True)]


def _judged(result: Metrics | Failure, names: Sequence[str]) -> Outcome:
    if isinstance(result, Failure):
        return _failed(result)
    try:
        return _outcome(checked(result, names))
    except (TypeError, ValueError) as error:
        return _failed(failure_of(error))


def _serve(env: SearchEnv, call: str, jobs: Sequence[Job], folder: Path) -> Outcome:
    """prepare, export or illustrate into `folder`; what it prints stands there in log.txt."""
    began = time.perf_counter()
    calls: dict[str, Callable[[], None]] = {
        "prepare": lambda: env.prepare(folder),
        "export": lambda: env.export(jobs[0], folder),
        "illustrate": lambda: env.depict(jobs[0], folder),
    }
    place = Place(None, log=folder / "log.txt")
    outcome = _attempt(place, lambda: calls[call]() or {})
    place.settle(outcome["error"])
    return outcome | {"seconds": time.perf_counter() - began}


class _MetricsError(ValueError):
    """Metrics of the wrong shape."""


class _NotFiniteError(ValueError):
    """A metric that is infinite or not a number."""


def checked(metrics: Metrics, needed: Sequence[str]) -> dict[str, float]:
    """`metrics` as finite floats, with every needed name. Raises a ValueError that says which one is not."""
    if not isinstance(metrics, Mapping):
        raise _MetricsError(f"an evaluation gives a mapping from names to numbers, not {type(metrics).__name__}")
    missing = [name for name in needed if name not in metrics]
    if missing:
        raise _MetricsError(
            f"no metric {missing[0]!r}, which is an objective; got {', '.join(map(str, metrics)) or 'none'}"
        )
    values = {}
    for name, value in metrics.items():
        try:
            values[str(name)] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise _MetricsError(f"metric {name!r} is no number: {str(value)[:60]!r}") from None
        if not math.isfinite(values[str(name)]):
            raise _NotFiniteError(f"metric {name!r} is {values[str(name)]}")
    return values


def failure_of(error: BaseException) -> Failure:
    """What an exception makes of a trial. Message and traceback are cut: they stand in a line of the journal."""
    trace = "".join(traceback.format_exception(error))[-10_000:]
    if isinstance(error, _MetricsError | _NotFiniteError):
        return Failure("metrics" if isinstance(error, _MetricsError) else "non-finite", str(error), trace)
    if isinstance(error, CandidateError):
        return Failure("invalid", _message(error).removeprefix(f"{type(error).__name__}: "))
    return Failure("memory" if isinstance(error, MemoryError) else "exception", _message(error), trace)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text}"[:1000].removesuffix(": ")


def _outcome(metrics: Mapping[str, float]) -> Outcome:
    return {"metrics": dict(metrics), "curve": [], "error": None, "stopped": False, "seconds": 0.0}


def _failed(failure: Failure) -> Outcome:
    return {"metrics": None, "curve": [], "error": asdict(failure), "stopped": False, "seconds": 0.0}


if __name__ == "__main__":
    from automl_ext.executors.child import main

    sys.exit(main())
