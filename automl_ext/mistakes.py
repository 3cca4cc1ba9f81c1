"""Mistakes in what a user wrote, one line each: `file:key: reason`, with what is legal and the nearest legal name."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Place = tuple[int | str, ...]
"""A way into nested data: ("final", 0, "top")."""

_NOUNS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
_LISTS = (list, tuple, set, frozenset, Sequence, Collection, Iterable)


class ConfigError(ValueError):
    """A mistake in a config. `key`: dotted path of the wrong key ("" for the whole); `source`: the file or option."""

    def __init__(self, key: str, reason: str, source: str = "config") -> None:
        self.key, self.reason, self.source = key, reason, source
        where = ":".join(part for part in (source, key) if part)
        super().__init__(one_line(f"{where}: {reason}"))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str, str]]:
        return ConfigError, (self.key, self.reason, self.source)

    def at(self, key: str, source: str) -> ConfigError:
        """The same mistake with its place named."""
        return ConfigError(key, self.reason, source)


def one_line(text: str, limit: int = 600) -> str:
    """`text` without line breaks and unprintable characters, at most `limit` characters."""
    line = "".join(letter if letter.isprintable() else " " for letter in re.sub(r"\s+", " ", text)).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown(value: object, limit: int = 60) -> str:
    """A value as a message quotes it: null, true and false as YAML has them, text in quotes, cut at `limit`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        kind = "a mapping" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}"
    return one_line(repr(value[:limit] if isinstance(value, str) else value), limit)


def nearest(name: object, legal: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The legal name that `name` most likely means, whatever its case; None where none is as near as `cutoff`."""
    names = {known.lower().replace("-", "_"): known for known in legal}
    match = get_close_matches(str(name)[:100].lower().replace("-", "_"), names, n=1, cutoff=cutoff)
    return names[match[0]] if match else None


def unknown(what: str, name: object, legal: Collection[str], also: str = "") -> str:
    """Text such as "unknown key 'trails'; did you mean 'trials'? (legal: ...)"; `also`: what else is legal."""
    near = nearest(name, legal)
    guess = f"; did you mean {near!r}?" if near else ""
    listed = ", ".join(sorted(legal)) or "none"
    return f"unknown {what} {shown(name)}{guess} (legal: {listed}{'; ' + also if also else ''})"


def dotted(place: Iterable[int | str]) -> str:
    """("final", 0, "top") as "final.0.top"."""
    return one_line(".".join(str(part) for part in place), 200)


def first_mistake(error: ValidationError, model: type[BaseModel], prefix: str = "") -> ConfigError:
    """What pydantic found, as one line: unknown keys first, because a misspelt key is also missing."""
    faults = error.errors(include_url=False)
    fault = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    place, annotation, metadata = _follow(model, fault["loc"])
    key = dotted((*([prefix] if prefix else []), *place))
    return ConfigError(key, _reason(fault, annotation, metadata, place))


def _reason(fault: Mapping[str, Any], annotation: Any, metadata: Sequence[Any], place: Place) -> str:
    if fault["type"] == "extra_forbidden":
        return unknown("key", place[-1], list(annotation.model_fields))
    if fault["type"] == "missing":
        return f"is needed: {describe(annotation, metadata)}"
    if fault["type"] in ("value_error", "assertion_error"):
        return str(fault["ctx"]["error"])
    value, wanted = fault["input"], describe(annotation, metadata)
    return f"must be {wanted}, not {shown(value)}{_hint(value, annotation)}"


def _hint(value: object, annotation: Any) -> str:
    """What most likely went wrong with the type."""
    options = [option for option in _members(annotation) if isinstance(option, str)]
    if isinstance(value, str) and options:
        near = nearest(value, options)
        return f"; did you mean {near!r}?" if near else ""
    kinds = {_plain(member)[0] for member in _members(annotation)}
    if isinstance(value, str) and kinds & {int, float} and re.fullmatch(r"\s*[-+.\d][\d_.eE+-]*\s*", value):
        return " (text; write the number without quotes)"
    if isinstance(value, int | float) and str in kinds:
        return " (write it in quotes)"
    return ""


def describe(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words, with its legal range: "a whole number from 1 to 10,000, or null"."""
    annotation, inner = _plain(annotation)
    noun, bounds = _facts([*inner, *metadata])
    if noun:
        return noun + bounds
    members = _members(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return ("one of " if len(members) > 1 else "") + ", ".join(shown(member) for member in members)
    if len(members) > 1:
        words = [describe(member) for member in members]
        return (" or ".join(words) if len(words) == 2 else ", ".join(words[:-1]) + " or " + words[-1]) + bounds
    kind = typing.get_origin(annotation) or annotation
    if kind in _NOUNS:
        return _NOUNS[kind] + bounds
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a mapping with the keys " + ", ".join(kind.model_fields)
    if kind in _LISTS:
        items = [item for item in typing.get_args(annotation) if item is not Ellipsis]
        same = len(set(map(str, items))) == 1
        return "a list" + (f" ({describe(items[0])} each)" if same else "") + bounds
    if kind in (dict, Mapping):
        return "a mapping of keys" + bounds
    return str(getattr(kind, "__name__", kind)) + bounds


def _facts(metadata: Iterable[Any]) -> tuple[str, str]:
    """(noun, range in words) that annotations give."""
    noun, found = "", dict[str, Any]()
    for fact in metadata:
        if isinstance(fact, FieldInfo):
            inner_noun, _ = _facts(fact.metadata)
            noun = fact.description or inner_noun or noun
            found |= {name: value for part in fact.metadata for name, value in _bounds(part).items()}
        found |= _bounds(fact)
    low = f"from {_number(found['ge'])}" if "ge" in found else f"above {_number(found['gt'])}" if "gt" in found else ""
    high = f"to {_number(found['le'])}" if "le" in found else f"below {_number(found['lt'])}" if "lt" in found else ""
    if high.startswith("to") and not low.startswith("from"):
        high = "at most" + high.removeprefix("to")
    if low.startswith("from") and not high.startswith("to"):
        low = "at least" + low.removeprefix("from")
    glue = " " if low.startswith("from") and high.startswith("to") else " and "
    return noun, (" " if low or high else "") + glue.join(part for part in (low, high) if part)


def _bounds(fact: Any) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt")
    return {name: getattr(fact, name) for name in names if getattr(fact, name, None) is not None}


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _plain(annotation: Any) -> tuple[Any, list[Any]]:
    """Without Annotated and "or null": (type, metadata)."""
    metadata: list[Any] = []
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *facts = typing.get_args(annotation)
            metadata = [*facts, *metadata]
        elif _is_union(annotation) and len(members := _without_null(annotation)) == 1:
            annotation = members[0]
        else:
            return annotation, metadata


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _without_null(annotation: Any) -> list[Any]:
    return [member for member in typing.get_args(annotation) if member is not type(None)]


def _members(annotation: Any) -> list[Any]:
    """Members of a union, options of a Literal, else the type itself."""
    annotation = _plain(annotation)[0]
    if _is_union(annotation):
        return _without_null(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [annotation]


def _follow(annotation: Any, loc: Place) -> tuple[Place, Any, Sequence[Any]]:
    """The place that pydantic's `loc` names, with the type there. Labels of union members are no part of a place."""
    place: list[int | str] = []
    metadata: Sequence[Any] = ()
    for part in loc:
        kind, _ = _plain(annotation)
        origin = typing.get_origin(kind) or kind
        arguments = [argument for argument in typing.get_args(kind) if argument is not Ellipsis]
        if isinstance(origin, type) and issubclass(origin, BaseModel):
            place.append(part)
            if part not in origin.model_fields:
                return tuple(place), origin, ()
            field = origin.model_fields[str(part)]
            annotation, metadata = field.annotation, [*field.metadata, field]
        elif isinstance(part, int) and origin in _LISTS:
            place.append(part)
            annotation, metadata = (arguments[part] if part < len(arguments) else (arguments or [Any])[-1]), ()
        elif origin in (dict, Mapping) and part != "[key]":
            place.append(part)
            annotation, metadata = (arguments or [Any])[-1], ()
        else:
            break
    return tuple(place), annotation, metadata
