"""Decisions depend on configuration and seed alone: not on workers, executor, deaths, batches or hash seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import targets

from automl_ext import Run, search
from automl_ext.executors import Futures, ProcessExecutor
from automl_ext.journal import digest
from automl_ext.registry import SEARCHERS

pytestmark = pytest.mark.slow
OPTIONS = {"regularized-evolution": {"population": 6}}


class Kept:
    """An executor that outlives the run, so that tests share their workers."""

    def __init__(self, executor):
        self.executor, self.workers, self.submit = executor, executor.workers, executor.submit

    def close(self, now=False): ...


@pytest.fixture(scope="module")
def pools():
    made = {workers: ProcessExecutor(workers) for workers in (1, 2, 4)}
    yield {workers: Kept(pool) for workers, pool in made.items()}
    for pool in made.values():
        pool.close(now=True)


def play(folder, target, searcher="targets:Lineage", executor=None, options=None, **fields):
    run = Run.create(
        env={"id": targets.ID.format(target), **(options or {})},
        searcher={"name": searcher, **OPTIONS.get(searcher, {})},
        executor={"name": "serial"},
        **{"trials": 24, "final": [{"top": 2, "seeds": 2}], **fields},
        out=folder,
    )
    with run:
        search(run, executor=executor)
        assert not [trial.error for trial in run.trials() if trial.error]
        return digest(run.trials())


@pytest.mark.parametrize("searcher", [*SEARCHERS, "targets:Lineage"])
def test_every_searcher_on_two_workers(tmp_path, pools, searcher):
    target = {"ddpg": "NumberOnly", "q-learning": "ChoiceOnly"}.get(searcher, "Mixed")
    assert play(tmp_path, target, searcher) == play(tmp_path, target, searcher, pools[2])


@pytest.mark.parametrize("target", ["ChoiceOnly", "Conditional", "Narrowed", "Batched", "Weights"])
def test_every_kind_of_space_on_two_workers(tmp_path, pools, target):
    assert play(tmp_path, target) == play(tmp_path, target, executor=pools[2])


def test_a_real_network_on_no_one_and_four_workers(tmp_path, pools):
    reward = {"name": "weighted-sum", "weights": {"accuracy": 1.0, "weights_k": 0.01}}
    fields = {
        "target": "Digits",
        "options": {"steps": 20},
        "searcher": "regularized-evolution",
        "trials": 8,
        "reward": reward,
    }
    expected = play(tmp_path, **fields)
    assert {play(tmp_path, executor=pools[workers], **fields) for workers in (1, 4)} == {expected}


def test_threads_and_two_workers_agree_on_uneven_durations(tmp_path, pools):
    options = {"seconds": 0.02, "spread": "lognormal"}
    with ThreadPoolExecutor(3) as threads:
        uneven = play(tmp_path, "Sleeping", executor=Futures(threads), options=options)
    assert uneven == play(tmp_path, "Sleeping", executor=pools[2], options=options) == play(tmp_path, "Mixed")


def test_dying_workers_change_nothing(tmp_path, pools):
    (tmp_path / "marks").mkdir()
    options = {"folder": str(tmp_path / "marks")}
    assert play(tmp_path, "DyingOnce", executor=pools[2], options=options, retries=3) == play(tmp_path, "Mixed")
    assert len(list((tmp_path / "marks").iterdir())) >= 8


def test_hash_seeds_change_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; sys.path.append(sys.argv[1])\n"
        "from automl_ext import Run, search; from automl_ext.journal import digest\n"
        "run = Run.create(env='targets:tests_targets/Conditional-v0', searcher='regularized-evolution', trials=60,\n"
        "                 executor={'name': 'process', 'workers': 2}, out=sys.argv[2])\n"
        "search(run)\n"
        "print(digest(run.trials()))"
    )
    found = set()
    for seed in ("0", "1", "2"):
        command = [sys.executable, "-c", code, str(Path(targets.__file__).parent), str(tmp_path)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1 and len(found.pop()) == 65
