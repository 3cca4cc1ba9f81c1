"""From a config to the objects of a run: whatever a constructor refuses is named by key, and nothing is written."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from automl_ext.config import Component, Config, checked
from automl_ext.mistakes import ConfigError, one_line

if TYPE_CHECKING:
    from automl_ext.env import SearchEnv
    from automl_ext.searcher import Searcher

Made = TypeVar("Made")


def construct(config: Config) -> tuple[Config, SearchEnv, Searcher]:
    """(config with its options filled in, environment, searcher). Baselines are built, too, and dropped.

    Raises ConfigError for names and options, and for what a constructor raises, with the option that it speaks of.
    """
    from automl_ext.driver import build_env, build_searcher, build_stopping
    from automl_ext.goals import build_goals

    whole = checked(config)
    env = _built(lambda: build_env(whole), "env", config.env.options, config)
    goals = _built(lambda: build_goals(whole, env.objectives), "reward", {}, config)
    target, seed = goals.seen(env.target), whole.seed

    def searcher_of(component: Component, where: str, written: Mapping[str, Any]) -> Searcher:
        return _built(lambda: build_searcher(component, target, seed), where, written, config)

    searcher = searcher_of(whole.searcher, "searcher", config.searcher.options)
    for index, baseline in enumerate(whole.baselines):
        searcher_of(baseline, f"baselines.{index}", config.baselines[index].options)
    written = config.stopping.options if config.stopping else {}
    _built(lambda: build_stopping(whole, goals, env.target), "stopping", written, config)
    return whole, env, searcher


def _built(build: Callable[[], Made], where: str, written: Mapping[str, Any], config: Config) -> Made:
    try:
        return build()
    except ConfigError as error:
        raise config.mistake(error) from error.__cause__
    except Exception as error:
        key, reason = blame(error, where, written)
        raise config.mistake(ConfigError(key, reason)) from error


def blame(error: Exception, where: str, written: Mapping[str, Any]) -> tuple[str, str]:
    """(key, reason) of what a constructor raised. `written`: the options that the config gives.

    The key is the one in front of the message ("searcher.bins: ..."), else the written option that begins it, else the
    one whose text it quotes, else one that it names, else `where`.
    """
    message = one_line(str(error)) or "no reason given"
    head, colon, rest = message.partition(": ")
    kind = where.partition(".")[0].removesuffix("s")
    if colon and re.fullmatch(rf"(env|searcher|stopping|{kind})(\.\w+)*", head):
        _, _, option = head.partition(".")
        return (f"{where}.{option}" if option else where), rest
    if not isinstance(error, ValueError):
        message = f"{type(error).__name__}: {message}{_origin(error)}"
    words = re.findall(r"\w+", message.partition("did you mean")[0])
    first = [name for name in words[:1] if name in written]
    quoted = [name for name, value in written.items() if isinstance(value, str) and _quotes(message, value)]
    named = [name for name in words if name in written]
    found = (first or quoted or named or [""])[0]
    return (f"{where}.{found}" if found else where), message


def _quotes(message: str, value: str) -> bool:
    """Whether a message speaks of a text, or of what follows its prefix ("npz:PATH")."""
    return any(part and part in message for part in (value, value.partition(":")[2]))


def _origin(error: Exception) -> str:
    """Where in the code it was raised: " (my_module.py:12)"."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
