"""SearchEnv as a Gymnasium environment, over every kind of space."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from automl_ext import Choice, Integer, Job, Objective, Real, SearchEnv, Space
from automl_ext.registry import ENVIRONMENTS, env_spec
from automl_ext.testing import check_target
from automl_ext.testing.planted import planted_score, spaces


class Any(SearchEnv):
    """A target on one of the suite's spaces."""

    def __init__(self, kind: str = "choice", goal: str = "max"):
        self.space = spaces()[kind]
        self.objectives = (Objective("score", goal),)
        self.score = planted_score(self.space, 0)

    def evaluate(self, job: Job, report):
        return {"score": self.score(job.candidate)}


gymnasium.register("tests_env/Any-v0", entry_point=Any)


def make(kind: str, **options):
    return gymnasium.make("tests_env/Any-v0", kind=kind, **options).unwrapped


@pytest.mark.parametrize("kind", spaces())
def test_check_env_passes_without_a_warning(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(kind))


@pytest.mark.parametrize("kind", spaces())
def test_targets_keep_the_contract(kind):
    check_target("tests_env/Any-v0", {"kind": kind})


@pytest.mark.parametrize("kind", spaces())
def test_an_episode_is_a_walk_with_the_reward_at_its_end(kind):
    env = make(kind)
    rng = np.random.default_rng(0)
    for _ in range(200):
        _, info = env.reset(seed=1)
        terminated, rewards = False, []
        while not terminated:
            assert env.action_masks().any() and (info["action_mask"] == env.action_masks()).all()
            action = [rng.random()]
            if env.discrete:
                action = rng.choice(np.flatnonzero(env.action_masks()))
            observation, reward, terminated, truncated, info = env.step(action)
            rewards.append(reward)
            assert observation in env.observation_space and not truncated
            assert info["realised"] in info["candidate"].values()
            assert not env.discrete or info["realised"] == info["requested"]
        assert info["candidate"] in env.space
        assert set(rewards[:-1]) <= {0.0} and rewards[-1] == info["metrics"]["score"]


def test_an_illegal_action_goes_to_the_nearest_legal_one():
    env = make("narrowed")
    env.reset(seed=0)
    *_, info = env.step([1.0])
    assert info["requested"] == info["realised"] == 16
    *_, info = env.step([1.0])
    assert info["requested"] == 16 and info["realised"] == 14
    assert info["candidate"] == {"k0": 16, "k1": 14, "k2": 1, "k3": 1}


def test_minimised_objectives_are_rewarded_negatively():
    env = make("choice", goal="min")
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step(0)
    assert reward == -info["metrics"]["score"]


def test_a_step_behind_the_end_says_reset():
    env = make("choice")
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(0)
    env.reset()
    for _ in range(4):
        env.step(0)
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(0)


def test_a_masked_action_goes_to_the_nearest_option_left():
    class Distinct(SearchEnv):
        def __init__(self):
            self.space = Space(*(Choice(name, list("abcd")) for name in ("x", "y")), narrow=self.rest)
            self.objectives = (Objective("score"),)

        def rest(self, path, decision, made):
            return decision.keep([option for option in "abcd" if option not in made.values()])

        def evaluate(self, job, report):
            return {"score": 1.0}

    env = Distinct()
    env.reset()
    *_, info = env.step(1)
    assert info["action_mask"].tolist() == [1, 0, 1, 1]
    *_, info = env.step(1)
    assert (info["requested"], info["realised"]) == ("b", "a")


def test_a_whole_candidate_handed_to_reset_is_evaluated_by_one_step():
    env = make("conditional")
    candidate = env.space.sample(np.random.default_rng(0))
    observation, info = env.reset(options={"made": candidate})
    assert info["candidate"] == candidate and observation in env.observation_space
    _, reward, terminated, _, info = env.step(0)
    assert terminated and reward == info["metrics"]["score"] == env.score(candidate)
    assert info["requested"] is info["realised"] is None


@pytest.mark.parametrize("kind", ["choice", "number"])
def test_vector_environments_give_the_rewards_of_single_ones(kind):
    single = make(kind)
    several = gymnasium.make_vec(
        "tests_env/Any-v0",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
        kind=kind,
    )
    actions = (
        np.random.default_rng(0).integers(0, 5, (4, 2)) if kind == "choice" else np.full((4, 2, 1), 0.3, np.float32)
    )
    several.reset(seed=0)
    for step in actions:
        _, rewards, ended, _, _ = several.step(step)
    assert ended.all()
    for index in range(2):
        single.reset()
        for step in actions:
            _, reward, terminated, _, _ = single.step(step[index])
        assert terminated and rewards[index] == pytest.approx(reward)
    several.close()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_spec_of_an_environment_survives_json(name):
    spec = env_spec(name)
    assert gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()) == spec


def test_reset_continues_a_partial_candidate():
    env = make("choice")
    _, info = env.reset(options={"made": {"c0": "e", "c1": "d"}})
    assert info["candidate"] == {"c0": "e", "c1": "d"}
    assert "c2: one of" in env.render()


def test_a_mixed_space_bins_its_numbers():
    env = make("mixed")
    assert env.action_space.n == max(3, 9, 9)
    env.reset()
    env.step(2)
    env.step(0)
    *_, info = env.step(8)
    assert info["candidate"] == {"a": None, "b": 0, "c": 1.0}


def test_masks_of_a_bin_that_narrow_missed_leave_one_action():
    class Gap(SearchEnv):
        bins = 3

        def __init__(self):
            self.space = Space(Choice("a", ["x"]), Choice("b", ["y", "z"]), Real("c", 0.0, 1.0), narrow=self.tight)
            self.objectives = (Objective("score"),)

        def tight(self, path, decision, made):
            return decision.within(0.2, 0.3) if path == "c" else decision

        def evaluate(self, job, report):
            return {"score": job.candidate["c"]}

    env = Gap()
    env.reset()
    _, _, _, _, info = env.step(0)
    assert info["action_mask"].sum() == 1
    *_, info = env.step(int(info["action_mask"].argmax()))
    assert 0.2 <= info["candidate"]["c"] <= 0.3


def test_what_is_not_finite_is_an_error_of_step():
    class Broken(SearchEnv):
        def __init__(self):
            self.space, self.objectives = Space(Integer("a", 0, 1)), (Objective("score"),)

        def evaluate(self, job, report):
            return {"score": float("nan")}

    env = Broken()
    env.reset()
    with pytest.raises(ValueError, match="not finite"):
        env.step([0.0])
    env.close()
    env.close()


def test_prepare_runs_once_and_close_removes_what_it_made(tmp_path):
    class Prepared(SearchEnv):
        def __init__(self):
            self.space, self.objectives, self.folders = Space(Integer("a", 0, 1)), (Objective("score"),), []

        def prepare(self, folder):
            self.folders.append(folder)

        def evaluate(self, job, report):
            return {"score": 1.0}

    env = Prepared()
    for _ in range(3):
        env.reset()
        env.step([0.0])
    (folder,) = env.folders
    assert folder.exists()
    env.close()
    assert not folder.exists()


def test_a_target_must_write_evaluate():
    with pytest.raises(TypeError, match="evaluate"):
        type("Empty", (SearchEnv,), {})()
