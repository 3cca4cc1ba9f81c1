"""Options of targets and searchers, checked against the constructor's signature before anything is built.

The annotations say what is legal: `Literal["a", "b"]` lists values, `Annotated[float, Field(gt=0, le=1)]` a range.
Options are plain data and are read as strict JSON: no text for numbers, no bool for an integer, a list for a tuple.
"""

from __future__ import annotations

import inspect
import json
import sys
import typing
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, ValidationError, create_model

from automl_ext.configfile import plain
from automl_ext.mistakes import ConfigError, first_mistake

_NOT_OPTIONS = {"self", "render_mode"}
_SEARCHER_FIRST = {"target", "rng"}


def check_options(
    cls: Callable[..., Any], options: Mapping[str, Any], where: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """The options as `cls` takes them, with nothing added: a list as a tuple where the annotation says so.

    `where`: what stands before the option in messages ("env", "searcher"). `given`: parameters that need no value here.
    Raises ConfigError naming the first wrong option, the legal values and the nearest legal name.
    """
    checked = _validated(cls, options, where, given)
    return {name: getattr(checked, name) for name in options}


def resolved_options(
    cls: Callable[..., Any], options: Mapping[str, Any], where: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """All options as plain data, defaults included where they are plain data; else as `check_options`."""
    checked = _validated(cls, options, where, given)
    found = {}
    for name in type(checked).model_fields:
        if name in given and name not in options:
            continue
        try:
            found[name] = plain(checked.model_dump(mode="json", include={name}, warnings=False)[name])
        except (ConfigError, ValueError):
            if name in options:
                found[name] = plain(options[name])
    return found


def option_model(cls: Callable[..., Any], where: str, given: Collection[str] = ()) -> type[BaseModel]:
    """A strict pydantic model of the options that `cls` takes. ConfigError where its signature cannot tell them."""
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        raise ConfigError(where, f"{_name(cls)} has no signature that says its options") from None
    skipped = _NOT_OPTIONS | (_SEARCHER_FIRST if set(parameters) >= _SEARCHER_FIRST else set())
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in skipped or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            reason = f"{_name(cls)} takes {parameter}; every option needs a name of its own to be checked"
            raise ConfigError(where, reason)
        default = parameter.default
        if default is parameter.empty:
            default = None if name in given else ...
        fields[name] = (_annotation(cls, parameter), default)
    config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )
    return create_model("Options", __config__=config, **fields)


def _validated(cls: Callable[..., Any], options: Mapping[str, Any], where: str, given: Collection[str]) -> BaseModel:
    try:
        model = option_model(cls, where, given)
    except (PydanticSchemaGenerationError, NameError, TypeError) as error:
        reason = f"{_name(cls)} has annotations that cannot be checked: {str(error).partition(chr(10))[0]}"
        raise ConfigError(where, reason) from None
    text = json.dumps(plain(dict(options), (where,)), allow_nan=False)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise first_mistake(error, model, where) from None


def _annotation(cls: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The parameter's type; without an annotation that of its default, so far as that says anything."""
    written = parameter.annotation
    if written is parameter.empty:
        kind = type(parameter.default)
        return kind if kind in (bool, int, float, str) else Any
    call = inspect.getattr_static(cls, "__init__") if isinstance(cls, type) else cls
    module = sys.modules.get(getattr(call, "__module__", "") or "")
    names = {**vars(typing), **(vars(module) if module else {})}
    try:
        hints = typing.get_type_hints(SimpleNamespace(__annotations__={"it": written}), names, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return Any
    return hints["it"]


def _name(cls: Callable[..., Any]) -> str:
    return str(getattr(cls, "__qualname__", cls))
