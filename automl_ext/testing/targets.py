"""check_target: a search target keeps its contract as an environment of Gymnasium and of the search loop."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from automl_ext.env import Job, SearchEnv, never_stop
from automl_ext.space import Candidate
from automl_ext.testing.spaces import check_space


def check_target(
    target: str | SearchEnv, options: Mapping[str, Any] | None = None, *, seed: int = 0, samples: int = 3
) -> None:
    """Raise AssertionError at the first rule that a target breaks. It evaluates about ten candidates.

    target: an id as in a config, or an environment (made by `automl_ext.make(...)`, unwrapped).
    """
    if isinstance(target, str):
        from automl_ext.registry import make

        env = make(target, **(options or {})).unwrapped
    else:
        env = target
    assert isinstance(env, SearchEnv), f"{type(env).__name__} is no subclass of automl_ext.SearchEnv"
    assert env.objectives, "a target has at least one objective"
    check_space(env.space, seed)
    _check_observations(env, seed)
    _check_gymnasium(env)
    with tempfile.TemporaryDirectory() as folder:
        _check_evaluations(env, Path(folder), seed, samples)
    env.close()


def _check_gymnasium(env: SearchEnv) -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_env(env, skip_render_check=env.spec is None)
        except Warning as warning:
            raise AssertionError(f"Gymnasium's check_env warns: {warning}") from None


def _check_observations(env: SearchEnv, seed: int) -> None:
    rng, shape = np.random.default_rng(seed), env.observation_space.shape
    for _ in range(10):
        walk = env.space.walk()
        while not walk.done:
            seen = np.asarray(env.observe(walk))
            assert seen.shape == shape, f"observe gives {seen.shape} at {walk.path}, {shape} at the start"
            assert np.isfinite(seen).all() and (seen >= 0).all() and (seen <= 1).all(), (
                f"observe leaves [0, 1] at {walk.path}"
            )
            walk.choose(walk.decision.sample(rng))


def _check_evaluations(env: SearchEnv, folder: Path, seed: int, samples: int) -> None:
    shared = folder / "shared"
    shared.mkdir()
    env.prepare(shared)
    rng = np.random.default_rng(seed)
    candidates = {f"sample {number}": env.space.sample(rng) for number in range(samples)}
    candidates |= {f"reference {name}": dict(candidate) for name, candidate in env.references.items()}
    for number, (name, candidate) in enumerate(candidates.items()):
        assert json.loads(json.dumps(candidate)) == candidate, f"{name} is no JSON"
        first = _metrics(env, folder, shared, number, candidate, name)
        again = _metrics(env, folder, shared, number, candidate, name)
        measured = {*env.measured, *(objective.name for objective in env.objectives if objective.measured)}
        for metric in first.keys() - measured:
            assert first[metric] == again[metric], (
                f"{name}: the same job gives {metric} {first[metric]} and {again[metric]}"
            )
    if type(env).export is not SearchEnv.export:
        out = folder / "export"
        out.mkdir()
        env.export(Job(0, candidates["sample 0"], shared=str(shared)), out)
        assert any(out.iterdir()), "export wrote nothing"


def _metrics(
    env: SearchEnv, folder: Path, shared: Path, number: int, candidate: Candidate, name: str
) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        job = Job(number, candidate, seed=number, folder=own, shared=str(shared))
        metrics = {key: float(value) for key, value in env.evaluate(job, never_stop).items()}
    for objective in env.objectives:
        assert objective.name in metrics, f"{name}: no metric {objective.name!r}, which is an objective"
    for metric, value in metrics.items():
        assert math.isfinite(value), f"{name}: {metric} is {value}"
    return metrics
