"""The contract suites on something that a user names: a target's id, or a searcher's class."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from automl_ext import configfile, registry
from automl_ext.construct import blame
from automl_ext.mistakes import ConfigError, shown
from automl_ext.terminal import Complaint


def verify(name: str, sets: Sequence[str] = (), learning: bool = True) -> str:
    """Check what `name` means, built with the options `sets` (`depth=2`). Returns "target" or "searcher".

    learning: whether a searcher has to beat random search. Raises Complaint: code 1 for a broken rule, 2 for a name or
    an option that cannot be.
    """
    options: dict[str, Any] = {}
    for each in sets:
        configfile.put(options, each)
    kind = _kind(name)
    try:
        with _told(name, options):
            (_searcher if kind == "searcher" else _target)(name, options, learning)
    except ConfigError as error:
        raise Complaint(str(error.at(error.key, name))) from error
    return kind


def _kind(name: str) -> str:
    """By the table, else by what the attribute of a module is, else an environment's id."""
    if name in registry.SEARCHERS:
        return "searcher"
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier():
        return "target"
    try:
        found = registry.resolve(name)
    except ConfigError as error:
        raise Complaint(str(error.at("", name))) from error
    if callable(getattr(found, "ask", None)) and callable(getattr(found, "tell", None)):
        return "searcher"
    legal = f"a searcher's class has ask and tell; a target is named by its registered id, {module}:MyTarget-v0"
    raise Complaint(f"{name}: {shown(attribute)} is no searcher ({legal})")


def _searcher(name: str, options: dict[str, Any], learning: bool) -> None:
    from automl_ext.testing import check_searcher

    cls = registry.searcher_class(name, "")
    registry.check_options(cls, options, "")
    learns = learning and name != "random" and not registry.is_finite(name)
    check_searcher(cls, options=options, learns=learns)


def _target(name: str, options: dict[str, Any], learning: bool) -> None:
    from automl_ext.env import SearchEnv
    from automl_ext.testing import check_target

    try:
        env = registry.make(name, **options).unwrapped
    except ConfigError:
        raise
    except Exception as error:
        key, reason = blame(error, "", options)
        raise ConfigError(key.removeprefix("."), reason) from error
    if not isinstance(env, SearchEnv):
        raise Complaint(
            f"{name}: {type(env).__name__} is no SearchEnv; a target is a subclass of automl_ext.SearchEnv", 1
        )
    check_target(env)


@contextlib.contextmanager
def _told(name: str, options: dict[str, Any]) -> Iterator[None]:
    """A broken rule, and whatever the user's own code raises, as one line."""
    try:
        yield
    except (Complaint, ConfigError):
        raise
    except AssertionError as error:
        raise Complaint(f"{name}: {error}", 1) from error
    except Exception as error:
        _, reason = blame(error, "", options)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise Complaint(f"{name}: {reason} ({Path(frame.filename).name}:{frame.lineno})", 1) from error
