"""One search on the table of NAS-Bench-201, by one of our searchers or by Optuna, all in memory.

Every search gives the codes of the cells in the order told, so that whatever is to be measured can be looked up later.
"""

from __future__ import annotations

import statistics
import time
import warnings
from functools import cache
from typing import Any

from automl_ext.tasks.architecture.nasbench201 import EDGES, OPERATIONS, cell, code, name

from automl_ext.env import Job, never_stop
from automl_ext.registry import make, searcher_class
from automl_ext.searcher import stream
from automl_ext.testing.simulate import simulate
from automl_ext.worker import one_thread

Record = dict[str, Any]
"""task, codes told, ask_ms (of processor time, median over the second half), seconds."""


@cache
def environment(table: str, goals: tuple[tuple[str, str], ...]) -> Any:
    options = {"space": "nasbench201", "estimator": "table", "table": table, "objectives": dict(goals)}
    return make("automl_ext/Architecture-v0", **options).unwrapped


def run(task: Record) -> Record:
    """task: {"table", "goals": [[column, goal], ...], "searcher", "options", "trials", "parallel", "seed"}.

    The searcher "optuna:NAME" is Optuna's own sampler, driven without us.
    """
    one_thread()
    began = time.perf_counter()
    goals = tuple((column, goal) for column, goal in task["goals"])
    env = environment(task["table"], goals)
    play = _optuna if task["searcher"].startswith("optuna:") else _ours
    codes, asks = play(task, env)
    return {
        "task": {key: value for key, value in task.items() if key != "table"},
        "codes": codes,
        "ask_ms": 1000 * statistics.median(asks[len(asks) // 2 :]),
        "seconds": time.perf_counter() - began,
    }


class _Timed:
    """A searcher whose asks are timed."""

    def __init__(self, searcher: Any) -> None:
        self.searcher, self.asks = searcher, list[float]()

    def ask(self, *arguments: Any) -> Any:
        began = time.process_time()
        proposal = self.searcher.ask(*arguments)
        self.asks.append(time.process_time() - began)
        return proposal

    def tell(self, *arguments: Any) -> None:
        self.searcher.tell(*arguments)


def _ours(task: Record, env: Any) -> tuple[list[str], list[float]]:
    def evaluate(candidate: Any) -> Any:
        return env.evaluate(Job(0, candidate), never_stop)

    target, seed = env.target, task["seed"]
    timed = _Timed(searcher_class(task["searcher"])(target, stream(seed, "build"), **task["options"]))
    told = simulate(timed, evaluate, task["trials"], parallel=task["parallel"], seed=seed)
    return [code(trial.candidate) for trial in told], timed.asks


def _optuna(task: Record, env: Any) -> tuple[list[str], list[float]]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    kinds = {"tpe": "TPESampler", "gp": "GPSampler", "nsga2": "NSGAIISampler", "random": "RandomSampler"}
    sampler = getattr(optuna.samplers, kinds[task["searcher"].partition(":")[2]])(seed=task["seed"])
    directions = ["maximize" if goal == "max" else "minimize" for _, goal in task["goals"]]
    study = optuna.create_study(directions=directions, sampler=sampler)
    codes, asks = list[str](), list[float]()
    for _ in range(task["trials"]):
        began = time.process_time()
        trial = study.ask()
        chosen = cell(*(trial.suggest_categorical(name(edge), OPERATIONS) for edge in EDGES))
        asks.append(time.process_time() - began)
        metrics = env.evaluate(Job(0, chosen), never_stop)
        study.tell(trial, [metrics[column] for column, _ in task["goals"]])
        codes.append(code(chosen))
    return codes, asks


def warm(table: str, goals: tuple[tuple[str, str], ...]) -> None:
    """Load the table and the libraries, so that the first search of a process is timed like the others."""
    environment(table, goals)
