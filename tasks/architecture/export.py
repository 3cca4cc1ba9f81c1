"""A found network as files that load without this package (see automl_ext/artefact/write.py), and what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from automl_ext.tasks.architecture.trained import Training

from automl_ext.artefact.agreement import ExportError, pattern_of
from automl_ext.artefact.write import write_files
from automl_ext.env import Job

__all__ = ["write"]


def write(training: Training, job: Job, folder: Path) -> None:
    """Write the network that the job's parent trained. `recipe.json` says the candidate and how it was trained.

    Raises ExportError where there is no trained network, and as `write_files` does.
    """
    network = training.stored(job)
    if network is None:
        raise ExportError("this trial left no trained network; a final stage trains one")
    data, recipe = training.data, training.recipe_of(job)
    facts: dict[str, Any] = {
        "candidate": job.candidate,
        "training": {
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            "rate": recipe.rate,
            "schedule": recipe.schedule,
            "momentum": recipe.momentum,
            "weight_decay": recipe.weight_decay,
            "smoothing": recipe.smoothing,
            "flip": recipe.flip,
            "shift": recipe.shift,
            "cutout": training.cutout,
            "drop_path": training.drop_path,
            "auxiliary": training.auxiliary,
        },
    }
    network = network.to("cpu").eval()
    write_files(network, pattern_of(network, training.shape), facts, (data.mean, data.std), folder)
