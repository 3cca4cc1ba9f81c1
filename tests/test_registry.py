"""The registry: tables of strings, own modules by name, options against signatures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import pytest
from pydantic import Field

from automl_ext import registry
from automl_ext.env import SearchEnv
from automl_ext.mistakes import ConfigError
from automl_ext.options import check_options, resolved_options
from automl_ext.registry import ENVIRONMENTS, SEARCHERS, env_class, make, resolve, searcher_class

OWN = """
import gymnasium
from automl_ext import Integer, Objective, SearchEnv, Space

class Steps(SearchEnv):
    def __init__(self, high: int = 3):
        self.space = Space(Integer("n", 0, high))
        self.objectives = (Objective("score"),)

    def evaluate(self, job, report):
        return {"score": float(job.candidate["n"])}

class Climber:
    def __init__(self, target, rng, *, start: int = 3): ...
    def ask(self, number, pending, rng): ...
    def tell(self, trial, rng): ...

class Listed(Climber):
    finite = True

gymnasium.register("NAME/Steps-v0", entry_point="NAME:Steps")
gymnasium.register("NAME/Tall-v0", entry_point=Steps, kwargs={"high": 9})
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The name of a module of the user's, in a folder on the path."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN.replace("NAME", name))
    (tmp_path / "torn.py").write_text("import no_such_thing_at_all\n")
    (tmp_path / "wrong.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def refused(call, *arguments, **options):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_registered_environments_exist(name):
    assert issubclass(env_class(name), SearchEnv)
    assert ENVIRONMENTS[name].summary and ENVIRONMENTS[name].distribution


@pytest.mark.parametrize("name", SEARCHERS)
def test_registered_searchers_exist(name):
    cls = searcher_class(name)
    assert callable(cls.ask) and callable(cls.tell)
    assert SEARCHERS[name].finite == bool(getattr(cls, "finite", SEARCHERS[name].finite))


def test_listing_imports_nothing_heavy():
    code = "import sys, automl_ext.registry; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "gymnasium", "sklearn", "matplotlib", "numpy", "pydantic"} & set(modules)


def test_own_modules(own):
    env = make(f"{own}:{own}/Steps-v0", high=5).unwrapped
    assert isinstance(env, SearchEnv) and {"n": 5} in env.space
    assert searcher_class(f"{own}:Climber").__name__ == "Climber"
    assert [registry.is_finite(name) for name in (f"{own}:Climber", f"{own}:Listed", "random", "grid")] == [0, 1, 0, 1]
    assert make(f"{own}:{own}/Tall-v0").unwrapped.space.decisions[0].high == 9
    assert make(f"{own}:{own}/Tall-v0", high=1).unwrapped.space.decisions[0].high == 1


@pytest.mark.parametrize(
    ("call", "name", "words"),
    [
        (searcher_class, "randm", "searcher.name: unknown searcher 'randm'; did you mean 'random'? (legal: asha, ddpg"),
        (searcher_class, "a b:C", "unknown searcher 'a b:C'"),
        (searcher_class, "nowhere:C", "name: no module nowhere (for 'nowhere:C'); is it in the working directory?"),
        (searcher_class, "OWN:Climbr", "searcher.name: unknown attribute of OWN 'Climbr'; did you mean 'Climber'?"),
        (searcher_class, "OWN:Steps", "'OWN:Steps' is no searcher: it has no ask and no tell"),
        (searcher_class, "json:dumps", "'json:dumps' is no searcher: it is no class"),
        (searcher_class, "torn:X", "importing torn failed: No module named 'no_such_thing_at_all'"),
        (searcher_class, "wrong:X", "importing wrong failed: SyntaxError"),
        (env_class, "automl_ext/Pruning-v1", "env.id: unknown environment 'automl_ext/Pruning-v1'; did you mean"),
        (env_class, "OWN:OWN/Stps-v0", "env.id: unknown environment 'OWN/Stps-v0'; did you mean 'OWN/Steps-v0'?"),
        (env_class, "nowhere:X-v0", "env.id: no module nowhere"),
        (env_class, "CartPole-v1", "'CartPole-v1' is no target"),
        (resolve, "json.nothing:x", "no module json.nothing"),
        (resolve, "1x:y", "'1x:y' names no module"),
    ],
)  # fmt: skip
def test_unknown_names_say_what_is_legal(own, call, name, words):
    assert words.replace("OWN", own) in refused(call, name.replace("OWN", own))


def test_make_checks_options(own):
    said = refused(make, f"{own}:{own}/Steps-v0", hig=5)
    assert said.endswith("env.hig: unknown key 'hig'; did you mean 'high'? (legal: high)")


def test_gymnasium_makes_ours():
    registry.register()
    registry.register()
    assert gymnasium.spec("automl_ext/Pruning-v0").entry_point == ENVIRONMENTS["automl_ext/Pruning-v0"].path


def test_the_search_path_is_appended(monkeypatch):
    monkeypatch.setattr(sys, "path", ["first"])
    registry.search_path("here")
    registry.search_path("here")
    assert sys.path == ["first", "here"]


# ---------------------------------------------------------------- options


class Options:
    """One parameter of every kind."""

    def __init__(
        self,
        target: object,
        rng: np.random.Generator,
        needed: int,
        *,
        share: Annotated[float, Field(gt=0, le=1)] = 0.5,
        mode: Literal["fast", "slow", 3] = "fast",
        sizes: tuple[int, ...] = (1, 2),
        either: int | str = 1,
        maybe: float | None = None,
        table: dict[str, float] = {},  # noqa: B006
        bare=4,
        anything: Any = None,
        path: Path = Path("x"),
        render_mode: str | None = None,
    ): ...


WHOLE = {
    "needed": 3, "share": 1, "mode": 3, "sizes": [4, 5], "either": "b", "maybe": 2, "table": {"a": 1}, "bare": 7,
    "anything": [1, {"b": None}], "path": "y/z",
}  # fmt: skip


def test_options_become_what_the_annotations_say():
    found = check_options(Options, WHOLE, "searcher")
    expected = {"share": 1.0, "sizes": (4, 5), "maybe": 2.0, "table": {"a": 1.0}, "path": Path("y/z")}
    assert found == {**WHOLE, **expected}
    assert isinstance(found["share"], float) and isinstance(found["maybe"], float)
    assert check_options(Options, {"needed": 1}, "searcher") == {"needed": 1}


def test_resolved_options_are_plain_data_with_defaults():
    found = resolved_options(Options, {"needed": 3, "sizes": [7]}, "searcher")
    assert found["sizes"] == [7] and found["share"] == 0.5 and found["bare"] == 4 and found["path"] == "x"
    assert check_options(Options, found, "searcher") == {**found, "sizes": (7,), "path": Path("x")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "searcher.needed: is needed: a whole number"),
        ({"needed": "3"}, "searcher.needed: must be a whole number, not '3' (text; write the number without quotes)"),
        ({"needed": 1, "share": 0}, "searcher.share: must be a number above 0 and at most 1, not 0"),
        ({"needed": 1, "share": float("nan")}, "searcher.share: must be a finite number, not nan"),
        ({"needed": 1, "mode": "fats"}, "must be one of 'fast', 'slow', 3, not 'fats'; did you mean 'fast'?"),
        ({"needed": 1, "sizes": [1, 2.5]}, "searcher.sizes.1: must be a whole number, not 2.5"),
        ({"needed": 1, "sizes": 5}, "searcher.sizes: must be a list (a whole number each), not 5"),
        ({"needed": 1, "either": [1]}, "searcher.either: must be a whole number or text, not a list of 1"),
        ({"needed": 1, "table": {"a": "b"}}, "searcher.table.a: must be a number, not 'b'"),
        ({"needed": 1, "bare": 1.5}, "searcher.bare: must be a whole number, not 1.5"),
        ({"needed": 1, "target": 1}, "searcher.target: unknown key 'target'"),
        ({"needed": 1, "rng": 1}, "searcher.rng: unknown key 'rng'"),
        ({"needed": 1, "render_mode": "x"}, "searcher.render_mode: unknown key 'render_mode'"),
        ({"needed": 1, "anything": {1: 2}}, "searcher.anything.1: a key is text, not 1"),
    ],
)
def test_wrong_options_are_named(options, words):
    assert words in refused(check_options, Options, options, "searcher")


def test_options_without_names_are_refused():
    class Loose:
        def __init__(self, target, rng, **options): ...

    assert "takes **options; every option needs a name of its own" in refused(check_options, Loose, {}, "searcher")


def test_a_target_may_have_an_option_called_target():
    class Env:
        def __init__(self, target: float = 0.5): ...

    assert check_options(Env, {"target": 1}, "env") == {"target": 1.0}


def test_annotations_that_only_type_checkers_know_are_let_through():
    class Lazy:
        def __init__(self, model: "NotImported" = None, count: "int" = 1): ...  # noqa: F821, UP037

    assert check_options(Lazy, {"model": {"a": 1}, "count": 2}, "env") == {"model": {"a": 1}, "count": 2}
    assert "env.count: must be a whole number" in refused(check_options, Lazy, {"count": "2"}, "env")


def test_no_constructor_no_options():
    class Bare: ...

    assert check_options(Bare, {}, "env") == {}
    assert "unknown key 'x' (legal: none)" in refused(check_options, Bare, {"x": 1}, "env")


@pytest.mark.parametrize("start", ["", "import automl_ext.env; "])
def test_gymnasium_makes_our_environments_by_itself(start, tmp_path):
    file = tmp_path / "cells.csv"
    file.write_text("code,value\n000000,1\n")
    id = "automl_ext/Architecture-v0" if start else "automl_ext.env:automl_ext/Architecture-v0"
    options = {"space": "nasbench201", "estimator": "table", "table": str(file), "metric": "value"}
    code = f"{start}import gymnasium; gymnasium.make({id!r}, **{options!r}).reset(seed=0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
