"""Stopping rules on real learning curves: how well ends are predicted, how many epochs a search saves, what it loses.

    python tests/benchmarks/stopping.py PATH/taskset-curves.npz [--tasks 4] [--seeds 2] [--trials 30]

The file: `<task>/hp` (settings, numbers) and `<task>/valid_loss` (settings, points). Errors are in units of the frame
of `automl_ext.stopping.curves`: 0.8 lies between where curves begin and the best value told. Prints two tables.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from automl_ext import Integer, Objective, Proposal, Space, Trial
from automl_ext.searcher import Target
from automl_ext.stopping.curves import Frame
from automl_ext.stopping.ensemble import predict
from automl_ext.stopping.extrapolation import Extrapolation
from automl_ext.stopping.median import Median
from automl_ext.stopping.network import CurveNetwork

SHARES = (0.1, 0.25, 0.5)
TOLD = 40
PREDICTED = 10
RULES = {
    "median": (Median, {}),
    "extrapolation": (Extrapolation, {"every": 10, "startup": 10}),
    "curve-network": (CurveNetwork, {}),
}


class Task:
    """One task's settings as features (n, d) and its validation losses (n, points)."""

    def __init__(self, name: str, settings: np.ndarray, losses: np.ndarray) -> None:
        self.name, self.losses = name, losses.astype(float)
        rest = [0, *range(3, settings.shape[1])]
        self.features = np.log(np.c_[settings[:, rest], 1 - settings[:, 1:3]])
        space = Space(Integer("setting", 0, len(losses) - 1))
        self.target = Target(
            space,
            (Objective("loss", "min"),),
            {},
            None,
            None,
            features=lambda candidate: self.features[candidate["setting"]],
        )

    def curve(self, setting: int) -> list[tuple[float, float]]:
        """Points up to the first that is not finite: there an evaluation fails."""
        losses = self.losses[setting]
        bad = np.nonzero(~np.isfinite(losses))[0]
        whole = losses[: bad[0]] if len(bad) else losses
        return [(float(step), float(loss)) for step, loss in enumerate(whole, 1)]


def tasks(path: Path, count: int) -> list[Task]:
    with np.load(path) as arrays:
        names = [name.removesuffix("/valid_loss") for name in arrays if name.endswith("/valid_loss")]
        return [Task(name, arrays[f"{name}/hp"], arrays[f"{name}/valid_loss"]) for name in names[-count:]]


def trial(task: Task, number: int, setting: int, curve: Sequence[tuple[float, float]], stopped: bool) -> Trial:
    failed = not stopped and len(curve) < task.losses.shape[1]
    metrics = None if failed else {"loss": curve[-1][1]}
    origin = "stopped" if stopped else "evaluated"
    return Trial(number, "search", {"setting": int(setting)}, {}, None, 0, None, metrics, tuple(curve), origin=origin)


def errors(task: Task, seed: int) -> dict[tuple[str, float], list[float]]:
    """|predicted - true end| of curves of new settings, from the first share of their points, by (predictor, share)."""
    rng, found = np.random.default_rng(seed), defaultdict(list)
    order = [int(s) for s in rng.permutation(len(task.losses)) if np.isfinite(task.losses[s]).all()]
    network = CurveNetwork(task.target, rng, startup=TOLD)
    for number, setting in enumerate(order[:TOLD]):
        network.tell(trial(task, number, setting, task.curve(setting), False), np.random.default_rng((seed, number)))
    frame = network._told.frame(None)
    assert isinstance(frame, Frame)
    told = np.stack([frame.y(task.losses[setting]) for setting in order[:TOLD]])
    for setting in order[TOLD : TOLD + PREDICTED]:
        steps, losses = np.array(task.curve(setting)).T
        y, x = frame.y(losses), frame.x(steps)
        prediction = network.predict(Proposal({"setting": setting}))
        for share in SHARES:
            seen = max(3, round(share * len(y)))
            extrapolated = predict(x[:seen], y[:seen], frame.points, np.random.default_rng((seed, setting)))
            ends = {
                "last value": y[seen - 1],
                "last value + median change": y[seen - 1] + np.median(told[:, -1] - told[:, seen - 1]),
                "extrapolation": y[seen - 1] if extrapolated is None else extrapolated.mean,
                "curve-network": prediction.end(steps[:seen], losses[:seen])[0],
            }
            for name, end in ends.items():
                found[name, share].append(abs(end - y[-1]))
    return found


def searched(task: Task, seed: int, trials: int, name: str | None) -> tuple[int, float, int]:
    """(epochs spent, best final loss, its setting) of a random search with a rule, one trial at a time."""
    rng = np.random.default_rng((seed, 1))
    order = rng.permutation(len(task.losses))[:trials]
    kind, options = RULES[name] if name else (None, {})
    rule = kind(task.target, np.random.default_rng(seed), **options) if kind else None
    epochs, best = 0, (np.inf, -1)
    for number, setting in enumerate(order):
        curve = task.curve(setting)
        fixed = rule.stopping(Proposal({"setting": int(setting)}), number) if rule else None
        points = [list(point) for point in curve]
        at = next((n for n in range(1, len(points) + 1) if fixed and kind.stop(fixed, points[:n])), None)
        told = trial(task, number, setting, curve[:at] if at else curve, at is not None)
        epochs += len(told.curve)
        if told.origin == "evaluated" and told.metrics:
            best = min(best, (told.metrics["loss"], int(setting)))
        if rule:
            rule.tell(told, np.random.default_rng((seed, number)))
    return epochs, *best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found, outcomes = defaultdict(list), defaultdict(list)
    chosen = tasks(options.path, options.tasks)
    for task in chosen:
        for seed in range(options.seeds):
            for key, values in errors(task, seed).items():
                found[key] += values
            plain = searched(task, seed, options.trials, None)
            for name in RULES:
                began = time.process_time()
                epochs, loss, setting = searched(task, seed, options.trials, name)
                seconds = (time.process_time() - began) / options.trials
                row = (1 - epochs / plain[0], setting == plain[2], loss - plain[1], seconds)
                outcomes[name].append(row)
            print(
                f"# {task.name} seed {seed}",
                {n: [round(float(v), 3) for v in r[-1]] for n, r in outcomes.items()},
                flush=True,
            )
    print("\n| error of the predicted end, mean (median) | " + " | ".join(f"from {s:.0%}" for s in SHARES) + " |")
    print("|---|" + "---|" * len(SHARES))
    for name in dict.fromkeys(name for name, _ in found):
        cells = [f"{np.mean(found[name, s]):.3f} ({np.median(found[name, s]):.3f})" for s in SHARES]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\n| rule | epochs saved | best trial kept | final loss lost, mean (worst) | seconds a trial |")
    print("|---|---|---|---|---|")
    for name, rows in outcomes.items():
        saved, kept, lost, seconds = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        share = f"{saved.mean():.0%} ({saved.min():.0%} to {saved.max():.0%})"
        print(
            f"| {name} | {share} | {int(kept.sum())} of {len(kept)} "
            f"| {lost.mean():.4f} ({lost.max():.4f}) | {seconds.mean():.2f} |"
        )


if __name__ == "__main__":
    main()
