"""What the reproductions search: the papers' own spaces with planted scores, functions with a known optimum, the table.

A planted score is 0 at one candidate drawn by the seed and falls with the share of decisions that differ from it; it
stands in for an accuracy where a claim is about a searcher and not about networks. Costs are those of the networks,
which are built and not trained. The table is that of NAS-Bench-201, real trainings; only where it is given.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.architecture.families import family_of
from automl_ext.tasks.architecture.family import Family

from automl_ext import Choice, Objective, Real, Space
from automl_ext.artefact.agreement import counted_macs
from automl_ext.env import Job, never_stop
from automl_ext.evolution.variation import GenericVariation
from automl_ext.registry import make
from automl_ext.rewards.product import MnasNetHard
from automl_ext.searcher import Target
from automl_ext.space import Candidate
from automl_ext.testing.planted import planted_score, target_of
from automl_ext.training import lent_seed

SHAPE = (1, 8, 8)
Metrics = dict[str, float]
SPACES: dict[str, dict[str, Any]] = {
    "chain": {},
    "branch": {"layers": 4},
    "cell": {"blocks": 4, "operations": "nasnet", "join": "both"},
    "cell-pnas": {"blocks": 4, "operations": "pnas", "reduction": "shared", "grow": True},
    "cell-nao": {"blocks": 3, "operations": "nao"},
    "hierarchical": {"motifs": 4, "nodes": 4, "cell_nodes": 5},
    "mobile": {},
    "phases": {"nodes": 5},
    "modular": {"network": "resnet"},
}
"""The space of a problem, and its options."""


@dataclass(frozen=True)
class Problem:
    """target: what the searcher sees. evaluate: what it is told. truth: candidate -> the score without noise."""

    target: Target
    evaluate: Callable[[Candidate], Metrics]
    truth: Callable[[Candidate], float]


def problem(name: str, seed: int, table: str | None) -> Problem:
    """A problem by name; the seed plants the optimum, and draws noise."""
    if name == "table":
        return _table(table, ("c10_val200",))
    if name == "table-front":
        return _table(table, ("c10_val200", "c10_latency_s"))
    if name == "bits":
        return _bits(seed)
    if name in ("hartmann", "few-matter"):
        return _function(name, seed)
    if name in ("mobile-accuracy", "mobile-reward"):
        return _mobile(seed, name == "mobile-reward")
    if name == "phases-front":
        return _front(seed)
    family = family_of_space(name)
    score = planted_score(family.space, seed)
    return Problem(_target(family), lambda candidate: {"score": score(candidate)}, score)


@functools.cache
def family_of_space(name: str) -> Family:
    return family_of(name.partition("-")[0], SHAPE, 10, SPACES[name])


def _target(family: Family, *others: Objective) -> Target:
    """The space with its own operators where it has some."""
    plain = target_of(family.space, *others)
    variation = family.variation or GenericVariation(family.space)
    return Target(plain.space, plain.objectives, {}, plain.observe, variation)


@functools.cache
def _env(table: str, columns: tuple[str, ...]) -> Any:
    goals = {column: "min" if column.endswith("_s") else "max" for column in columns}
    return make(
        "automl_ext/Architecture-v0", space="nasbench201", estimator="table", table=table, objectives=goals,
        cost="c10_params_MB",
    ).unwrapped  # fmt: skip


def _table(table: str | None, columns: tuple[str, ...]) -> Problem:
    if table is None:
        raise ValueError("this problem needs --table")
    env = _env(table, columns)

    def evaluate(candidate: Candidate) -> Metrics:
        return dict(env.evaluate(Job(0, candidate), never_stop))

    return Problem(env.target, evaluate, lambda candidate: evaluate(candidate)[columns[0]])


def _bits(seed: int, length: int = 100, noise: float = 0.05) -> Problem:
    """The toy problem of the paper on ageing: the share of ones, measured with noise once and for all."""
    space = Space(*(Choice(f"b{index}", (0, 1)) for index in range(length)))
    rng = np.random.default_rng((seed, zlib.crc32(b"noise")))

    def truth(candidate: Candidate) -> float:
        return sum(int(value) for value in candidate.values()) / length  # type: ignore[arg-type]

    def evaluate(candidate: Candidate) -> Metrics:
        return {"score": float(np.clip(truth(candidate) + rng.normal(0, noise), 0, 1))}

    return Problem(target_of(space), evaluate, truth)


_A = np.array([
    [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
])  # fmt: skip
_P = 1e-4 * np.array([
    [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
    [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
])  # fmt: skip


def _function(name: str, seed: int) -> Problem:
    """hartmann: six numbers, maximum 3.32237 (Dixon, Szegö 1978). few-matter: two of five numbers count, a hill at a
    place drawn by the seed (Bergstra, Bengio 2012)."""
    count = 6 if name == "hartmann" else 5
    space = Space(*(Real(f"x{index}", 0.0, 1.0) for index in range(count)))
    place = np.random.default_rng((seed, 7)).random(2)

    def truth(candidate: Candidate) -> float:
        x = np.array(list(candidate.values()), dtype=float)
        if name == "hartmann":
            return float(np.exp(-(_A * (x - _P) ** 2).sum(axis=1)) @ np.array([1.0, 1.2, 3.0, 3.2]))
        return float(np.exp(-((x[:2] - place) ** 2).sum() / 0.08))

    return Problem(target_of(space), lambda candidate: {"score": truth(candidate)}, truth)


@functools.lru_cache(maxsize=100_000)
def _macs(space: str, items: tuple[tuple[str, Any], ...]) -> float:
    with lent_seed(0):
        network = family_of_space(space).build(dict(items)).eval()
    return counted_macs(network, torch.zeros(1, *SHAPE)) / 1e6


def macs_m(space: str, candidate: Candidate) -> float:
    """Millions of multiply-accumulates of the network."""
    return _macs(space, tuple(candidate.items()))


def _accuracy(space: str, candidate: Candidate, score: Callable[[Candidate], float], typical: float) -> float:
    """Something like an accuracy: it rises with the network's cost, ever more slowly, and with the planted score."""
    return 0.5 + 0.4 * (1 - float(np.exp(-macs_m(space, candidate) / typical))) + 0.2 * score(candidate)


@functools.cache
def typical_macs(space: str) -> float:
    """The median of 100 random candidates."""
    rng = np.random.default_rng(0)
    return float(np.median([macs_m(space, family_of_space(space).space.sample(rng)) for _ in range(100)]))


def _front(seed: int) -> Problem:
    """The phases of NSGA-Net: something like an accuracy, and the network's cost."""
    family, score = family_of_space("phases"), planted_score(family_of_space("phases").space, seed)

    def evaluate(candidate: Candidate) -> Metrics:
        return {
            "score": _accuracy("phases", candidate, score, typical_macs("phases")),
            "macs_m": macs_m("phases", candidate),
        }

    return Problem(
        _target(family, Objective("macs_m", "min")), evaluate, lambda candidate: evaluate(candidate)["score"]
    )


def _mobile(seed: int, rewarded: bool) -> Problem:
    """The space of MnasNet, its cost in place of a latency; the target is 0.7 of what random networks cost."""
    family, score = family_of_space("mobile"), planted_score(family_of_space("mobile").space, seed)
    typical = typical_macs("mobile")
    goals = (Objective("accuracy"), Objective("latency", "min"))
    rule = MnasNetHard("latency", 0.7 * typical).over(goals)

    def evaluate(candidate: Candidate) -> Metrics:
        cost = macs_m("mobile", candidate)
        known = {"accuracy": _accuracy("mobile", candidate, score, typical), "latency": cost}
        return {"score": rule.value(known) if rewarded else known["accuracy"], "cost_s": cost / (0.7 * typical)}

    return Problem(_target(family), evaluate, lambda candidate: evaluate(candidate)["score"])
