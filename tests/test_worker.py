"""The worker: JSON in, JSON out; outcomes, curves, folders, captured output, batches, one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import targets
from hypothesis import given
from hypothesis import strategies as st

from automl_ext import CandidateError, Job
from automl_ext.capture import captured
from automl_ext.halt import Interrupted
from automl_ext.place import Place, abandon
from automl_ext.worker import ExecutorError, checked, work


def payload(name, *jobs, call="evaluate", folder=None, path=(), **options):
    env = {"id": targets.ID.format(name), "options": options}
    rows = [job.to_json() for job in jobs]
    return json.dumps({"env": env, "call": call, "jobs": rows, "folder": folder and str(folder), "path": list(path)})


def outcomes(name, *jobs, live_env=None, **fields):
    return json.loads(work(payload(name, *jobs, **fields), live_env))["outcomes"]


def failing(way, folder=None, number=0):
    job = Job(number, {"way": way, "n": 0}, folder=folder and str(folder))
    return outcomes("Failing", job)[0]


def test_a_good_evaluation(tmp_path):
    candidate = {"kind": "x", "width": 16, "drop": 0.5}
    (outcome,) = outcomes("Mixed", Job(3, candidate, seed=5, folder=str(tmp_path / "00003")))
    expected = targets.score(targets.SPACES["mixed"], candidate, 5)
    assert outcome["metrics"] == {"score": expected, "cost_m": 3.0}
    assert outcome["curve"] == [[step, expected * step / 3] for step in (1, 2, 3)]
    assert outcome["error"] is None and outcome["stopped"] is False and 0 < outcome["seconds"] < 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("way", "kind", "words"),
    [
        ("exception", "exception", "KeyError: 'missing'"),
        ("exit", "exception", "SystemExit: left"),
        ("memory-error", "memory", "MemoryError: no room"),
        ("nan", "non-finite", "metric 'score' is nan"),
        ("infinite", "non-finite", "metric 'loss' is inf"),
        ("text", "metrics", "metric 'score' is no number: 'high'"),
        ("missing", "metrics", "no metric 'score', which is an objective; got other"),
        ("nothing", "metrics", "not NoneType"),
    ],
)
def test_failures_are_outcomes_and_only_their_log_is_kept(tmp_path, way, kind, words):
    outcome = failing(way, tmp_path / "00000")
    assert outcome["metrics"] is None
    assert outcome["error"]["kind"] == kind and words in outcome["error"]["message"]
    assert "Traceback" in outcome["error"]["traceback"]
    assert [path.name for path in tmp_path.rglob("*")] == ["00000", "log.txt"]
    log = (tmp_path / "00000" / "log.txt").read_text()
    assert log.startswith(f"about to be {way}\n") and words.split(":")[-1] in log


def test_long_messages_are_cut():
    class Long(targets.Cheap):
        def evaluate(self, job, report):
            raise ValueError("x" * 10**6)

    (outcome,) = outcomes("Mixed", Job(0, {}), live_env=Long())
    assert len(outcome["error"]["message"]) <= 1000 and len(outcome["error"]["traceback"]) <= 10_000


def test_test_calls_need_no_objective():
    (outcome,) = outcomes("Mixed", Job(0, {"kind": "x", "width": 16, "drop": 0.5}, stage="test"), call="test")
    assert set(outcome["metrics"]) == {"test_score"}


def test_an_interrupt_is_no_outcome():
    class Struck(targets.Cheap):
        def evaluate(self, job, report):
            raise self.error

    env = Struck()
    for env.error in (KeyboardInterrupt(), Interrupted(2)):
        with pytest.raises(type(env.error)):
            outcomes("Mixed", Job(0, {}), live_env=env)


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=2))))
def test_metrics_are_finite_floats_or_an_error_names_one(metrics):
    try:
        values, message = checked(metrics, ()), ""
    except ValueError as error:
        values, message = {}, str(error)
    if message:
        assert any(repr(name) in message for name in metrics)
    else:
        assert list(values) == list(metrics) and all(type(value) is float for value in values.values())
        assert np.isfinite(list(values.values())).all()


def test_numbers_of_numpy_and_torch_are_taken():
    import torch

    values = checked({"a": np.float32(0.5), "b": torch.tensor(2.0), "c": np.int64(3)}, ["a"])
    assert values == {"a": 0.5, "b": 2.0, "c": 3.0}
    with pytest.raises(ValueError, match="metric 'a' is no number"):
        checked({"a": np.ones(2)}, ())


# ---------------------------------------------------------------- curves


def curved(value, stopping=None, broken=False):
    job = Job(0, {"value": value, "broken": broken}, stopping=stopping)
    return outcomes("Curved", job)[0]


@pytest.mark.parametrize(
    ("goal", "value", "bounds", "steps"),
    [
        ("max", 0.4, [[3, 0.5]], 3),
        ("max", 0.5, [[3, 0.5]], 9),
        ("max", 0.4, [[2.5, 0.5]], 3),
        ("max", 0.4, [[7, 0.5], [3, 0.2]], 7),
        ("min", 0.6, [[3, 0.5]], 3),
        ("min", 0.4, [[3, 0.5]], 9),
        ("max", 0.4, [], 9),
    ],
)
def test_a_curve_worse_than_its_bound_is_stopped(goal, value, bounds, steps):
    stopping = {"rule": "median", "bounds": bounds, "goal": goal, "last": 9, "warmup": 0}
    outcome = curved(value, stopping)
    assert outcome["metrics"] == {"score": value, "steps": steps}
    assert outcome["curve"] == [[step, value] for step in range(1, steps + 1)]
    assert outcome["stopped"] is (steps < 9)


def test_without_a_rule_nothing_stops():
    assert curved(0.0)["metrics"]["steps"] == 9 and curved(0.0)["stopped"] is False


def test_a_reported_number_that_is_not_finite_fails_the_evaluation_and_keeps_the_curve():
    outcome = curved(0.5, broken=True)
    assert outcome["error"]["kind"] == "non-finite" and outcome["error"]["message"] == "reported nan at step 4"
    assert outcome["metrics"] is None and outcome["curve"] == [[1, 0.5], [2, 0.5], [3, 0.5]]


def test_swallowing_the_report_error_changes_nothing():
    class Swallowing(targets.Curved):
        def evaluate(self, job, report):
            try:
                report(1, float("inf"))
            except Exception:
                return {"score": 1.0}

    (outcome,) = outcomes("Curved", Job(0, {}), live_env=Swallowing())
    assert outcome["error"]["kind"] == "non-finite" and outcome["metrics"] is None


# ---------------------------------------------------------------- folders


def test_weights_go_from_prepare_to_child(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    assert outcomes("Weights", call="prepare", folder=shared)[0]["error"] is None
    assert (shared / "log.txt").read_text() == "preparing\n"
    candidate = {"kind": "x", "width": 16, "drop": 0.5}
    trials = tmp_path / "trials"
    first = Job(0, candidate, seed=1, folder=str(trials / "00000"), shared=str(shared))
    second = Job(1, candidate, seed=2, folder=str(trials / "00001"), shared=str(shared), parent=str(trials / "00000"))
    scores = [outcomes("Weights", job)[0]["metrics"]["score"] for job in (first, second)]
    zero = np.arange(4.0) * 0.5 + np.random.default_rng(1).random(4)
    one = zero * 0.5 + np.random.default_rng(2).random(4)
    plain = targets.score(targets.SPACES["mixed"], candidate)
    assert scores == [float(zero.sum()) + plain, float(one.sum()) + plain]
    assert sorted(path.name for path in trials.iterdir()) == ["00000", "00001"]


def test_what_a_killed_evaluation_left_is_removed_and_an_older_result_replaced(tmp_path):
    final, part = tmp_path / "00000", tmp_path / "00000.part"
    for folder in (final, part):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "old.bin").write_bytes(b"old")
    shared = tmp_path / "shared"
    shared.mkdir()
    outcomes("Weights", call="prepare", folder=shared)
    candidate = {"kind": "x", "width": 16, "drop": 0.5}
    assert outcomes("Weights", Job(0, candidate, folder=str(final), shared=str(shared)))[0]["error"] is None
    assert [path.name for path in final.iterdir()] == ["weights.safetensors"] and not part.exists()
    assert outcomes("Mixed", Job(0, candidate, folder=str(final)))[0]["error"] is None
    assert not final.exists() and not part.exists()


def test_a_candidate_that_the_target_refuses_is_a_failed_trial_of_its_own_kind(tmp_path):
    class Picky(targets.Cheap):
        def evaluate(self, job, report):
            raise CandidateError("never uses the gradient")

    (outcome,) = outcomes("Mixed", Job(0, {}, folder=str(tmp_path / "00000")), live_env=Picky())
    assert outcome["error"] == {"kind": "invalid", "message": "never uses the gradient", "traceback": ""}
    assert (tmp_path / "00000" / "log.txt").read_text() == "invalid: never uses the gradient\n"


def test_a_folder_is_made_when_the_target_asks_for_it(tmp_path):
    class Asking(targets.Cheap):
        def evaluate(self, job, report):
            there = [any(tmp_path.iterdir()), Path(job.folder).is_dir(), Path(replace(job, seed=1).folder).is_dir()]
            return {"score": float(there == [False, True, True])}

    (outcome,) = outcomes("Mixed", Job(0, {}, folder=str(tmp_path / "00000")), live_env=Asking())
    assert outcome["metrics"] == {"score": 1.0} and not list(tmp_path.iterdir())
    assert Job(0, {}).folder is None and Job(0, {}, folder="a").to_json()["folder"] == "a"


def test_a_killed_evaluation_that_wrote_nothing_has_a_log_with_the_reason(tmp_path):
    abandon(str(tmp_path / "00007"), "timeout", "took longer than 3 s")
    assert (tmp_path / "00007" / "log.txt").read_text() == "timeout: took longer than 3 s\n"


def test_a_folder_that_cannot_be_made_is_a_failed_trial(tmp_path):
    (tmp_path / "trials").write_text("a file in the way")
    outcome = failing("fine", tmp_path / "trials" / "00000")
    assert outcome["error"]["kind"] == "exception" and "NotADirectoryError" in outcome["error"]["message"]


def test_export_and_illustrate_write_into_the_folder(tmp_path):
    (outcome,) = outcomes("Weights", Job(0, {"kind": "x"}), call="export", folder=tmp_path)
    assert outcome["error"] is None and (tmp_path / "result.txt").read_text() == "{'kind': 'x'}"

    class Broken(targets.Cheap):
        def illustrate(self, candidate, folder):
            print("drawing")
            raise OSError("no pen")

    (outcome,) = outcomes("Mixed", Job(0, {}), call="illustrate", folder=tmp_path, live_env=Broken())
    assert outcome["error"]["message"] == "OSError: no pen"
    assert (tmp_path / "log.txt").read_text().startswith("drawing\n")


def test_abandon_keeps_the_log_with_the_reason(tmp_path):
    place = Place(str(tmp_path / "00007"))
    with place.opened() as log:
        log.write("epoch 3\n")
    (tmp_path / "00007.part" / "weights.bin").write_bytes(b"half")
    abandon(str(tmp_path / "00007"), "timeout", "took longer than 3 s")
    assert [path.name for path in tmp_path.rglob("*")] == ["00007", "log.txt"]
    assert (tmp_path / "00007" / "log.txt").read_text() == "epoch 3\ntimeout: took longer than 3 s\n"


# ---------------------------------------------------------------- output


@pytest.mark.slow
def test_output_of_every_kind_goes_to_the_log(tmp_path, capfd):
    script = f"""
import sys; sys.path.append({str(Path(targets.__file__).parent)!r})
from automl_ext.worker import work
for number in (0, 1):
    work(sys.argv[1].replace("NUMBER", str(number)))
print("mine")
"""
    job = Job(0, {}, folder=str(tmp_path / "NUMBER"))
    subprocess.run([sys.executable, "-c", script, payload("Talking", job)], check=True)
    assert capfd.readouterr() == ("mine\n", "")
    for number in (0, 1):
        log = (tmp_path / str(number) / "log.txt").read_text()
        for words in ("printed 0", "to stderr", "UserWarning: a warning", "logged", "from a thread"):
            assert words in log, words


def test_threads_have_logs_of_their_own(tmp_path):
    def evaluate(number):
        class Chatty(targets.Cheap):
            def evaluate(self, job, report):
                for _ in range(20):
                    print(f"I am {number}")
                    time.sleep(0.001)
                return {"score": 0.0}

        outcomes("Mixed", Job(number, {}, folder=str(tmp_path / str(number))), live_env=Chatty())

    before = sys.stdout, sys.stderr
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(evaluate, range(8)))
    assert (sys.stdout, sys.stderr) == before
    for number in range(8):
        assert (tmp_path / str(number) / "log.txt").read_text() == f"I am {number}\n" * 20


def test_a_display_in_another_thread_keeps_the_terminal(tmp_path, capsys):
    go, gone = threading.Event(), threading.Event()

    def display():
        go.wait()
        print("progress")
        gone.set()

    thread = threading.Thread(target=display)
    thread.start()
    with (tmp_path / "log.txt").open("w") as file, captured(file):
        go.set()
        gone.wait()
        print("evaluation")
    thread.join()
    assert capsys.readouterr().out == "progress\n"
    assert (tmp_path / "log.txt").read_text() == "evaluation\n"


# ---------------------------------------------------------------- batches


def batch(tmp_path, **options):
    space = targets.SPACES["mixed"]
    jobs = [
        Job(number, space.sample(np.random.default_rng(number)), folder=str(tmp_path / f"{number:05d}"))
        for number in range(4)
    ]
    single = [outcomes("Batched", job, **options)[0] for job in jobs]
    return single, outcomes("Batched", *jobs, **options)


def test_a_batch_is_bit_equal_to_one_by_one_and_its_output_is_everybodys(tmp_path):
    single, together = batch(tmp_path)
    assert [outcome["metrics"] for outcome in together] == [outcome["metrics"] for outcome in single]
    assert len({outcome["seconds"] for outcome in together}) == 1
    assert [(tmp_path / f"{n:05d}" / "log.txt").read_text() for n in range(4)] == ["batch of 4\n"] * 4


def test_a_batch_that_raises_is_evaluated_one_by_one(tmp_path):
    _, together = batch(tmp_path, broken=[2])
    assert [outcome["error"] is None for outcome in together] == [True, True, False, True]
    assert "number 2 is broken" in together[2]["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["00002"]


def test_one_member_of_a_batch_can_fail(tmp_path):
    _, together = batch(tmp_path, refused=[1])
    assert [outcome["error"] is None for outcome in together] == [True, False, True, True]
    assert together[1]["error"]["message"] == "refused"


def test_a_batch_of_the_wrong_length_is_an_error():
    class Short(targets.Batched):
        def evaluate_many(self, jobs, report):
            return [{"score": 1.0}]

    together = outcomes("Batched", Job(0, {}), Job(1, {}), live_env=Short())
    assert {outcome["error"]["message"] for outcome in together} == {"evaluate_many gave 1 results for 2 jobs"}


# ---------------------------------------------------------------- the process


def test_what_cannot_be_built_is_one_line():
    for name, words in [
        ("notebook/Mine-v0", r"put into a module and named module:notebook/Mine-v0"),
        ("targets:tests_targets/Mixet-v0", "a worker cannot build it"),
        (None, "an object of another process"),
    ]:
        text = json.dumps(
            {"env": {"id": name, "options": {}}, "call": "evaluate", "jobs": [], "folder": None, "path": []}
        )
        with pytest.raises(ExecutorError, match=words) as caught:
            work(text)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_as_a_command_it_reads_one_payload_and_prints_the_answer(tmp_path):
    command = [sys.executable, "-m", "automl_ext.worker"]
    text = payload(
        "Environment", Job(0, {}), torch=True, path=[str(Path(targets.__file__).parent), str(tmp_path / "appended")]
    )
    found = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=tmp_path)
    (outcome,) = json.loads(found.stdout)["outcomes"]
    assert outcome["metrics"]["torch_threads"] == 1 and outcome["metrics"]["last_path"] == 1
    assert outcome["metrics"]["pid"] != os.getpid()
    bad = text.replace("Environment-v0", "Nowhere-v0")
    found = subprocess.run(command, input=bad, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert "Nowhere-v0" in found.stderr


@pytest.mark.slow
def test_a_real_network_gives_equal_bits_whatever_ran_before():
    job = Job(0, {"width": 32, "rate": 0.1, "activation": "relu"}, seed=3)
    other = Job(1, {"width": 64, "rate": 0.5, "activation": "tanh"}, seed=4)
    first = outcomes("Digits", job)[0]
    outcomes("Digits", other)
    again = outcomes("Digits", job)[0]
    assert first["metrics"] == again["metrics"] and first["curve"] == again["curve"]
    assert first["metrics"]["accuracy"] > 0.7
