"""Executors: equal answers everywhere, timeouts, dead workers, memory, orphans, scripts without main guard."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import targets

from automl_ext import Job
from automl_ext.executors import ExecutorError, Futures, ProcessExecutor, SerialExecutor, WorkerDied, build_executor
from automl_ext.executors.child import work_in_child

TESTS = Path(targets.__file__).parent
MIXED = targets.SPACES["mixed"]


def payload(name, *jobs, **options):
    rows = [job.to_json() for job in jobs]
    env = {"id": targets.ID.format(name), "options": options}
    return json.dumps({"env": env, "call": "evaluate", "jobs": rows, "folder": None, "path": [str(TESTS)]})


def mixed(number, **fields):
    return Job(number, MIXED.sample(np.random.default_rng(number)), seed=number, **fields)


def way(name, folder=None):
    return payload("Failing", Job(0, {"way": name, "n": 0}, folder=str(folder / "00000")))


def metrics(future, seconds=60):
    (outcome,) = json.loads(future.result(seconds))["outcomes"]
    assert outcome["error"] is None, outcome["error"]
    return outcome["metrics"]


def gone(pid, seconds=2.0):
    """Whether process `pid` ends within `seconds` (a zombie has ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def pool():
    executor = ProcessExecutor(2)
    yield executor
    executor.close(now=True)


# ---------------------------------------------------------------- every kind


@pytest.mark.parametrize("kind", ["serial", "process", "threads"])
def test_every_executor_gives_the_same_answers(kind, pool):
    expected = [targets.score(MIXED, mixed(number).candidate, number) for number in range(8)]
    with ThreadPoolExecutor(3) as threads:
        executor = {"serial": SerialExecutor(), "process": pool, "threads": Futures(threads)}[kind]
        futures = [executor.submit(payload("Mixed", mixed(number)), None) for number in range(8)]
        assert [metrics(future)["score"] for future in futures] == expected


def test_a_target_that_cannot_be_built_is_one_line(pool):
    text = payload("Mixed", mixed(0)).replace("targets:tests_targets/Mixed-v0", "script/Mine-v0")
    with pytest.raises(ExecutorError, match="put into a module") as caught:
        pool.submit(text, None).result(60)
    assert "\n" not in str(caught.value)


def test_serial_uses_the_object_and_says_that_it_has_no_timeouts():
    env = targets.Mixed()
    executor = build_executor({"name": "process", "workers": 0}, env)
    assert executor.workers == 0 and executor.env is env
    text = payload("Mixed", mixed(0)).replace("targets:", "nowhere:")
    with pytest.warns(RuntimeWarning, match="the timeout is ignored"):
        assert metrics(executor.submit(text, 5.0))
    assert metrics(executor.submit(text, 5.0))


def test_settings_that_cannot_work_are_one_line(monkeypatch):
    with pytest.raises(ExecutorError, match="legal: serial, process, dask"):
        build_executor({"name": "threads"})
    with pytest.raises(ExecutorError, match="legal: spawn, forkserver"):
        build_executor({"name": "process", "start": "fork"})
    mine = type("Mine", (targets.Cheap,), {"__module__": "__main__"})()
    with pytest.raises(ExecutorError, match="put it into a module"):
        build_executor({"name": "process"}, mine)
    real = builtins.__import__

    def without(name, *args, **fields):
        if name == "distributed":
            raise ImportError(name)
        return real(name, *args, **fields)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExecutorError, match=r"pip install 'automl-ext\[dask\]'"):
        build_executor({"name": "dask"})


# ---------------------------------------------------------------- process workers


@pytest.mark.slow
def test_workers_run_on_one_thread(pool):
    text = payload("Environment", mixed(0), torch=True)
    values = [metrics(pool.submit(text, None)) for _ in range(4)]
    assert {(value["torch_threads"], value["variables"]) for value in values} == {(1, 3)}
    assert os.getpid() not in {value["pid"] for value in values}


def test_a_timeout_kills_and_the_next_task_runs(pool, tmp_path):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"took longer than 0\.3 s"):
        pool.submit(way("hangs", tmp_path), 0.3).result(60)
    assert time.monotonic() - began < 10
    assert [path.name for path in tmp_path.rglob("*")] == ["00000", "log.txt"]
    log = (tmp_path / "00000" / "log.txt").read_text()
    assert log == "about to be hangs\ntimeout: took longer than 0.3 s\n"
    assert metrics(pool.submit(payload("Mixed", mixed(1)), 5.0))


@pytest.mark.slow
def test_a_new_workers_start_is_not_the_evaluations_time():
    executor = ProcessExecutor(1)
    try:
        assert metrics(executor.submit(payload("Sleeping", mixed(0), seconds=0.05), 0.25))
        with pytest.raises(TimeoutError):
            executor.submit(payload("Sleeping", mixed(0), seconds=9.0), 0.25).result(60)
        assert metrics(executor.submit(payload("Sleeping", mixed(0), seconds=0.05), 0.25))
    finally:
        executor.close(now=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [("dies", "exit code 3"), ("dies-with-0", "the worker left"), ("killed", "killed by SIGKILL")],
)
def test_a_dead_worker_is_named_and_replaced(pool, tmp_path, name, words):
    with pytest.raises(WorkerDied, match=words) as caught:
        pool.submit(way(name, tmp_path), None).result(60)
    assert caught.value.kind == "died"
    assert (tmp_path / "00000" / "log.txt").read_text() == f"about to be {name}\ndied: {caught.value}\n"
    for number in range(4):
        assert metrics(pool.submit(payload("Mixed", mixed(number)), None))


@pytest.mark.slow
def test_a_worker_killed_while_idle_costs_nothing(pool):
    pids = {int(metrics(pool.submit(payload("Environment", mixed(n)), None))["pid"]) for n in range(6)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.4)
    assert int(metrics(pool.submit(payload("Environment", mixed(0)), None))["pid"]) not in pids


@pytest.mark.slow
def test_a_worker_over_its_memory_limit_leaves(tmp_path):
    executor = ProcessExecutor(1, memory_mb=400)
    try:
        with pytest.raises(WorkerDied, match="memory limit of 400 MB") as caught:
            executor.submit(way("grows", tmp_path), None).result(60)
        assert caught.value.kind == "memory"
        assert metrics(executor.submit(payload("Mixed", mixed(0)), None))
    finally:
        executor.close(now=True)


@pytest.mark.slow
def test_workers_are_replaced_after_max_tasks():
    executor = ProcessExecutor(1, max_tasks=2)
    try:
        pids = [metrics(executor.submit(payload("Environment", mixed(n)), None))["pid"] for n in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]
    finally:
        executor.close()


@pytest.mark.slow
def test_forkserver_is_as_good_as_spawn(tmp_path):
    executor = ProcessExecutor(1, start="forkserver")
    try:
        assert metrics(executor.submit(payload("Mixed", mixed(0)), None))
        with pytest.raises(TimeoutError):
            executor.submit(way("hangs", tmp_path), 0.2).result(60)
        with pytest.raises(WorkerDied, match="exit code 3"):
            executor.submit(way("dies", tmp_path), None).result(60)
        assert metrics(executor.submit(payload("Mixed", mixed(0)), None))
    finally:
        executor.close(now=True)


@pytest.mark.slow
def test_waiting_tasks_can_be_cancelled():
    executor = ProcessExecutor(1)
    try:
        futures = [executor.submit(payload("Sleeping", mixed(n), seconds=0.3), None) for n in range(3)]
        while not futures[0].running():
            time.sleep(0.01)
        assert futures[2].cancel() and not futures[0].cancel()
        assert metrics(futures[0]) and metrics(futures[1])
        assert wait([futures[2]], 5).done
    finally:
        executor.close()
    executor.close()


@pytest.mark.slow
def test_close_finishes_what_was_submitted_and_close_now_kills():
    executor = ProcessExecutor(2)
    futures = [executor.submit(payload("Sleeping", mixed(n), seconds=0.1), None) for n in range(4)]
    executor.close()
    assert all(metrics(future, 0) for future in futures)
    executor = ProcessExecutor(1)
    pid = int(metrics(executor.submit(payload("Environment", mixed(0)), None))["pid"])
    futures = [executor.submit(payload("Sleeping", mixed(n), seconds=60.0), None) for n in range(2)]
    while not futures[0].running():
        time.sleep(0.01)
    began = time.monotonic()
    executor.close(now=True)
    assert time.monotonic() - began < 3 and gone(pid)
    with pytest.raises(WorkerDied, match="closed"):
        futures[0].result(2)
    assert futures[1].cancelled()


@pytest.mark.slow
def test_evaluations_killed_by_a_timeout_take_their_children_along(pool, tmp_path):
    with pytest.raises(TimeoutError):
        pool.submit(payload("Parent", mixed(0), note=str(tmp_path / "pid")), 0.5).result(60)
    assert gone(int((tmp_path / "pid").read_text()))


def busy_share(executor):
    """Of two workers' time, while 40 short evaluations are sent, eight at a time."""
    began, busy, out, number = time.perf_counter(), 0.0, set(), 0
    while number < 40 or out:
        while number < 40 and len(out) < 8:
            out.add(executor.submit(payload("Sleeping", mixed(number)), None))
            number += 1
        done, out = wait(out, return_when="FIRST_COMPLETED")
        busy += sum(json.loads(future.result())["outcomes"][0]["seconds"] for future in done)
    return busy / (2 * (time.perf_counter() - began))


@pytest.mark.slow
def test_two_workers_are_busy():
    """the best of three, since whatever else the machine does counts against them"""
    executor = ProcessExecutor(2)
    try:
        wait([executor.submit(payload("Mixed", mixed(n)), None) for n in range(4)])
        assert any(busy_share(executor) > 0.9 for _ in range(3))
    finally:
        executor.close()


# ---------------------------------------------------------------- the driver's end


DRIVER = """
import json, sys, time
sys.path.append(sys.argv[1])
from automl_ext.executors import ProcessExecutor
executor = ProcessExecutor(2, start=sys.argv[3])
environment, sleeping = json.loads(sys.argv[2])
pids = set()
while len(pids) < 2:
    futures = [executor.submit(environment, None) for _ in range(8)]
    pids |= {int(json.loads(f.result())["outcomes"][0]["metrics"]["pid"]) for f in futures}
futures = [executor.submit(sleeping, None) for _ in range(2)]
print(json.dumps(sorted(pids)), flush=True)
for future in futures:
    print(json.loads(future.result())["outcomes"][0]["metrics"] is not None, flush=True)
executor.close()
"""


BARRAGE = """
import os, signal, threading
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(1))
def barrage():
    for _ in range(60):
        os.killpg(0, signal.SIGINT)
        time.sleep(0.03)
threading.Thread(target=barrage, daemon=True).start()
"""


def driver(seconds, start="spawn", code=DRIVER):
    texts = [payload("Environment", mixed(0)), payload("Sleeping", mixed(0), seconds=seconds)]
    command = [sys.executable, "-c", code, str(TESTS), json.dumps(texts), start]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    first = process.stdout.readline()
    if not first:
        pytest.fail(process.communicate()[1])
    return process, json.loads(first)


def family(session):
    """Every process of a session that still runs, whoever its parent is now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_no_orphan_outlives_a_killed_driver(start):
    process, pids = driver(60.0, start)
    helpers = family(process.pid) - {process.pid}
    assert helpers >= set(pids) and len(helpers) > len(pids)
    process.kill()
    process.communicate()
    end = time.monotonic() + 2.0
    while family(process.pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert family(process.pid) == set()


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_ctrl_c_in_the_terminal_is_the_drivers_business(start):
    """From the first moment of the workers' start: they must neither end nor say anything."""
    code = DRIVER.replace("executor = ", BARRAGE + "executor = ", 1)
    process, _ = driver(1.0, start, code)
    out, errors = process.communicate(timeout=60)
    assert out.split() == ["True", "True"] and errors == "" and process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("ids", ["own", "module"])
def test_a_script_without_main_guard_starts_once(tmp_path, ids):
    """A target of the script gets one line; one of a module just works."""
    script = tmp_path / "script.py"
    text = payload("Mixed", mixed(0))
    script.write_text(
        f"""
import json, sys
print("started")
sys.path.append({str(TESTS)!r})
import gymnasium
from targets import Cheap
from automl_ext.executors import ExecutorError, build_executor
class Mine(Cheap):
    pass
gymnasium.register("script/Mine-v0", entry_point=Mine)
text = {text!r}
executor = build_executor({{"name": "process", "workers": 2}})
if {ids!r} == "own":
    text = text.replace("targets:tests_targets/Mixed-v0", "script/Mine-v0")
try:
    answers = [executor.submit(text, None) for _ in range(4)]
    print(all(json.loads(answer.result())["outcomes"][0]["metrics"] for answer in answers))
except ExecutorError as error:
    print(error)
executor.close()
"""
    )
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    lines = found.stdout.splitlines()
    assert lines[0] == "started" and len(lines) == 2 and found.stderr == ""
    assert "put into a module" in lines[1] if ids == "own" else lines[1] == "True"


# ---------------------------------------------------------------- foreign executors


@pytest.mark.slow
def test_a_child_process_obeys_timeout_and_memory_limit(tmp_path):
    assert metrics_of(work_in_child(payload("Sleeping", mixed(0), seconds=0.05), 0.5))
    with pytest.raises(TimeoutError, match=r"longer than 0\.3 s"):
        work_in_child(way("hangs", tmp_path), 0.3)
    assert "timeout" in (tmp_path / "00000" / "log.txt").read_text()
    with pytest.raises(WorkerDied, match="memory limit of 400 MB") as caught:
        work_in_child(way("grows", tmp_path), None, 400)
    assert caught.value.kind == "memory"
    with pytest.raises(WorkerDied, match="exit code 3"):
        work_in_child(way("dies", tmp_path), 30.0)
    with pytest.raises(ExecutorError, match="Nowhere-v0"):
        work_in_child(payload("Mixed", mixed(0)).replace("Mixed-v0", "Nowhere-v0"), 30.0)


def metrics_of(answer):
    return json.loads(answer)["outcomes"][0]["metrics"]


@pytest.mark.slow
def test_a_child_process_ends_with_its_parent(tmp_path):
    code = (
        f"import sys; sys.path.append({str(TESTS)!r})\n"
        "from automl_ext.executors.child import work_in_child\n"
        "work_in_child(sys.argv[1], 60.0)"
    )
    text = payload("Parent", mixed(0), note=str(tmp_path / "pid"))
    process = subprocess.Popen([sys.executable, "-c", code, text], stderr=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    assert len(family(process.pid)) == 3
    process.kill()
    process.wait()
    end = time.monotonic() + 2.0
    while family(process.pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert family(process.pid) == set()


@pytest.mark.slow
def test_futures_hands_out_as_many_as_there_are_workers_and_the_rest_can_be_cancelled():
    with ThreadPoolExecutor(1) as threads:
        executor = Futures(threads)
        futures = [executor.submit(payload("Sleeping", mixed(n), seconds=0.2), None) for n in range(3)]
        assert [future.running() for future in futures] == [True, False, False]
        assert futures[1].cancel()
        assert metrics(futures[2])
        executor.close()
        assert futures[0].done() and executor.workers == 1


def test_futures_close_now_drops_what_waits():
    with ThreadPoolExecutor(1) as threads:
        executor = Futures(threads)
        futures = [executor.submit(payload("Sleeping", mixed(n), seconds=0.2), None) for n in range(3)]
        executor.close(now=True)
        assert futures[1].cancelled() and futures[2].cancelled()


@pytest.mark.slow
def test_a_broken_process_pool_is_a_dead_worker_and_then_one_line(tmp_path):
    import multiprocessing

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as workers:
        executor = Futures(workers)
        assert metrics(executor.submit(payload("Mixed", mixed(0)), None))
        with pytest.raises(WorkerDied, match="the worker was gone"):
            executor.submit(way("dies", tmp_path), None).result(60)
        with pytest.raises(ExecutorError, match="takes no more work"):
            executor.submit(payload("Mixed", mixed(0)), None).result(60)


def test_futures_survive_an_executor_that_answers_at_once():
    class Eager:
        def submit(self, function, *args):
            future: Future[str] = Future()
            future.set_result(function(*args))
            return future

    executor = Futures(Eager(), workers=2)
    futures = [executor.submit(payload("Mixed", mixed(n)), None) for n in range(50)]
    assert all(metrics(future) for future in futures)
    executor.close()


@pytest.mark.slow
def test_dask_gives_the_same_answers_and_kills_what_is_late(tmp_path, pool):
    pytest.importorskip("distributed")
    executor = build_executor({"name": "dask", "workers": 2})
    try:
        assert executor.workers == 2
        texts = [payload("Mixed", mixed(number)) for number in range(6)]
        answers = [metrics(executor.submit(text, None)) for text in texts]
        assert answers == [metrics(pool.submit(text, None)) for text in texts]
        text = payload("Environment", mixed(0), torch=True)
        same = [executor.submit(text, None) for _ in range(2)]
        assert all(metrics(future)["torch_threads"] == 1 for future in same)
        with pytest.raises(TimeoutError):
            executor.submit(way("hangs", tmp_path), 0.3).result(60)
        with pytest.raises(WorkerDied):
            executor.submit(way("killed", tmp_path), None).result(60)
        assert metrics(executor.submit(texts[0], None)) == answers[0]
        text = payload("Mixed", mixed(0)).replace("targets:tests_targets/Mixed-v0", "script/Mine-v0")
        with pytest.raises(ExecutorError, match="put into a module"):
            executor.submit(text, None).result(60)
    finally:
        executor.close()
    assert threading.active_count() < 50


@pytest.mark.slow
def test_dask_without_a_scheduler_is_one_line(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("automl_ext.executors.dask.CONNECT", "1s")
    with pytest.raises(ExecutorError, match="no Dask scheduler at") as caught:
        build_executor({"name": "dask", "address": "tcp://127.0.0.1:1"})
    assert "\n" not in str(caught.value)
