"""What searches of update rules find: the rows of optimizer.py's long measurements, each kept as it is measured."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from automl_ext.tasks.optimizer.alone import muon, trained_alone
from automl_ext.tasks.optimizer.env import MUON, OptimizerEnv
from automl_ext.tasks.optimizer.formula import lines
from automl_ext.tasks.optimizer.graph import graph, statements, to_json
from automl_ext.tasks.optimizer.heldout import held_out
from automl_ext.tasks.optimizer.population import Plan, trained
from automl_ext.tasks.optimizer.reference import REFERENCES

from automl_ext import Run, search
from automl_ext.worker import one_thread

ID = "automl_ext/Optimizer-v0"
Row = dict[str, Any]
SHORT = {"held_out": ["wine"], "held_out_steps": 1}
"""The tests of the runs themselves say little: `held_out_rows` is for that."""
RULES = {
    "space": "rules", "groups": 2, "children": ["mlp", "logistic"], "repeats": 8, "wider": 2, "decays": [0.0],
    "final_children": ["mlp", "logistic", "convolution", "attention"], **SHORT,
}  # fmt: skip
"""Eight starts a rule: with one or two the search takes rules that suit these starts."""
FINAL = [{"top": 30, "budget": 300, "seeds": 2}, {"top": 5, "budget": 300, "seeds": 2}]
"""Longer trainings of more kinds of children, then of wider ones: what suits the search's stays behind."""
TASKS = ("diabetes", "cancer", "wine", "friedman", "photographs", "adding")


class Rows:
    """A file of rows by key; what stands there is not measured again."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        texts = file.read_text().splitlines() if file.exists() else []
        self.known = {row["key"]: row for row in map(json.loads, texts)}

    def get(self, key: str, measure: Callable[[], Row]) -> Row:
        if key not in self.known:
            self.known[key] = {"key": key, **measure()}
            with self.file.open("a") as opened:
                opened.write(json.dumps(self.known[key]) + "\n")
        return self.known[key]


def searched(name: str, env: Row, searcher: Row, options: argparse.Namespace, seed: int = 0, final: Any = ()) -> Row:
    """A search, gone on with where one of that name was broken off. Its best program, and how it went."""
    folder = options.out / f"{name}-s{seed}"
    if folder.exists():
        run = Run.open(folder)
    else:
        executor = {"name": "process", "workers": options.workers}
        run = Run.create(
            name=name, env={"id": ID, **env}, searcher=searcher, trials=options.trials, seeds="common", parallel=128,
            max_failures=10**6, executor=executor, seed=seed, out=options.out, final=list(final),
        )  # fmt: skip
    began = time.perf_counter()
    search(run)
    seconds = time.perf_counter() - began
    trials, candidate, loss = list(run.trials("search")), *_best(run)
    run.close()
    program = OptimizerEnv(**env).program(candidate)
    return {
        "seconds": seconds,
        "trials": len(trials),
        "cached": sum(trial.origin == "cached" for trial in trials),
        "failed": sum(trial.error is not None for trial in trials),
        "loss": loss,
        "program": to_json(program),
    }


def _best(run: Run) -> tuple[Any, float]:
    """Of the searched candidates: the best of the last final stage, by the mean over seeds; else of the search."""
    last = [trial for trial in run.trials(f"final-{len(run.config.final)}") if trial.note["role"] == "searched"]
    trials = last or list(run.trials("search"))
    losses: dict[str, list[float]] = {}
    candidates = {}
    for trial in trials:
        key = json.dumps(trial.candidate)
        candidates[key] = trial.candidate
        losses.setdefault(key, []).append(math.inf if trial.metrics is None else trial.metrics["loss"])
    key = min(losses, key=lambda key: statistics.mean(losses[key]))
    return candidates[key], statistics.mean(losses[key])


def _rules(options: argparse.Namespace, seed: int) -> Row:
    """A search that `search` measures and `held-out` takes a rule from; a funnel of longer trainings behind it."""
    rows = Rows(options.out / "search.jsonl")
    searcher = {"name": "regularized-evolution", "population": 200, "sample": 20}
    return rows.get(f"rules {options.trials} {seed}", lambda: searched("rules", RULES, searcher, options, seed, FINAL))


def search_rows(options: argparse.Namespace) -> Iterator[str]:
    yield f"{options.trials:,} rules of two groups by regularized evolution on {', '.join(RULES['children'])}:\n"
    yield "| seed | minutes | from the cache | failed | loss in the last stage | update |"
    yield "|---|---|---|---|---|---|"
    for seed in range(options.searches):
        row = _rules(options, seed)
        shares = f"{100 * row['cached'] / row['trials']:.0f} % | {100 * row['failed'] / row['trials']:.0f} %"
        text = "; ".join(lines(statements(row["program"]), "text")).replace("|", "\\|")
        yield f"| {seed} | {row['seconds'] / 60:.1f} | {shares} | {row['loss']:.4f} | `{text}` |"


def held_out_rows(options: argparse.Namespace) -> Iterator[str]:
    """Final loss on every task: mean over seeds, learning rate and weight decay tuned alike for all."""
    one_thread()
    found = {f"found {seed}": statements(_rules(options, seed)["program"]) for seed in range(options.searches)}
    programs = {**found, **REFERENCES}
    losses = _losses(programs, options)
    table = {name: np.array(losses[name]) for name in losses}
    chosen = min(range(options.searches), key=lambda seed: _rules(options, seed)["loss"])
    yield f"Loss on held-out test examples, 300 steps, mean over {options.seeds} seeds; 24 settings each. `found N`:"
    yield "the rule of seed N's search, ranked among itself and the elementwise references; in brackets the best of"
    yield f"these. By the loss of the last stage, which is none of these tasks, `found {chosen}` is the one to take.\n"
    yield f"| | {' | '.join(TASKS)} | mean rank | better than AdamW | than momentum |"
    yield "|---" * (len(TASKS) + 4) + "|"
    for name, own in table.items():
        better = [f"{int((own < table[rival]).sum())} of {len(TASKS)}" for rival in ("adamw", "momentum")]
        rank = _ranks(name, table) if name in found else ""
        yield f"| {name} | {' | '.join(f'{value:.4f}' for value in own)} | {rank} | {' | '.join(better)} |"


def _ranks(name: str, table: dict[str, np.ndarray]) -> str:
    """The mean rank of a rule among itself and the elementwise references, and the best of these."""
    among = {each: table[each] for each in (name, *REFERENCES)}
    ranks = {each: float(np.mean(sum(own > other for other in among.values()) + 1)) for each, own in among.items()}
    best = min(REFERENCES, key=lambda each: ranks[each])
    return f"{ranks[name]:.2f} ({best} {ranks[best]:.2f})"


def _losses(programs: Row, options: argparse.Namespace) -> dict[str, list[float]]:
    """Of each program, and of Muon: the mean loss on every task."""
    rows = Rows(options.out / "held-out.jsonl")
    plan = Plan(decays=(0.0, 0.01, 0.1), sweep=300, steps=300)
    losses: dict[str, list[float]] = {name: [] for name in (*programs, MUON)}
    for task in TASKS:
        one = held_out(task)
        for name in losses:
            values = []
            for seed in range(options.seeds):
                key = f"{options.trials} {task} {name} {seed}"
                row = rows.get(key, lambda s=seed, n=name, o=one: _held(n, o, s, plan, programs))
                values.append(math.inf if row["loss"] is None else row["loss"])
            losses[name].append(statistics.mean(values))
    return losses


def _held(name: str, one: Any, seed: int, plan: Plan, programs: Any) -> Row:
    if name == MUON:
        found = trained_alone(muon, one, plan, seed)
    else:
        (found,) = trained([graph(programs[name])], one, plan, seed)
    return {"loss": None if found is None else found.loss}


def rediscovery_rows(options: argparse.Namespace) -> Iterator[str]:
    """From random programs: the best of each search and Adam, both with the same sweep, on 20 new seeds."""
    one_thread()
    rows, wins = Rows(options.out / "rediscovery.jsonl"), 0
    env = {"space": "programs", "children": ["mlp"], "memory": 2, "repeats": 4, **SHORT}
    searcher = {"name": "regularized-evolution", "population": 500, "sample": 10}
    final = [{"top": 20, "budget": 100, "seeds": 5}]
    yield "| seed | programs | loss | Adam | difference, standard errors | program |"
    yield "|---|---|---|---|---|---|"
    for seed in range(options.seeds):
        own = rows.get(
            f"{options.trials} {seed}", lambda s=seed: searched("programs", env, searcher, options, s, final)
        )
        program = statements(own["program"])
        scores = rows.get(f"{options.trials} {seed} beside", lambda p=program: _beside(p, env))
        differences = np.array(scores["adam"]) - np.array(scores["found"])
        errors = float(differences.mean() / (differences.std(ddof=1) / math.sqrt(len(differences))))
        wins += errors >= 2
        text = "; ".join(lines(program, "text")).replace("|", "\\|")
        means = f"{np.mean(scores['found']):.4f} | {np.mean(scores['adam']):.4f}"
        yield f"| {seed} | {own['trials']:,} | {means} | {errors:+.1f} | `{text}` |"
    yield f"\nBy two standard errors better than Adam: {wins} of {options.seeds}."


def _beside(program: Any, env: Row) -> Row:
    own = OptimizerEnv(**env)
    rules = [graph(program), graph(REFERENCES["adam"])]
    found = []
    for seed in range(1000, 1020):
        found.append(
            [math.inf if o is None else o.loss for o in trained(rules, own._children(own.names)[0], own.plan, seed)]
        )
    return {"found": [row[0] for row in found], "adam": [row[1] for row in found]}
