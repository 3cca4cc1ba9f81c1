"""Configs: reading, strictness, the one-line words of mistakes, overrides, what a resumed run may change."""

from __future__ import annotations

import copy
import json
import math
import string

import gymnasium
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from automl_ext import Objective, Real, SearchEnv, Space, configfile
from automl_ext.config import Config, ConfigError, changed, checked, load


class Bowl(SearchEnv):
    """An own target with one option of every kind."""

    def __init__(self, depth: float = 1.0, layers: int = 2, shape: tuple[int, int] = (1, 2), flat: bool = False):
        self.space = Space(Real("x", -1.0, 1.0))
        self.objectives = (Objective("loss", "min"),)

    def evaluate(self, job, report):
        return {"loss": job.candidate["x"] ** 2}


gymnasium.register("config/Bowl-v0", entry_point=Bowl)

MINIMAL = {"env": "config/Bowl-v0", "searcher": "random", "trials": 5}
RICH = """
env: {id: config/Bowl-v0, depth: 1e-3}
searcher: {name: regularized-evolution, population: 7}
wall_time: 1.5h
target: -1e-4
timeout: 90s
parallel: 3
baselines: [random, {name: local, bins: 4}]
final: [{top: 4}, {top: 1, budget: 2, seeds: 3}]
executor: serial
paper: {title: A paper, arxiv: "1802.03494", deviations: [smaller]}
expect: {accuracy: [0.9, null]}
"""


def written(folder, text, name="a.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def mistake(fields):
    with pytest.raises(ConfigError) as caught:
        checked(Config.from_dict(fields))
    return str(caught.value)


def test_defaults_and_names_alone():
    config = Config.from_dict(MINIMAL)
    assert (config.name, config.env.id, config.searcher.name) == ("Bowl-random", "config/Bowl-v0", "random")
    assert (config.parallel, config.seed, config.seeds, config.cache, config.retries) == (8, 0, "per-trial", True, 2)
    assert [stage.top for stage in config.final] == [1]
    assert config.executor.name == "process"


def test_a_rich_file(tmp_path):
    config = load(written(tmp_path, RICH, "rich.yaml"))
    assert config.name == "rich"
    assert config.env.options == {"depth": 0.001}
    assert (config.trials, config.wall_time, config.timeout, config.target) == (None, 5400.0, 90.0, -1e-4)
    assert [(each.name, each.options) for each in config.baselines] == [("random", {}), ("local", {"bins": 4})]
    assert [(stage.top, stage.budget, stage.seeds) for stage in config.final] == [(4, None, 1), (1, 2.0, 3)]
    assert config.executor.name == "serial"
    assert config.expect == {"accuracy": (0.9, None)}


def test_resolved_configs_read_back_equal(tmp_path):
    config = checked(load(written(tmp_path, RICH)))
    assert config.env.options == {"depth": 0.001, "layers": 2, "shape": [1, 2], "flat": False}
    again = load(written(tmp_path, config.to_yaml(), "b.yaml"))
    assert again.to_dict() == config.to_dict() == checked(again).to_dict()
    assert Config.from_dict(config.to_dict()) == config.from_dict(again.to_dict())
    assert yaml.safe_load(config.to_yaml())["env"]["depth"] == 0.001


def test_a_mistake_survives_the_way_between_processes():
    error = copy.copy(ConfigError("a.b", "is wrong", "x.yaml"))
    assert str(error) == "x.yaml:a.b: is wrong" and error.key == "a.b"


def test_configs_do_not_change():
    config = Config.from_dict(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.trials = 7
    assert config.model_copy(update={"trials": 7}).trials == 7


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"trails": 3}, "config:trails: unknown key 'trails'; did you mean 'trials'? (legal: baselines, cache, env,"),
        ({"trials": -1}, "config:trials: must be a whole number from 0 to 100,000,000, not -1"),
        ({"trials": "1e3"}, "config:trials: must be a whole number from 0 to 100,000,000, not '1e3' (text; write"),
        ({"trials": True}, "not true"),
        ({"target": "0.9"}, "config:target: must be a number, not '0.9' (text; write the number without quotes)"),
        ({"wall_time": "soon"}, "must be seconds, or text such as 90s, 10m or 2h, above 0 and at most 1e+08"),
        ({"seeds": "comon"}, "config:seeds: must be one of 'common', 'per-trial', not 'comon'; did you mean 'common'?"),
        ({"paper": {"title": "x", "arxiv": 1802.1}}, "paper.arxiv: must be text, not 1802.1 (write it in quotes)"),
        ({"final": [{"top": 1}, {"tops": 1}]}, "config:final.1.tops: unknown key 'tops'; did you mean 'top'?"),
        ({"final": [{}]}, "config:final.0.top: is needed: a whole number from 1 to 10,000"),
        ({"baselines": ["random", "random"]}, "config:baselines.1: random stands twice"),
        ({"searcher": {"nam": "random"}}, "config:searcher.nam: unknown key 'nam'; did you mean 'name'?"),
        ({"searcher": "rndom"}, "config:searcher.name: unknown searcher 'rndom'; did you mean 'random'? (legal: asha"),
        ({"stopping": "medain"}, "config:stopping.name: unknown stopping rule 'medain'; did you mean 'median'?"),
        ({"stopping": {"nam": "median"}}, "config:stopping.nam: unknown key 'nam'; did you mean 'name'?"),
        ({"stopping": {"name": "median", "warm": 1}}, "config:stopping.warm: unknown key 'warm'; did you mean"),
        ({"stopping": {"name": "extrapolation", "delta": 2}}, "config:stopping.delta: must be a number above 0 and"),
        ({"stopping": "config.nowhere:Rule"}, "config:stopping.name: no module config"),
        ({"stopping": "json:loads"}, "config:stopping.name: 'json:loads' is no stopping rule: it is no class"),
        ({"stopping": "json:JSONDecoder"}, "is no stopping rule: it has no stopping and no tell and no stop"),
        ({"env": "automl_ext/Prune-v0"}, "did you mean 'automl_ext/Pruning-v0'?"),
        ({"env": "nowhere/X-v0"}, "env.id: unknown environment 'nowhere/X-v0' (legal: automl_ext/Architecture-v0,"),
        ({"env": "CartPole-v1"}, "config:env.id: 'CartPole-v1' is no target: CartPoleEnv is no subclass"),
        ({"env": {"id": "config/Bowl-v0", "dept": 1}}, "config:env.dept: unknown key 'dept'; did you mean 'depth'?"),
        ({"env": {"id": "config/Bowl-v0", "layers": 2.0}}, "config:env.layers: must be a whole number, not 2.0"),
        ({"env": {"id": "config/Bowl-v0", "layers": True}}, "config:env.layers: must be a whole number, not true"),
        ({"env": {"id": "config/Bowl-v0", "flat": 1}}, "config:env.flat: must be true or false, not 1"),
        ({"env": {"id": "config/Bowl-v0", "shape": [1, "b"]}}, "config:env.shape.1: must be a whole number, not 'b'"),
        ({"baselines": [{"name": "local", "bin": 3}]}, "baselines.0.bin: unknown key 'bin'; did you mean 'bins'?"),
        ({"env": {"id": "config/Bowl-v0", "depth": object()}}, "config:env.depth: must be plain data"),
        ({"trials": None}, "config:trials: is needed (or wall_time, or target): random does not end by itself"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_what_is_legal(fields, words):
    said = mistake({**MINIMAL, **fields})
    assert words in said and "\n" not in said


def test_an_integer_serves_as_a_float_and_nothing_else_is_converted():
    config = checked(Config.from_dict({**MINIMAL, "env": {"id": "config/Bowl-v0", "depth": 3}}))
    assert config.env.options["depth"] == 3.0 and isinstance(config.env.options["depth"], float)


def test_a_grid_needs_no_total():
    del (fields := dict(MINIMAL))["trials"]
    assert Config.from_dict({**fields, "searcher": "grid"}).trials is None
    assert mistake(fields).startswith("config:trials:")


def test_several_mistakes_name_the_unknown_key_first():
    said = mistake({"enviroment": "config/Bowl-v0", "searcher": "random", "trials": 5})
    assert "config:enviroment: unknown key 'enviroment'" in said


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("+2.", 2.0), ("010", 10), ("no", "no"), ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"), ("true", True), ("~", None), ("", None), ("'1e-3'", "1e-3"), ("1_000", "1_000"),
        ("[1, 2.0, x]", [1, 2.0, "x"]), ("{a: {b: null}}", {"a": {"b": None}}), ("<<", "<<"), ("=", "="),
        ("-.inf", -math.inf), ("!!str 5", "5"), ("1802.03494", 1802.03494),
    ],
)  # fmt: skip
def test_values_are_those_of_yaml_1_2(text, value):
    parsed = configfile.parse(text, "x")
    assert parsed == value and type(parsed) is type(value)


WORDS = st.text(st.characters(codec="utf-8")) | st.text(string.digits + "-+.eE_:", max_size=6)
LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
BRANCH = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(WORDS, LEAF, max_size=3)
PLAIN = BRANCH | st.lists(BRANCH, max_size=3) | st.dictionaries(WORDS, BRANCH, max_size=3)


@given(PLAIN)
def test_plain_data_survives_a_file(value):
    text = configfile.write({"key": value})
    assert json.dumps(configfile.parse(text, "x")) == json.dumps({"key": value})


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        said = configfile.read(path)
    except ConfigError as error:
        said = str(error)
    assert isinstance(said, dict) or (said.startswith(f"{path}:") and "\n" not in said)


def test_a_file_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbftrials: 3\n")
    assert configfile.read(path) == {"trials": 3}


def test_a_missing_file_names_its_neighbour(tmp_path):
    written(tmp_path, "trials: 1", "quickstart.yaml")
    with pytest.raises(ConfigError, match=r"quikstart.yaml: no such file; did you mean .*/quickstart.yaml\?$"):
        load(tmp_path / "quikstart.yaml")


# ---------------------------------------------------------------- overrides


def test_overrides_reach_every_place(tmp_path):
    path = written(tmp_path, RICH)
    sets = ["env.depth=2e-3", "searcher.population=9", "final.1.budget=7", "baselines.0.name=grid", "paper.year=2018"]
    config = load(path, [*sets, "expect.loss=[null, 1]", "executor.workers=3", "name=other"])
    assert config.env.options["depth"] == 0.002
    assert config.searcher.options == {"population": 9}
    assert config.final[1].budget == 7.0
    assert config.baselines[0].name == "grid"
    assert config.paper.year == 2018
    assert config.expect["loss"] == (None, 1.0)
    assert (config.executor.name, config.executor.workers) == ("serial", 3)
    assert config.name == "other"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trails=3", "--set:trails: unknown key 'trails'; did you mean 'trials'?"),
        ("parallel=x", "--set:parallel: must be a whole number from 1 to 10,000, not 'x'"),
        ("env.dept=3", "--set:env.dept: unknown key 'dept'; did you mean 'depth'?"),
        ("env.layers=[", "--set:env.layers: "),
        ("final.7.top=1", "--set:final.7: '7' is no place in a list of 2 (legal: 0 to 1)"),
        ("parallel.x=1", "--set:parallel: is 3: nothing can be set inside it"),
        ("trials", "--set: must be key=value, such as env.macs_kept=0.3, not 'trials'"),
        ("=3", "--set: must be key=value"),
    ],
)
def test_mistaken_overrides(tmp_path, override, words):
    path = written(tmp_path, RICH)
    with pytest.raises(ConfigError) as caught:
        checked(load(path, [override]))
    assert str(caught.value).startswith(words)


def test_mistakes_in_the_file_keep_its_name(tmp_path):
    path = written(tmp_path, RICH.replace("parallel: 3", "parallel: 0"))
    with pytest.raises(ConfigError) as caught:
        load(path, ["env.depth=3", "seed=2"])
    assert str(caught.value).startswith(f"{path}:parallel: ")


# ---------------------------------------------------------------- resume


def test_what_a_resumed_run_may_change():
    old = checked(Config.from_dict(MINIMAL))
    for free in ({"trials": 9}, {"wall_time": "1h"}, {"target": 0.1}, {"executor": "serial"}, {"max_failures": 99}):
        assert changed(old, Config.from_dict({**MINIMAL, **free})) == []
    new = Config.from_dict(
        {"env": {"id": "config/Bowl-v0", "depth": 2}, "searcher": "local", "trials": 5, "seed": 1, "timeout": 5}
    )
    assert changed(old, new) == ["name", "env.depth", "searcher.name", "searcher.bins", "seed", "timeout"]


def test_a_resumed_run_may_not_change_how_it_stops():
    old = Config.from_dict({**MINIMAL, "stopping": "median"})
    assert changed(old, Config.from_dict({**MINIMAL, "stopping": {"name": "median", "warmup": 3}})) == [
        "stopping.warmup"
    ]
    assert changed(old, Config.from_dict({**MINIMAL, "stopping": {"name": "median", "warmup": 1}})) == []
    assert changed(old, Config.from_dict(MINIMAL)) == ["stopping"] == changed(Config.from_dict(MINIMAL), old)


def test_a_stopping_rule_is_set_by_an_override_and_reads_back_equal(tmp_path):
    config = checked(load(written(tmp_path, RICH), ["stopping=median", "stopping.warmup=3"]))
    assert config.to_dict()["stopping"] == {"name": "median", "startup": 5, "warmup": 3, "quantile": 0.5}
    assert load(written(tmp_path, config.to_yaml(), "b.yaml")).stopping == config.stopping
    assert checked(Config.from_dict({**MINIMAL, "stopping": None})).stopping is None


def test_defaults_written_out_are_no_change():
    plain = Config.from_dict(MINIMAL)
    assert changed(plain, checked(plain)) == [] and changed(checked(plain), plain) == []
