"""A child process for one payload: how executors that cannot kill a running call obey a timeout or a memory limit."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress

from automl_ext.executors import ExecutorError
from automl_ext.executors.death import died, tidy
from automl_ext.executors.watch import begin_child
from automl_ext.worker import ONE_THREAD, built, work

REFUSED = 2
"""Exit code for work that cannot be done here at all; the reason is the last line of standard error."""


def work_in_child(payload: str, timeout: float | None, memory_mb: float | None = None) -> str:
    """`work(payload)` in a fresh process. timeout: seconds of the call itself, building the environment not counted.

    Raises TimeoutError, WorkerDied and ExecutorError.
    """
    command = [sys.executable, "-m", "automl_ext.worker", "--built"]
    if memory_mb is not None:
        command += ["--memory-mb", str(memory_mb)]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, process_group=0
        )
        try:
            answer, late = _converse(child, payload, timeout)
        finally:
            child.kill()
            child.wait()
        if late:
            raise TimeoutError(tidy(payload, "timeout", f"took longer than {timeout:g} s"))
        if child.returncode == REFUSED:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").splitlines() or ["the child process refused"]
            raise ExecutorError(lines[-1])
        if child.returncode != 0 or not answer:
            raise died(payload, child.returncode, memory_mb)
    return answer


def _converse(child: subprocess.Popen[bytes], payload: str, timeout: float | None) -> tuple[str, bool]:
    """(answer, whether it was killed because it was late)."""
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("the child process has no pipes")
    late = threading.Event()

    def kill() -> None:
        late.set()
        child.kill()

    with child.stdin, child.stdout:
        with suppress(BrokenPipeError):
            child.stdin.write(payload.encode())
            child.stdin.close()
        child.stdout.readline()  # the environment is built
        timer = threading.Timer(timeout, kill) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        answer = child.stdout.read().decode()
        if timer is not None:
            timer.cancel()
    child.wait()
    return answer, late.is_set() and not answer


def main() -> int:
    """Answer one payload: standard input to standard output. Exit code 2, and one line, where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m automl_ext.worker", description=main.__doc__)
    parser.add_argument("--built", action="store_true", help="print an empty line once the environment is built")
    parser.add_argument("--memory-mb", type=float, help="leave when this much memory is resident")
    options = parser.parse_args()
    begin_child(options.memory_mb)
    payload = sys.stdin.read()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what C code prints does not end up in the answer
        try:
            built(json.loads(payload))
            if options.built:
                print(file=answers, flush=True)
            print(work(payload), file=answers)
        except ExecutorError as error:
            print(" ".join(str(error).split()), file=sys.stderr)
            return REFUSED
    return 0
