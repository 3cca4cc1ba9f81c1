"""Targets for tests, which a worker process finds as `targets:tests_targets/Name-v0`."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import gymnasium
import numpy as np
from safetensors.numpy import load_file, save_file

from automl_ext import Choice, Failure, Integer, Objective, Proposal, Real, SearchEnv, Space, Trial
from automl_ext.decisions import Decision

ID = "targets:tests_targets/{}-v0"


def register(cls: type) -> type:
    gymnasium.register(f"tests_targets/{cls.__name__}-v0", entry_point=cls)
    return cls


def descending(path: str, decision: Decision, made: dict) -> Decision:
    """Each number is at most the one before it."""
    before = [made[name] for name in ("a", "b", "c") if name in made]
    return decision.within(0, before[-1]) if before else decision


SPACES = {
    "choice": Space(*(Choice(name, ["red", "green", "blue", "grey"]) for name in "abc")),
    "number": Space(Integer("layers", 1, 12), Real("rate", 1e-4, 1.0, log=True), Real("momentum", 0.0, 1.0)),
    "conditional": Space(
        Choice(
            "op",
            ["linear", "tree", "none"],
            branches={
                "linear": Space(Real("penalty", 1e-3, 10.0, log=True)),
                "tree": Space(Integer("depth", 1, 8), Choice("split", ["best", "random"])),
            },
        ),
        Choice("scaled", [True, False]),
    ),
    "narrowed": Space(*(Integer(name, 0, 9) for name in "abc"), narrow=descending),
    "mixed": Space(Choice("kind", ["x", "y", None]), Integer("width", 8, 64, step=8), Real("drop", 0.0, 0.9)),
}


def score(space: Space, candidate: dict, seed: int = 0) -> float:
    """Deterministic and in [0, 1]: near to a planted candidate is better; a trace of noise from the seed."""
    planted = space.to_vector(space.sample(np.random.default_rng(7)))
    distance = float(np.abs(space.to_vector(candidate) - planted).mean())
    return 1.0 - distance + 1e-6 * float(np.random.default_rng(seed).random())


class Lineage:
    """A searcher whose every proposal depends on what was told and on what is pending; children inherit weights."""

    def __init__(self, target, rng):
        self.target, self.best, self.told = target, None, 0

    def ask(self, number, pending, rng):
        if self.best is None or number % 5 == 0:
            return Proposal(self.target.space.sample(rng), {"pending": len(pending)})
        genes = self.target.variation.mutate(self.best.candidate, rng)
        return Proposal(self.target.space.from_genes(genes), {"told": self.told}, parent=self.best.number)

    def tell(self, trial, rng):
        self.told += 1
        if trial.metrics and (self.best is None or trial.metrics["score"] > self.best.metrics["score"] - 0.01):
            self.best = trial

    def keep(self):
        return set() if self.best is None else {self.best.number}


class Cheap(SearchEnv):
    """Microseconds an evaluation, on one of SPACES. It reports a curve of three points."""

    kind = "mixed"

    def __init__(self):
        self.space = SPACES[self.kind]
        self.objectives = (Objective("score"),)
        self.references = {"planted": self.space.sample(np.random.default_rng(7))}

    def evaluate(self, job, report):
        value = score(self.space, job.candidate, job.seed)
        for step in (1, 2, 3):
            if report(step, value * step / 3):
                break
        return {"score": value, "cost_m": float(len(job.candidate))}

    def test(self, job, report):
        return {"test_score": score(self.space, job.candidate)}


@register
class ChoiceOnly(Cheap):
    kind = "choice"


@register
class NumberOnly(Cheap):
    kind = "number"


@register
class Conditional(Cheap):
    kind = "conditional"


@register
class Narrowed(Cheap):
    kind = "narrowed"


@register
class Mixed(Cheap):
    kind = "mixed"


@register
class Sleeping(Cheap):
    """Sleeps `seconds` in the mean. spread: constant | lognormal (sigma 1, by number) | asha (1, 3, 9, 27 shares)."""

    def __init__(self, seconds: float = 0.2, spread: str = "constant"):
        super().__init__()
        self.seconds, self.spread = seconds, spread

    def duration(self, number: int) -> float:
        rng = np.random.default_rng((number, 3))
        if self.spread == "lognormal":
            return self.seconds * float(rng.lognormal(-0.5, 1.0))
        if self.spread == "asha":
            share = float(rng.choice([1, 3, 9, 27], p=[27 / 40, 9 / 40, 3 / 40, 1 / 40]))
            return self.seconds * share * 40 / 108
        return self.seconds

    def evaluate(self, job, report):
        time.sleep(self.duration(job.number))
        return super().evaluate(job, report)


def allocate(megabytes: int) -> list[bytearray]:
    """Memory that is really resident, in small pieces, so that a watcher has its say in between."""
    kept = []
    for _ in range(megabytes // 10):
        kept.append(bytearray(os.urandom(1)) * 10_000_000)
        time.sleep(0.01)
    return kept


WAYS = {
    "fine": lambda: {"score": 1.0},
    "exception": lambda: {}["missing"],
    "exit": lambda: sys.exit("left"),
    "memory-error": lambda: (_ for _ in ()).throw(MemoryError("no room")),
    "nan": lambda: {"score": float("nan")},
    "infinite": lambda: {"score": 1.0, "loss": float("inf")},
    "text": lambda: {"score": "high"},
    "missing": lambda: {"other": 1.0},
    "nothing": lambda: None,
    "dies": lambda: os._exit(3),
    "dies-with-0": lambda: os._exit(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": lambda: time.sleep(3600),
    "grows": lambda: {"score": float(len(allocate(3000)))},
}


@register
class Failing(SearchEnv):
    """Fails in the way that the candidate names; it prints something and leaves a file first."""

    def __init__(self, ways: tuple[str, ...] = tuple(WAYS)):
        self.space = Space(Choice("way", list(ways)), Integer("n", 0, 99))
        self.objectives = (Objective("score"),)

    def evaluate(self, job, report):
        way = job.candidate["way"]
        print(f"about to be {way}")
        (Path(job.folder) / "half.bin").write_bytes(b"half")
        if way == "fine":
            (Path(job.folder) / "half.bin").unlink()
        return WAYS[way]()


@register
class DyingOnce(Cheap):
    """Kills its own process at the first attempt on every third number; `folder` remembers attempts."""

    def __init__(self, folder: str = "."):
        super().__init__()
        self.folder = folder

    def evaluate(self, job, report):
        mark = Path(self.folder) / f"attempt-{job.number}"
        if job.number % 3 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(job, report)


@register
class Weights(Cheap):
    """Inherits its parent's weights, changes them and leaves them; reads what `prepare` made. Takes `seconds`."""

    def __init__(self, seconds: float = 0.0):
        super().__init__()
        self.seconds = seconds

    def prepare(self, folder):
        print("preparing")
        save_file({"base": np.arange(4.0)}, folder / "base.safetensors")

    def evaluate(self, job, report):
        file = Path(job.parent or job.shared) / ("weights" if job.parent else "base")
        start = next(iter(load_file(file.with_suffix(".safetensors")).values()))
        weights = start * 0.5 + np.random.default_rng(job.seed).random(4)
        time.sleep(self.seconds * float(np.random.default_rng(job.number).exponential()))
        save_file({"weights": weights}, Path(job.folder) / "weights.safetensors")
        return {"score": float(weights.sum()) + score(self.space, job.candidate)}

    def export(self, job, folder):
        (folder / "result.txt").write_text(str(job.candidate))


@register
class Batched(Cheap):
    """evaluate_many is bit-equal to one by one. `broken`: numbers at which the whole batch raises."""

    batch = 4

    def __init__(self, broken: tuple[int, ...] = (), refused: tuple[int, ...] = ()):
        super().__init__()
        self.broken, self.refused = tuple(broken), tuple(refused)

    def evaluate(self, job, report):
        if job.number in self.broken or job.number in self.refused:
            raise ValueError(f"number {job.number} is broken")
        vector = self.space.to_vector(job.candidate)
        return {"score": float(np.tanh(vector).sum(axis=-1))}

    def evaluate_many(self, jobs, report):
        if any(job.number in self.broken for job in jobs):
            raise ValueError("a batch is broken")
        print(f"batch of {len(jobs)}")
        vectors = np.stack([self.space.to_vector(job.candidate) for job in jobs])
        sums = [float(row.sum(axis=-1)) for row in np.tanh(vectors)]
        return [
            Failure("exception", "refused") if job.number in self.refused else {"score": value}
            for job, value in zip(jobs, sums, strict=True)
        ]


@register
class Talking(Cheap):
    """Says something in every way there is."""

    def evaluate(self, job, report):
        import logging
        import threading

        print(f"printed {job.number}")
        print("to stderr", file=sys.stderr)
        warnings.warn("a warning", UserWarning, stacklevel=1)
        logging.getLogger("targets").error("logged")
        thread = threading.Thread(target=print, args=["from a thread"])
        thread.start()
        thread.join()
        return {"score": 0.0}


@register
class Curved(SearchEnv):
    """Reports `job.candidate["value"]` at steps 1 to 9 until told to stop; NaN where the candidate says so."""

    def __init__(self):
        self.space = Space(Real("value", 0.0, 1.0), Choice("broken", [False, True]))
        self.objectives = (Objective("score"),)

    def evaluate(self, job, report):
        for step in range(1, 10):
            value = float("nan") if job.candidate["broken"] and step == 4 else job.candidate["value"]
            if report(step, value):
                break
        return {"score": job.candidate["value"], "steps": step}


@register
class Rising(SearchEnv):
    """Twelve steps of a saturating curve towards `end`, noise of the seed on it; as a falling loss where `falls`."""

    def __init__(self, falls: bool = False):
        self.space = Space(Real("end", 0.2, 0.9), Real("rate", 0.2, 1.0))
        self.objectives = (Objective("loss", "min") if falls else Objective("score"),)
        self.falls = falls

    def evaluate(self, job, report):
        noise = np.random.default_rng(job.seed).normal(0, 0.002, 13)
        for step in range(1, 13):
            value = job.candidate["end"] * (1 - np.exp(-job.candidate["rate"] * step)) + noise[step]
            value = float(5 - 4 * value if self.falls else value)
            if report(step, value):
                break
        return {self.objectives[0].name: value, "steps": float(step)}


@register
class Environment(Cheap):
    """Measures the worker that it runs in; with torch if asked."""

    def __init__(self, torch: bool = False):
        super().__init__()
        self.torch = torch

    def evaluate(self, job, report):
        threads = 0
        if self.torch:
            import torch

            threads = torch.get_num_threads()
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {
            "score": 0.0,
            "pid": os.getpid(),
            "torch_threads": threads,
            "variables": sum(os.environ.get(name) == "1" for name in names),
            "last_path": float(sys.path[-1].endswith("appended")),
        }


@register
class Parent(Cheap):
    """Starts a process of its own, writes its number down and waits for it."""

    def __init__(self, note: str = "pid"):
        super().__init__()
        self.note = note

    def evaluate(self, job, report):
        child = subprocess.Popen(["sleep", "3600"])
        Path(self.note).write_text(str(child.pid))
        child.wait()
        return {"score": 0.0}


@register
class Digits(SearchEnv):
    """A small network trained for some steps on scikit-learn's digits: about a tenth of a second on one thread."""

    def __init__(self, steps: int = 60):
        self.space = Space(
            Integer("width", 16, 64, step=16),
            Real("rate", 1e-3, 1.0, log=True),
            Choice("activation", ["relu", "tanh"]),
        )
        self.objectives = (Objective("accuracy"), Objective("weights_k", "min"))
        self.references = {"usual": {"width": 32, "rate": 0.1, "activation": "relu"}}
        self.steps = steps

    def evaluate(self, job, report):
        import torch

        images, labels, val_images, val_labels = digits()
        rng = torch.Generator().manual_seed(job.seed)
        network = self.network(job.candidate, rng)
        optimizer = torch.optim.SGD(network.parameters(), lr=job.candidate["rate"], momentum=0.9)
        for step in range(int(job.budget or self.steps)):
            batch = torch.randint(len(images), (64,), generator=rng)
            loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 20 == 19 and report(step + 1, self.accuracy(network, val_images, val_labels)):
                break
        weights = sum(parameter.numel() for parameter in network.parameters())
        state = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
        fingerprint = int.from_bytes(hashlib.sha256(state).digest()[:6], "big")
        accuracy = self.accuracy(network, val_images, val_labels)
        return {"accuracy": accuracy, "weights_k": weights / 1e3, "fingerprint": fingerprint}

    def network(self, candidate, rng):
        import torch

        activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[candidate["activation"]]()
        network = torch.nn.Sequential(
            torch.nn.Linear(64, candidate["width"]), activation, torch.nn.Linear(candidate["width"], 10)
        )
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_((torch.rand(parameter.shape, generator=rng) - 0.5) * 0.3)
        return network

    @staticmethod
    def accuracy(network, images, labels) -> float:
        import torch

        with torch.no_grad():
            return float((network(images).argmax(1) == labels).float().mean())


_DIGITS: list = []


def digits() -> list:
    """Train and validation images (n, 64) in [0, 1] and labels (n,), loaded once a process."""
    if not _DIGITS:
        import torch
        from sklearn.datasets import load_digits

        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target, dtype=torch.int64)
        _DIGITS.extend([images[:1200], labels[:1200], images[1200:], labels[1200:]])
    return _DIGITS


def reported(number, values, *, steps=None, budget=None, metrics=None, origin="evaluated", candidate=None):
    """A told trial with the curve `values`."""
    curve = tuple(zip(steps or range(1, len(values) + 1), values, strict=True))
    metrics = {"score": values[-1]} if metrics is None else metrics
    return Trial(number, "search", candidate or {}, {}, budget, 0, None, metrics or None, curve, origin=origin)


class Impatient:
    """A stopping rule: stop at point `patience`, whatever the curve."""

    def __init__(self, target, rng, *, patience: int = 3):
        self.patience = patience

    def stopping(self, proposal, seed):
        return {"patience": self.patience}

    def tell(self, trial, rng): ...

    @staticmethod
    def stop(stopping, points):
        return len(points) >= stopping["patience"]


class Refusing(Impatient):
    """A stopping rule that cannot treat any target."""

    def __init__(self, target, rng):
        raise ValueError("not today")


class Wanderer:
    """Steps away from the last trial told, and saves its state."""

    def __init__(self, target, rng):
        self.target, self.place = target, np.full(2, 0.5)

    def ask(self, number, pending, rng):
        away = np.clip(self.place + rng.normal(0, 0.3, 2), 0.0, 1.0)
        return Proposal(self.target.space.from_vector(away))

    def tell(self, trial, rng):
        self.place = 0.5 * self.place + 0.5 * self.target.space.to_vector(trial.candidate)

    def state(self):
        return {"place": self.place}, {}

    def load(self, state):
        self.place = state[0]["place"]


class Listed:
    """Asks the widths that it was given."""

    def __init__(self, widths):
        self.widths = widths

    def ask(self, number, pending, rng):
        return Proposal({"width": self.widths[number]}) if number < len(self.widths) else None

    def tell(self, trial, rng): ...
