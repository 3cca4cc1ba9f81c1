"""ASHA over 12 and 200 epochs against ageing evolution at 200: real runs, with the simulated cost of training."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from automl_ext.tasks.architecture.nasbench201 import code

from automl_ext import Run, search
from automl_ext.worker import one_thread

ASHA = {"name": "asha", "min_budget": 12.0, "max_budget": 200.0, "reduction": 16}
SETTINGS: dict[str, dict[str, Any]] = {
    "evolution, 200 epochs": {
        "searcher": {"name": "regularized-evolution", "population": 50, "sample": 10},
        "trials": 100,
        "fidelities": None,
    },
    "asha, newcomers bred": {
        "searcher": ASHA | {"sampler": "evolution"},
        "trials": 165,
        "fidelities": {"c10_val12": 12, "c10_val200": 200},
    },
    "asha, newcomers at random": {
        "searcher": ASHA,
        "trials": 250,
        "fidelities": {"c10_val12": 12, "c10_val200": 200},
    },
}
"""What to run by name. The trials of asha cost about a third of the evolution's."""


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The cells told at the whole training, in order, and the seconds that all trials would have cost."""
    one_thread()
    setting, began = SETTINGS[task["searcher"]], time.perf_counter()
    env = {"id": "automl_ext/Architecture-v0", "space": "nasbench201", "estimator": "table", "table": task["table"]}
    env |= {"metric": "c10_val200", "cost": "c10_train_time_s"}
    if setting["fidelities"]:
        env["fidelities"] = setting["fidelities"]
    with tempfile.TemporaryDirectory() as folder:
        made = Run.create(
            env=env,
            searcher=setting["searcher"],
            trials=setting["trials"],
            seed=task["seed"],
            parallel=1,
            executor="serial",
            out=folder,
        )
        search(made)
        made.close()
        trials = [trial for trial in made.trials("search") if trial.metrics is not None]
    paid = [trial for trial in trials if trial.origin == "evaluated"]
    whole = [trial for trial in trials if trial.budget in (None, 200)]
    return {
        "task": {name: value for name, value in task.items() if name != "table"},
        "codes": [code(trial.candidate) for trial in whole],
        "cost_s": sum(trial.metrics["cost_s"] for trial in paid if trial.metrics is not None),
        "trials": len(trials),
        "seconds": time.perf_counter() - began,
    }
