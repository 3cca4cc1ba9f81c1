"""Synthetic targets have the optima and fronts that are published for them, and searches work on every one."""

from __future__ import annotations

import numpy as np
import pytest
import targets_synthetic as synthetic

from automl_ext import Run, search
from automl_ext.env import Job, never_stop
from automl_ext.fronts import Frame, nondominated
from automl_ext.registry import searcher_class
from automl_ext.report.reading import read
from automl_ext.searcher import stream
from automl_ext.testing import check_target
from automl_ext.testing.simulate import simulate

ALONE = {
    "Branin": "local",
    "Hartmann6": "regularized-evolution",
    "Methods": "local",
    "Formula": "regularized-evolution",
}
SEVERAL = ("Zdt1", "Zdt3", "Dtlz2")
OPTIONS = {"local": {}, "regularized-evolution": {"population": 10, "sample": 4}}


def play(folder, name: str, searcher: str, trials: int = 60, **fields) -> Run:
    fields = {"trials": trials, "executor": "serial", "final": [], **fields}
    with Run.create(env=synthetic.ID.format(name), searcher=searcher, out=folder, **fields) as run:
        search(run)
    return run


# ---------------------------------------------------------------- one objective


@pytest.mark.parametrize("name", ALONE)
def test_the_published_optimum_is_where_it_should_be_and_nowhere_else(name):
    env = getattr(synthetic, name)()
    objective, rng = env.objectives[0], np.random.default_rng(0)
    best = env.evaluate(Job(0, next(iter(env.references.values()))), never_stop)
    assert best[objective.name] == pytest.approx(env.optimum, abs=1e-5)
    for _ in range(500):
        assert (
            objective.signed(env.evaluate(Job(0, env.space.sample(rng)), never_stop)) <= objective.signed(best) + 1e-5
        )


def test_the_hierarchy_is_three_levels_deep():
    slots = {slot.path for slot in synthetic.Formula().space.slots}
    assert "top/left/right/left" in slots and len(slots) == 1 + 2 + 4 + 8


@pytest.mark.parametrize("name", [*ALONE, *SEVERAL])
def test_they_keep_the_contract_of_a_target(name):
    check_target(getattr(synthetic, name)())


@pytest.mark.parametrize(("name", "searcher"), ALONE.items())
def test_a_search_and_random_beside_it_work(tmp_path, name, searcher):
    run = play(tmp_path, name, {"name": searcher, **OPTIONS[searcher]}, 25, baselines=["random"])
    for story in (read(run), read(run.baselines["random"])):
        assert story.whole == 25 and story.failed == 0
    space = getattr(synthetic, name)().space
    assert all(trial.candidate in space for trial in run.trials("search"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "searcher"), ALONE.items())
def test_searching_comes_nearer_to_the_optimum_than_random(name, searcher):
    """The median gap of ten seeds after 200 evaluations, one at a time."""
    env = getattr(synthetic, name)()
    objective = env.objectives[0]

    def gap(kind: str, options: dict, seed: int) -> float:
        found = searcher_class(kind)(env.target, stream(seed, "build"), **options)

        def value(candidate):
            return env.evaluate(Job(0, candidate), never_stop)[objective.name]

        told = simulate(found, value, 200, seed=seed, metric=objective.name)
        return min(abs(trial.metrics[objective.name] - env.optimum) for trial in told)

    searched = [gap(searcher, OPTIONS[searcher], seed) for seed in range(10)]
    random = [gap("random", {}, seed) for seed in range(10)]
    assert np.median(searched) < np.median(random)


# ---------------------------------------------------------------- several objectives


def optimal(name: str, count: int) -> np.ndarray:
    """(n, k) objective values on the published Pareto set, densely and evenly."""
    env, line = getattr(synthetic, name)(), np.linspace(0, 1, count)
    if name == "Dtlz2":
        grid = np.stack(np.meshgrid(np.linspace(0, 1, 80), np.linspace(0, 1, 80)), axis=-1).reshape(-1, 2)
        return env.values(np.column_stack([grid, np.full((len(grid), 3), 0.5)]))
    return env.values(np.column_stack([line, np.zeros((count, 4))]))


def closed_form(name: str) -> tuple[Frame, float]:
    """(box with its reference at 1.1, share of the box that lies behind the true front)."""
    size = 3 if name == "Dtlz2" else 2
    box = Frame(np.array([0.0] * (size - 1) + [-1.0 if name == "Zdt3" else 0.0]), np.full(size, 1.1))
    if name == "Zdt1":  # 1.1 - (1 - sqrt f) over f from 0 to 1, and the strip up to 1.1
        return box, (0.1 + 2 / 3 + 0.1 * 1.1) / 1.1**2
    if name == "Dtlz2":  # all but an eighth of the unit ball
        return box, (1.1**3 - np.pi / 6) / 1.1**3
    f = np.linspace(0, 1, 400_001)
    lowest = np.minimum.accumulate(1 - np.sqrt(f) - f * np.sin(10 * np.pi * f))
    area = np.trapezoid(1.1 - lowest, f) + 0.1 * (1.1 - lowest[-1])
    return box, area / (1.1 * 2.1)


@pytest.mark.parametrize("name", SEVERAL)
def test_hypervolume_of_the_true_front_is_the_closed_form(name):
    box, share = closed_form(name)
    found = box.hypervolume(optimal(name, 4001))
    assert found <= share + 1e-6 and found == pytest.approx(share, abs=0.02 if name == "Dtlz2" else 1e-3)


def test_the_front_of_zdt3_has_the_five_published_pieces():
    pieces = [(0.0, 0.0830015349), (0.1822287280, 0.2577623634), (0.4093136748, 0.4538821041),
              (0.6183967944, 0.6525117038), (0.8233317983, 0.8518328654)]  # fmt: skip
    points = optimal("Zdt3", 20_001)
    on_front = points[nondominated(points), 0]
    expected = np.linspace(0, 1, 20_001)
    expected = expected[[any(low <= f <= high for low, high in pieces) for f in expected]]
    assert len(on_front) == pytest.approx(len(expected), abs=5)
    assert all(any(low - 1e-4 <= f <= high + 1e-4 for low, high in pieces) for f in on_front)


@pytest.mark.parametrize("name", SEVERAL)
def test_no_candidate_lies_beyond_the_closed_form(name):
    env, rng = getattr(synthetic, name)(), np.random.default_rng(1)
    box, share = closed_form(name)
    x = rng.random((2000, 5))
    x[1000:, 2:] = 0.5 if name == "Dtlz2" else 0.0
    assert 0 < box.hypervolume(env.values(x)) <= share + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVERAL)
def test_random_and_a_rewarded_search_work_on_several_objectives(tmp_path, name):
    """Evolution takes one objective; the reward gives it one, and later trials are better by that."""
    box, share = closed_form(name)
    weights = {"f0": 0.5, "f1": 1.0}
    fields = {"reward": {"name": "weighted-sum", "weights": weights}, "baselines": ["random"], "parallel": 1}
    weighed = play(tmp_path, name, {"name": "regularized-evolution", "population": 10, "sample": 4}, 60, **fields)
    for run in (play(tmp_path, name, "random", 30), weighed):
        story = read(run)
        cloud = story.cloud()
        assert cloud.shape == (story.searched, len(story.traded)) and 0 <= box.hypervolume(cloud) < share
    later, random = (read(run).column("reward")[30:].mean() for run in (weighed, weighed.baselines["random"]))
    assert later > random and read(weighed).primary == "reward"
    for trial in weighed.trials():
        assert trial.metrics["reward"] == pytest.approx(-0.5 * trial.metrics["f0"] - trial.metrics["f1"])
