"""Hard kills of drivers and workers at random moments, and journals torn at every byte.

KILLS=200 python -m pytest tests/faults        (a dozen without KILLS; KILLS_SEED picks other moments)

What is promised: no finished trial is lost, none stands twice, every run ends with the digest of the uninterrupted one,
and two seconds after a driver's death none of its processes is left.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from automl_ext import Run
from automl_ext.journal import Journal, decode, digest

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("KILLS_SEED", "0"))
PLAY = Path(__file__).parent / "play.py"
JOURNALS = ("trials.jsonl", "baselines/random/trials.jsonl")


class Session:
    """One life of a driver, with everything that it starts in a session of its own."""

    def __init__(self, out: Path, seed: int, workers: int) -> None:
        command = [sys.executable, str(PLAY), str(out), str(seed), str(workers)]
        self.errors = (out / "errors.txt").open("ab+")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.errors, text=True, start_new_session=True
        )
        self.said: list[str] = []

    def family(self) -> set[int]:
        """Living processes of the session, whoever their parent is now."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.add(int(path.parent.name))
        return found

    def kill_driver(self) -> float:
        """Seconds until nothing was left; at most a little over two."""
        self.process.kill()
        began = time.monotonic()
        while self.family() and time.monotonic() - began < 2.1:
            time.sleep(0.01)
        return time.monotonic() - began

    def kill_worker(self, moment: random.Random) -> bool:
        """Kill one process that is not the driver; whether there was one."""
        others = sorted(pid for pid in self.family() - {self.process.pid} if b"resource_tracker" not in _command(pid))
        if others:
            try:
                os.kill(moment.choice(others), signal.SIGKILL)
            except ProcessLookupError:
                return False
        return bool(others)

    def close(self) -> None:
        """Collect what the driver said."""
        self.said = self.process.communicate()[0].splitlines()
        self.errors.close()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def folder_of(out: Path) -> Path | None:
    found = [path.parent for path in out.glob("*/config.yaml")]
    assert len(found) <= 1
    return found[0] if found else None


def whole_lines(out: Path) -> dict[str, Counter[bytes]]:
    """The finished trials on disk, by journal."""
    folder, lines = folder_of(out), {}
    for name in JOURNALS:
        path = folder / name if folder else None
        found = path.read_bytes().splitlines(keepends=True) if path and path.exists() else []
        lines[name] = Counter(line for line in found if decode(line) is not None)
    return lines


def digests(folder: Path) -> list[str]:
    return [digest(Journal(folder / name, write=False).trials()) for name in JOURNALS]


def uninterrupted(folder: Path, seed: int) -> list[str]:
    subprocess.run([sys.executable, str(PLAY), str(folder), str(seed), "0"], check=True, capture_output=True)
    found = folder_of(folder)
    assert found is not None
    return digests(found)


def check_said(session: Session, out: Path) -> None:
    """Whatever the driver told its searcher stands in a journal."""
    folder = folder_of(out)
    told = {tuple(line.split()[1:]) for line in session.said if line.startswith("told") and line.count(" ") == 2}
    found = set()
    for name in JOURNALS:
        if folder and (folder / name).exists():
            found |= {(trial.stage, str(trial.number)) for trial in Journal(folder / name, write=False).trials()}
    assert told <= found


@pytest.mark.parametrize("victims", ["driver", "workers", "both"])
def test_kills_at_random_moments(tmp_path, victims):
    moment = random.Random(f"{SEED}-{victims}")
    kills, seed, slowest, quota = 0, 0, 0.0, -(-KILLS // 3)
    while kills < quota:
        out = tmp_path / str(seed)
        out.mkdir()
        expected = uninterrupted(tmp_path / f"calm-{seed}", seed)
        finished = False
        while not finished:
            before = whole_lines(out)
            session = Session(out, seed, 2)
            died = False
            while session.process.poll() is None and not died:
                if kills >= quota:
                    session.process.wait()
                    break
                if victims != "both" or moment.random() < 0.8:  # else the next one follows at once
                    time.sleep(moment.uniform(0.05, 1.5))
                if victims != "driver" and (victims == "workers" or moment.random() < 0.5):
                    kills += session.process.poll() is None and session.kill_worker(moment)
                elif session.process.poll() is None:
                    kills, died = kills + 1, True
                    slowest = max(slowest, session.kill_driver())
                    assert slowest <= 2.0, f"still there: {[_command(pid) for pid in session.family()]}"
            session.close()
            after = whole_lines(out)
            assert all(before[name] <= after[name] for name in JOURNALS), "a finished trial was lost"
            check_said(session, out)
            finished = "finished" in session.said
            assert finished or died, (out / "errors.txt").read_text()[-3000:]
        folder = folder_of(out)
        assert folder is not None
        assert digests(folder) == expected
        for name in JOURNALS:
            numbers = [trial.number for trial in Journal(folder / name, write=False).trials()]
            assert len(numbers) == len(set(numbers))
        assert not list(folder.rglob("*.part")), "half-written files are left"
        seed += 1
    print(f"\n{kills} kills of {victims} in {seed} runs; the last process was gone after at most {slowest:.2f} s")


def test_a_journal_cut_at_every_byte_of_its_last_two_lines(tmp_path):
    """It always opens, never shows a wrong row, and a run continues to the same digest (played at every 40th byte)."""
    expected = uninterrupted(tmp_path / "calm", 0)
    whole = folder_of(tmp_path / "calm")
    assert whole is not None
    content = (whole / "trials.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    rows = list(Journal(whole / "trials.jsonl", write=False).trials())
    start = len(content) - len(lines[-1]) - len(lines[-2])
    for cut in range(start, len(content) + 1):
        path = tmp_path / "trials.jsonl"
        path.write_bytes(content[:cut])
        kept = list(Journal(path, write=False).trials())
        assert kept == rows[: len(kept)] and len(kept) >= len(rows) - 2
        journal = Journal(path)
        assert list(journal.trials()) == kept
        journal.close()
        assert path.read_bytes() == b"".join(lines[: len(kept)])
    for cut in range(start, len(content) + 1, 40):
        copy = tmp_path / "cut" / whole.name
        shutil.copytree(whole, copy, ignore=shutil.ignore_patterns(".lock"))
        (copy / "trials.jsonl").write_bytes(content[:cut])
        subprocess.run([sys.executable, str(PLAY), str(copy.parent), "0", "0"], check=True, capture_output=True)
        assert digests(copy) == expected
        assert Run.open(copy).manifest["outcome"] == "finished"
        shutil.rmtree(copy.parent)
