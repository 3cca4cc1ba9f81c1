"""Run: one configuration, one seed, one journal, in one folder that is readable without this package.

config.yaml manifest.json trials.jsonl run.log shared/ trials/00017/ baselines/ best/ report.html
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock

from automl_ext.config import Config, changed, checked, load
from automl_ext.journal import Journal, write_atomically, write_json
from automl_ext.objective import Objective
from automl_ext.searcher import Trial, leader, standing

_DISTRIBUTIONS = (
    "automl-ext",
    "torch",
    "numpy",
    "deap",
    "gymnasium",
    "scikit-learn",
    "albumentations",
    "torch-pruning",
)


class RunError(RuntimeError):
    """A run that cannot be opened, made or continued; one line for users."""


class Run:
    """A run's folder. Made by `Run.create`, continued by `Run.resume`, read by `Run.open`."""

    def __init__(self, folder: Path, config: Config, write: bool) -> None:
        self.folder = folder
        self.config = config
        self.lock = filelock.FileLock(folder / ".lock")
        if write:
            try:
                self.lock.acquire(timeout=0)
            except filelock.Timeout:
                raise RunError(f"{folder}: another process is working on this run; wait for it or stop it") from None
        self.journal = Journal(folder / "trials.jsonl", write=write)

    @classmethod
    def create(cls, config: Config | Mapping[str, Any] | None = None, out: str | Path = "runs", **fields: Any) -> Run:
        """A new folder `<out>/<name>-s<seed>`, with the suffix -2, -3, ... where that is taken.

        `config`: a Config, or its fields as a mapping or keywords: Run.create(env="my_module:MyTarget-v0",
        searcher="random", trials=50). Raises ConfigError for bad fields, before anything is written.
        """
        if not isinstance(config, Config):
            config = checked(Config.from_dict({**(config or {}), **fields}))
        folder = _new_folder(Path(out), f"{slug(config.name)}-s{config.seed}")
        write_json(folder / "manifest.json", _manifest())
        write_atomically(folder / "config.yaml", config.to_yaml())  # the last one: it makes the folder a run
        return cls(folder, config, write=True)

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """An existing run, for reading; it may be running. Raises RunError where there is none."""
        folder = _existing(Path(folder))
        return cls(folder, load(folder / "config.yaml"), write=False)

    @classmethod
    def resume(cls, folder: str | Path, config: Config | None = None) -> Run:
        """An existing run, for continuing, with a larger total budget where `config` says so.

        Raises RunError for no run, a locked one, a config that changes decisions (names the changed keys), and fewer
        trials than are recorded.
        """
        folder = _existing(Path(folder))
        old = load(folder / "config.yaml")
        if config is not None and (keys := changed(old, config)):
            raise RunError(f"{folder}: resume cannot change {', '.join(keys)}; start a new run for that")
        if config is not None and config.trials is not None:
            recorded = sum(1 for _ in cls.open(folder).trials("search"))
            if config.trials < recorded:
                raise RunError(f"{folder}: trials can grow only: {recorded:,} are recorded, not {config.trials:,}")
        run = cls(folder, config or old, write=True)
        if config is not None and (config.trials, config.wall_time, config.target) != (
            old.trials,
            old.wall_time,
            old.target,
        ):
            run.journal.supersede(lambda trial: trial.stage == "search")
            write_json(folder / "manifest.json", {k: v for k, v in run.manifest.items() if k != "searched"})
        write_atomically(folder / "config.yaml", run.config.to_yaml())
        return run

    def part(self, name: str, config: Config) -> Run:
        """The run of a baseline inside this one, made or continued: `baselines/<name>`."""
        folder = self.folder / "baselines" / slug(name)
        if not (folder / "config.yaml").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "manifest.json", self.manifest)
        write_atomically(folder / "config.yaml", config.to_yaml())
        return Run(folder, config, write=True)

    @property
    def shared(self) -> Path:
        """What the environment's `prepare` made."""
        return self.folder / "shared"

    def trial_folder(self, number: int) -> Path:
        """Weights and log of one trial; there only where the trial left something."""
        return self.folder / "trials" / f"{number:05d}"

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, host, threads, objectives and how the run ended."""
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        return manifest

    def describe(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        write_json(self.folder / "manifest.json", {**self.manifest, **facts})

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The environment's objectives, as the manifest recorded them; () before the search began."""
        return tuple(Objective(**fields) for fields in self.manifest.get("objectives", []))

    def trials(self, stage: str | None = None) -> Iterator[Trial]:
        """Finished trials of one stage or of all, in completion order."""
        return (trial for trial in self.journal.trials() if stage in (None, trial.stage))

    def last_stage(self) -> list[Trial]:
        """The trials with metrics of the last final stage, in number order; [] before there is one."""
        finals = [trial for trial in self.trials() if trial.stage.startswith("final-") and trial.metrics is not None]
        last = max((int(trial.stage.removeprefix("final-")) for trial in finals), default=0)
        return sorted((t for t in finals if t.stage == f"final-{last}"), key=lambda trial: trial.number)

    def best(self) -> Trial | None:
        """The searched finalist with the best mean validation result, else the search's best trial."""
        objectives = self.objectives
        found = leader([trial for trial in self.last_stage() if trial.note.get("role") == "searched"], objectives)
        if found is not None:
            return found
        whole = (trial for trial in self.trials("search") if trial.metrics is not None and trial.origin != "stopped")
        return max(whole, key=lambda trial: (standing(trial, objectives), -trial.number), default=None)

    @property
    def baselines(self) -> dict[str, Run]:
        """The runs beside this one at the same budget, by name, for reading."""
        folders = sorted((self.folder / "baselines").glob("*/config.yaml"))
        return {path.parent.name: Run.open(path.parent) for path in folders}

    def log(self, text: str) -> None:
        """A line with the time in run.log."""
        with (self.folder / "run.log").open("a") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")

    def close(self) -> None:
        self.journal.close()
        self.lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def slug(name: str) -> str:
    """A name that is safe as a folder: letters, digits, '.', '_' and '-', never hidden, at most 60 long."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60] or "run"


def _existing(folder: Path) -> Path:
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder}: no run here (no config.yaml); runs are the folders that `automl-ext run` prints")
    return folder


def _new_folder(out: Path, name: str) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{count}" for count in range(2, 10_000))):
            try:
                (out / (name + suffix)).mkdir()
                return out / (name + suffix)
            except FileExistsError:
                continue
    except OSError as error:
        raise RunError(f"{out}: cannot make a run folder here: {error.strerror}") from None
    raise RunError(f"{out}: 10,000 runs of the name {name}; give this one another name")


def _manifest() -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "created_s": time.time(),
        "versions": {name: _version(name) for name in _DISTRIBUTIONS} | {"python": platform.python_version()},
        "git": _commit(),
        "host": {"system": platform.platform(), "machine": platform.machine(), "name": platform.node()},
        "threads": 1,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the working directory, where it is a git checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
