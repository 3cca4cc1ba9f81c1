"""check_target: a search target keeps its contract as an environment of Gymnasium and of the search loop."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from automl_ext.env import Job, SearchEnv, never_stop
from automl_ext.searcher import Failure
from automl_ext.space import Candidate
from automl_ext.testing.rule import rule
from automl_ext.testing.spaces import check_space
from automl_ext.worker import one_thread


def check_target(
    target: str | SearchEnv, options: Mapping[str, Any] | None = None, *, seed: int = 0, samples: int = 3
) -> None:
    """Raise AssertionError at the first rule that a target breaks. It evaluates about ten candidates.

    target: an id as in a config, or an environment (made by `automl_ext.make(...)`, unwrapped).
    """
    one_thread()
    if isinstance(target, str):
        from automl_ext.registry import make

        env = make(target, **(options or {})).unwrapped
    else:
        env = target
    assert isinstance(env, SearchEnv), f"{type(env).__name__} is no subclass of automl_ext.SearchEnv"
    assert getattr(env, "objectives", ()), "a target has at least one objective"
    check_space(env.space, seed)
    _check_observations(env, seed)
    _check_variation(env, seed)
    _check_gymnasium(env)
    with tempfile.TemporaryDirectory() as folder:
        _check_evaluations(env, Path(folder), seed, samples)
    env.close()


def _check_gymnasium(env: SearchEnv) -> None:
    from gymnasium.utils.env_checker import check_env

    with rule("Gymnasium's check_env"), warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=env.spec is None)


def _check_observations(env: SearchEnv, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with rule("observe"):
        shape = env.observation_space.shape
        for _ in range(10):
            walk = env.space.walk()
            while not walk.done:
                seen = np.array(env.observe(walk))
                assert seen.shape == shape, f"observe gives {seen.shape} at {walk.path}, {shape} at the start"
                inside = np.isfinite(seen).all() and (seen >= 0).all() and (seen <= 1).all()
                assert inside, f"observe leaves [0, 1] at {walk.path}"
                assert (np.array(env.observe(walk)) == seen).all(), f"observe gives two answers at {walk.path}"
                walk.choose(walk.decision.sample(rng))


def _check_variation(env: SearchEnv, seed: int) -> None:
    """Whatever evolution makes expresses a candidate; twins express the same one."""
    rng, space = np.random.default_rng(seed), env.space
    with rule("variation"):
        variation = env.variation
        genes, other = variation.sample(rng), variation.sample(rng)
        for _ in range(10):
            made = {
                "sample": genes,
                "mutate": variation.mutate(genes, rng),
                "crossover": variation.crossover(genes, other, rng),
                "twins": variation.twins(genes, rng),
            }
            explore = getattr(variation, "explore", None)
            if explore is not None:
                made["explore"] = explore(dict(genes), 1.0, rng)
            for name, each in made.items():
                assert json.loads(json.dumps(each)) == each, f"variation: {name} gives genes that are no JSON: {each}"
                with rule(f"variation: {name} gives genes that express no candidate"):
                    space.check(space.from_genes(each))
            assert space.from_genes(made["twins"]) == space.from_genes(genes), "variation: twins express another one"
            genes, other = made["mutate"], made["crossover"]


@dataclass(frozen=True)
class _Bench:
    """Where evaluations happen: `folder` holds one folder a job, `shared` what prepare made."""

    env: SearchEnv
    folder: Path
    shared: Path

    def job(self, number: int, candidate: Candidate, name: str, parent: Path | None = None) -> Job:
        own = self.folder / name
        own.mkdir(parents=True)
        above = None if parent is None else str(parent)
        return Job(number, candidate, seed=number, folder=str(own), shared=str(self.shared), parent=above)

    def measure(self, number: int, candidate: Candidate, name: str, turn: str) -> dict[str, float]:
        with rule(f"{name}: evaluate"):
            return _checked(
                self.env, name, self.env.evaluate(self.job(number, candidate, f"{turn} {number}"), never_stop)
            )


def _check_evaluations(env: SearchEnv, folder: Path, seed: int, samples: int) -> None:
    bench = _Bench(env, folder, folder / "shared")
    bench.shared.mkdir()
    with rule("prepare"):
        env.prepare(bench.shared)
    with rule("ready"):
        env.ready(bench.shared)
    rng = np.random.default_rng(seed)
    candidates = {f"sample {number}": env.space.sample(rng) for number in range(samples)}
    candidates |= {f"reference {name}": dict(candidate) for name, candidate in env.references.items()}
    named = list(enumerate(candidates.items()))
    for _, (name, candidate) in named:
        assert json.loads(json.dumps(candidate)) == candidate, f"{name} is no JSON: {candidate}"
    first = {name: bench.measure(number, candidate, name, "first") for number, (name, candidate) in named}
    for number, (name, candidate) in reversed(named):
        _check_same(env, name, first[name], bench.measure(number, candidate, name, "again"), "the same job gives")
    if env.batch > 1:
        _check_many(bench, list(candidates.values()), list(first.values()))
    _check_outputs(bench, candidates["sample 0"])


def _check_many(bench: _Bench, candidates: list[Candidate], alone: list[dict[str, float]]) -> None:
    """Evaluated together, each candidate gets what it got alone."""
    jobs = [bench.job(number, candidate, f"many {number}") for number, candidate in enumerate(candidates)]
    with rule("evaluate_many"):
        answers = bench.env.evaluate_many(jobs, never_stop)
    assert len(answers) == len(jobs), f"evaluate_many answers {len(jobs)} jobs with {len(answers)} results"
    for number, (answer, expected) in enumerate(zip(answers, alone, strict=True)):
        assert not isinstance(answer, Failure), f"evaluate_many: job {number} fails, alone it does not: {answer}"
        together = _checked(bench.env, f"evaluate_many: job {number}", answer)
        _check_same(bench.env, f"evaluate_many: job {number}", expected, together, "alone and together give")


def _check_same(env: SearchEnv, name: str, one: Mapping[str, float], two: Mapping[str, float], what: str) -> None:
    measured = {*env.measured, *(objective.name for objective in env.objectives if objective.measured)}
    assert one.keys() == two.keys(), f"{name}: {what} other metrics: {sorted(one)} and {sorted(two)}"
    for metric in one.keys() - measured:
        assert one[metric] == two[metric], f"{name}: {what} {metric} {one[metric]} and {two[metric]}"


def _check_outputs(bench: _Bench, candidate: Candidate) -> None:
    """What a subclass writes of test, export and illustrate works on an evaluated candidate."""
    env, kind, parent = bench.env, type(bench.env), bench.folder / "first 0"
    if kind.test is not SearchEnv.test:
        with rule("test"):
            for metric, value in env.test(bench.job(0, candidate, "test", parent), never_stop).items():
                assert math.isfinite(value), f"test: {metric} is {value}"
    for name in ("export", "illustrate"):
        if getattr(kind, name) is getattr(SearchEnv, name):
            continue
        out = bench.folder / name
        out.mkdir()
        with rule(name):
            if name == "export":
                env.export(bench.job(0, candidate, "exported", parent), out)
            else:
                env.illustrate(candidate, out)
        assert any(out.iterdir()), f"{name} wrote nothing"


def _checked(env: SearchEnv, name: str, metrics: Any) -> dict[str, float]:
    assert isinstance(metrics, Mapping), f"{name}: evaluate gives {type(metrics).__name__}, not a mapping of metrics"
    for objective in env.objectives:
        assert objective.name in metrics, f"{name}: no metric {objective.name!r}, which is an objective"
    found = {}
    for metric, value in metrics.items():
        assert isinstance(metric, str), f"{name}: the metric's name {metric!r} is no text"
        found[metric] = float(value)
        assert math.isfinite(found[metric]), f"{name}: {metric} is {found[metric]}"
    return found
