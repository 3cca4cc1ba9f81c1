"""Cache and folders of a stage: which trial's result, and whose weights, stand for a proposal.

Both depend on the order of asks and tells alone, so a resumed run rebuilds them as they were.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection

from automl_ext.run import Run
from automl_ext.searcher import Proposal, Trial
from automl_ext.space import Space


class Cache:
    """Finds the told or pending trial of an equal candidate at an equal budget from an equal parent."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._told: dict[int, int] = {}
        self._pending: dict[int, int] = {}

    def original(self, number: int, proposal: Proposal) -> int | None:
        """The trial whose result proposal `number` may take; None where it is the first of its kind."""
        key = self._key(proposal)
        original = self._told.get(key, self._pending.get(key))
        if original is None:
            self._pending[key] = number
        return original

    def told(self, trial: Trial, proposal: Proposal) -> None:
        """From now on this trial's result stands for equal proposals, if it has one."""
        key = self._key(proposal)
        if self._pending.get(key) == trial.number:
            del self._pending[key]
        if trial.metrics is not None and trial.origin == "evaluated":
            self._told.setdefault(key, trial.number)

    def _key(self, proposal: Proposal) -> int:
        return hash((int(self.space.key(proposal.candidate)[:15], 16), proposal.budget, proposal.parent))


class Folders:
    """The trials' folders: where weights are inherited from, and which may go."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._sources: dict[int, int] = {}
        self._kept: set[int] = set()

    def copied(self, number: int, original: int) -> None:
        """Trial `number` was cached: its weights are those of `original`."""
        self._sources[number] = self._source(original)

    def parent(self, number: int | None) -> str | None:
        """The folder to inherit from, as absolute text; None where there is none or nothing was left in it."""
        if number is None:
            return None
        folder = self.run.trial_folder(self._source(number))
        return str(folder.absolute()) if folder.exists() else None

    def tidy(self, number: int, keep: Collection[int]) -> None:
        """Trial `number` was told. Remove folders outside `keep`, `parallel` tells after their own; logs stay."""
        if self.run.trial_folder(number).exists():
            self._kept.add(number)
        sources = {self._source(kept) for kept in keep}
        for old in [old for old in self._kept if old <= number - self.run.config.parallel and old not in sources]:
            self._kept.discard(old)
            folder = self.run.trial_folder(old)
            for path in folder.iterdir():
                if path.name != "log.txt":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()

    def _source(self, number: int) -> int:
        return self._sources.get(number, number)
