"""One search or one training of the reproductions: a task, plain JSON, gives a row, plain JSON."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from repro_problems import problem

from automl_ext.data import load, split_off
from automl_ext.registry import searcher_class
from automl_ext.rules import stopping_class
from automl_ext.searcher import Proposal, Trial, job_seed, stream
from automl_ext.testing.planted import target_of
from automl_ext.testing.simulate import simulate
from automl_ext.worker import one_thread

Row = dict[str, Any]


def play(task: Row, table: str | None) -> Row:
    """task: problem, searcher, options, trials, seed. Gives it back with what was found."""
    one_thread()
    began = time.process_time()
    found = _curves(task) if task["problem"] == "curves" else _search(task, table)
    return {"task": task, **found, "seconds": round(time.process_time() - began, 2)}


def _search(task: Row, table: str | None) -> Row:
    """scores: the truth of each trial. And what claims need: second objectives, costs, rounds, who lives at the end."""
    seed, chosen = task["seed"], problem(task["problem"], task["seed"], table)
    options = dict(task["options"])
    searcher = searcher_class(task["searcher"])(chosen.target, stream(seed, "build"), **options)
    told = simulate(searcher, chosen.evaluate, task["trials"], seed=seed)  # type: ignore[arg-type]
    row: Row = {"scores": [round(chosen.truth(trial.candidate), 6) for trial in told]}
    objectives = chosen.target.objectives
    if len(objectives) > 1:
        row["points"] = [[trial.metrics[objective.name] for objective in objectives] for trial in told]  # type: ignore[index]
    if told and told[0].metrics and "cost_s" in told[0].metrics:
        row["costs"] = [round(trial.metrics["cost_s"], 6) for trial in told]  # type: ignore[index]
    for name in ("round", "level"):
        if any(name in trial.note for trial in told):
            row[name] = [trial.note.get(name) for trial in told]
    living = getattr(searcher, "population", None) or getattr(searcher, "alive", None)
    if living:
        space = chosen.target.space
        row["alive"] = float(np.mean([chosen.truth(space.from_genes(each.genes)) for each in living]))
    return row


def _curves(task: Row) -> Row:
    """A random search over recipes on digits whose trainings a rule may end, beside what they would have come to.

    Every training is carried to its end, since its end is needed; the rule sees the curve as it would have grown.
    """
    import torch
    from automl_ext.tasks.architecture.training_recipe import family

    from automl_ext.training import Recipe, accuracy, lent_seed, train

    data = load("digits", seed=task["seed"])
    _, small = split_off(data.train, task["options"]["images"] / len(data.train), task["seed"])
    made = family((1, 8, 8), 10, tune=["rate", "batch", "weight_decay", "momentum"], width=4)
    cls, target = stopping_class(task["searcher"]), target_of(made.space)
    rule = cls(target, stream(task["seed"], "rule"), **task["options"].get("rule", {}))
    epochs, whole, ends, kept, spent = task["options"]["epochs"], [], [], [], 0
    for number in range(task["trials"]):
        candidate = made.space.sample(stream(task["seed"], "ask", number))
        recipe = made.recipe(candidate, Recipe(epochs=epochs, schedule="constant", decay=0.0))
        curve: list[tuple[float, float]] = []
        with lent_seed(task["seed"]):
            network = made.build(candidate)
        try:
            train(
                network, small, data, recipe, seed=task["seed"], device=torch.device("cpu"),
                report=lambda epoch, value: curve.append((epoch, value)) or False,  # noqa: B023
                metric=lambda net, _, all_data, device: accuracy(net, data.val, all_data, device),
            )  # fmt: skip
        except FloatingPointError:
            continue  # a failed trial: it costs as much with the rule as without
        fixed = rule.stopping(Proposal(candidate), job_seed(task["seed"], "curve", number))
        points = [list(point) for point in curve]
        at = next((n for n in range(1, len(points)) if fixed and cls.stop(fixed, points[:n])), None)
        seen = curve[:at] if at else curve
        rule.tell(
            Trial(number, "search", candidate, {}, None, 0, None, {"score": seen[-1][1]}, tuple(seen),
                  origin="stopped" if at else "evaluated"),
            stream(task["seed"], "tell", number),
        )  # fmt: skip
        spent, whole = spent + len(seen), [*whole, len(curve)]
        ends.append(curve[-1][1])
        kept += [] if at else [curve[-1][1]]
    return {"saved": 1 - spent / sum(whole), "best": max(ends), "kept": max(kept), "stopped": len(ends) - len(kept)}
