"""Config: what a run is, in one strict, frozen value. Every mistake is one line, `file:key: reason`.

    env: {id: automl_ext/Pruning-v0, macs_kept: 0.5}      options stand beside the id
    searcher: {name: ddpg, warmup: 25}                    and beside the name
    reward: {name: mnasnet-soft, cost: latency_ms, target: 5}   several objectives as one; limits: {latency_ms: 9}
    trials: 100                                           or wall_time: 10m, or target: 0.95

Names and options are checked against tables and constructors; nothing is built here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from automl_ext import configfile, registry
from automl_ext.mistakes import ConfigError, first_mistake, nearest, one_line, shown, unknown
from automl_ext.rewards.named import check_reward_name, reward_class
from automl_ext.rules import stopping_class

__all__ = [
    "Component", "Config", "ConfigError", "EnvComponent", "ExecutorSettings", "FinalStage", "Paper", "changed",
    "checked", "load",
]  # fmt: skip

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _seconds(value: Any) -> Any:
    """Text such as "90s", "10m", "1.5h" in seconds; whatever else is left to the type's own check."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2]] if match else value


def _ordered(bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = bounds
    if low is None and high is None:
        raise ValueError("at least one of the two bounds must be a number")
    if low is not None and high is not None and low > high:
        raise ValueError(f"the lower bound {low:g} lies above the upper bound {high:g}")
    return bounds


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=1e8, description="seconds, or text such as 90s, 10m or 2h,"),
]
Name = Annotated[str, Field(min_length=1, max_length=100, description="text of 1 to 100 letters")]
Path_ = Annotated[str, Field(min_length=1, max_length=200, description="text of 1 to 200 letters")]
Bounds = Annotated[
    tuple[float | None, float | None],
    Field(description="a list [low, high], null where a side is open"),
    AfterValidator(_ordered),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class EnvComponent(_Part):
    """The environment and its options."""

    id: Path_
    options: dict[str, Any] = {}


class Component(_Part):
    """A searcher, a reward or a stopping rule, and its options."""

    name: Path_
    options: dict[str, Any] = {}


class FinalStage(_Part):
    """A final stage: the best `top` candidates of the search and of each baseline, and all references.

    Each is evaluated `seeds` times at `budget`.
    """

    top: Annotated[int, Field(ge=1, le=10_000)]
    budget: Annotated[float, Field(gt=0, le=1e12)] | None = None
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1


class ExecutorSettings(_Part):
    """Where evaluations run. workers: default the number of cores, 0 means serial. grace: seconds after Ctrl-C."""

    name: Literal["serial", "process", "dask"] = "process"
    workers: Annotated[int, Field(ge=0, le=4096)] | None = None
    memory_mb: Annotated[int, Field(ge=64, le=100_000_000)] | None = None
    address: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    grace: Annotated[float, Field(ge=0, le=86_400)] = 30.0


class Paper(_Part):
    """What a config follows, and where it differs."""

    title: str
    authors: str = ""
    year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    arxiv: str | None = None
    deviations: tuple[str, ...] = ()


class Config(_Part):
    """See the fields' comments; `Config.from_dict` takes env and searcher as text, too.

    target: stop when the primary objective (the reward, if there is one) reaches it. timeout: seconds an evaluation.
    expect: bounds of final metrics. reward: one number out of the target's objectives. limits: objective -> hard bound.
    """

    name: Name
    env: EnvComponent
    searcher: Component
    reward: Component | None = None
    limits: dict[str, float] = {}
    stopping: Component | None = None
    trials: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    wall_time: Duration | None = None
    target: float | None = None
    parallel: Annotated[int, Field(ge=1, le=10_000)] = 8
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    seeds: Literal["common", "per-trial"] = "per-trial"
    cache: bool = True
    timeout: Duration | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    max_failures: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    baselines: tuple[Component, ...] = ()
    final: tuple[FinalStage, ...] = (FinalStage(top=1),)
    executor: ExecutorSettings = ExecutorSettings()
    paper: Paper | None = None
    expect: dict[str, Bounds] = {}

    _source: str = PrivateAttr("config")
    _overridden: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], source: str = "config", overridden: Sequence[str] = ()) -> Self:
        """The config of plain data. `source` is named in messages; `--set` is, for the keys in `overridden`.

        Raises ConfigError for the first mistake. The options of env and searchers are checked by `checked`.
        """
        try:
            config = cls._parse(fields)
        except ConfigError as error:
            raise error.at(error.key, _source_of(error.key, source, overridden)) from None
        config._source, config._overridden = source, tuple(overridden)
        return config

    @classmethod
    def _parse(cls, fields: Mapping[str, Any]) -> Self:
        data = _spread(configfile.plain(dict(fields)))
        try:
            config = cls.model_validate_json(json.dumps(data, allow_nan=False))
        except ValidationError as error:
            raise first_mistake(error, cls) from None
        _check_names(config)
        return config

    def mistake(self, error: ConfigError) -> ConfigError:
        """A mistake found later, with this config's file (or `--set`) as its source."""
        return error.at(error.key, _source_of(error.key, self._source, self._overridden))

    def to_dict(self) -> dict[str, Any]:
        """As plain data in the form of a config file, without what is null or empty."""
        data: dict[str, Any] = self.model_dump(mode="json")
        data["env"] = _flat(data["env"])
        data["searcher"] = _flat(data["searcher"])
        for key in ("reward", "stopping"):
            data[key] = _flat(data[key]) if data[key] else None
        data["baselines"] = [_flat(baseline) for baseline in data["baselines"]]
        data["executor"] = {key: value for key, value in data["executor"].items() if value is not None}
        data["final"] = [{key: value for key, value in stage.items() if value is not None} for stage in data["final"]]
        if data["paper"]:
            data["paper"] = {key: value for key, value in data["paper"].items() if value not in (None, "", [])}
        return {key: value for key, value in data.items() if value not in (None, {})}

    def to_yaml(self) -> str:
        """`to_dict` as a config file that `load` reads back equal."""
        return configfile.write(self.to_dict())


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file, with overrides such as `searcher.population=20`. Raises ConfigError."""
    path = Path(path)
    fields = configfile.read(path)
    overridden = [configfile.put(fields, override) for override in overrides]
    fields.setdefault("name", path.stem)
    return Config.from_dict(fields, str(path), overridden)


def checked(config: Config) -> Config:
    """The config with all options checked against the constructors, and defaults filled in. Raises ConfigError.

    Imports the classes of env and searchers, builds nothing.
    """
    from automl_ext.options import resolved_options

    try:
        _check_total(config)
        spec = registry.env_spec(config.env.id)
        env = registry.env_class(config.env.id)
        options = resolved_options(env, config.env.options, "env", spec.kwargs)
        searcher = _resolved(config.searcher, "searcher")
        reward = config.reward and _resolved(config.reward, "reward", reward_class)
        stopping = config.stopping and _resolved(config.stopping, "stopping", stopping_class)
        baselines = tuple(_resolved(each, f"baselines.{index}") for index, each in enumerate(config.baselines))
    except ConfigError as error:
        raise config.mistake(error) from error.__cause__
    update = {
        "env": config.env.model_copy(update={"options": options}),
        "searcher": searcher,
        "reward": reward,
        "stopping": stopping,
        "baselines": baselines,
    }
    return config.model_copy(update=update)


def changed(old: Config, new: Config) -> list[str]:
    """Keys that differ and that a resumed run may not change: all but totals, executor, max_failures, expect, paper."""
    before, after = old.to_dict(), new.to_dict()
    if any(before.get(key) != after.get(key) for key in ("env", "searcher", "reward", "stopping", "baselines")):
        before, after = checked(old).to_dict(), checked(new).to_dict()
    keys = []
    for key in Config.model_fields:
        left, right = before.get(key), after.get(key)
        if key in _MAY_CHANGE or left == right:
            continue
        if key in ("env", "searcher", "reward", "stopping") and isinstance(left, dict) and isinstance(right, dict):
            names = dict.fromkeys([*left, *right])
            keys += [f"{key}.{name}" for name in names if left.get(name) != right.get(name)]
        else:
            keys.append(key)
    return keys


_MAY_CHANGE = {"trials", "wall_time", "target", "executor", "max_failures", "expect", "paper"}


def _resolved(
    component: Component, where: str, find: Callable[[str, str], Callable[..., Any]] = registry.searcher_class
) -> Component:
    from automl_ext.options import resolved_options

    cls = find(component.name, f"{where}.name")
    return component.model_copy(update={"options": resolved_options(cls, component.options, where)})


def _source_of(key: str, source: str, overridden: Sequence[str]) -> str:
    """`--set` where the key, or something inside or around it, was set on the command line."""
    touched = any(f"{key}.".startswith(f"{each}.") or f"{each}.".startswith(f"{key}.") for each in overridden)
    return "--set" if key and touched else source


def _spread(data: dict[str, Any]) -> dict[str, Any]:
    """Names alone as mappings, options out of their place beside id and name. ConfigError for what is neither."""
    data = dict(data)
    if "env" in data:
        data["env"] = _component(data["env"], "id", "env")
    if "searcher" in data:
        data["searcher"] = _component(data["searcher"], "name", "searcher")
    for key in ("reward", "stopping"):
        if data.get(key) is not None:
            data[key] = _component(data[key], "name", key)
    if isinstance(data.get("baselines"), list):
        named = enumerate(data["baselines"])
        data["baselines"] = [_component(each, "name", f"baselines.{index}") for index, each in named]
    if isinstance(data.get("executor"), str):
        data["executor"] = {"name": data["executor"]}
    data.setdefault("name", _default_name(data))
    return data


def _component(value: Any, head: str, where: str) -> Any:
    if isinstance(value, str):
        return {head: value}
    if not isinstance(value, dict):
        raise ConfigError(where, f"must be a mapping with {head} and options, or text, the {head}; not {shown(value)}")
    options = {name: option for name, option in value.items() if name != head}
    if head in value:
        return {head: value[head], "options": options}
    guess = next((name for name in options if nearest(name, [head], cutoff=0.75)), None)
    if guess is not None:
        raise ConfigError(f"{where}.{guess}", unknown("key", guess, [head], "options of what it names"))
    raise ConfigError(f"{where}.{head}", f"is needed; {where} has only {', '.join(options) or 'nothing'}")


def _default_name(data: Mapping[str, Any]) -> str:
    """`Valley-random` for env `my_module:mine/Valley-v0` and searcher `random`."""
    env, searcher = data.get("env"), data.get("searcher")
    parts = [part.get(head) for part, head in ((env, "id"), (searcher, "name")) if isinstance(part, dict)]
    tails = [re.split("[:/]", part)[-1] for part in parts if isinstance(part, str)]
    return "-".join(re.sub(r"-v\d+$", "", tail) for tail in tails)[:100] or "run"


def _flat(component: Mapping[str, Any]) -> dict[str, Any]:
    options = component["options"]
    return {**{key: value for key, value in component.items() if key != "options"}, **options}


def _check_names(config: Config) -> None:
    """Registered names, as far as they can be told without importing; names of baselines; a total."""
    if config.env.id.startswith("automl_ext/") and config.env.id not in registry.ENVIRONMENTS:
        registry.env_spec(config.env.id)
    named = [("searcher", config.searcher), *((f"baselines.{i}", each) for i, each in enumerate(config.baselines))]
    for where, component in named:
        registry.check_searcher_name(component.name, f"{where}.name")
    if config.reward is not None:
        check_reward_name(config.reward.name)
    folders = [re.sub(r"[^A-Za-z0-9._-]+", "-", each.name) for each in config.baselines]
    for index, folder in enumerate(folders):
        if folder in folders[:index]:
            raise ConfigError(f"baselines.{index}", f"{one_line(config.baselines[index].name)} stands twice")
    if config.searcher.name in registry.SEARCHERS:
        _check_total(config)


def _check_total(config: Config) -> None:
    name, totals = config.searcher.name, (config.trials, config.wall_time, config.target)
    if totals == (None, None, None) and not registry.is_finite(name):
        raise ConfigError("trials", f"is needed (or wall_time, or target): {one_line(name)} does not end by itself")
