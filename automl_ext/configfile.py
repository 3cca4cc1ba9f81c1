"""Config files as plain data: YAML 1.2's values, no tags, no aliases, no duplicate keys, limited size and depth.

YAML 1.1 reads `1e-3` as text, `no` as false and `1:30` as 90; here `1e-3` is a number and the other two are text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from automl_ext.mistakes import ConfigError, dotted, nearest, one_line, shown

LARGEST = 1_000_000
"""Bytes of the largest config."""
DEEPEST = 20
"""Levels of the most nested config."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
)


class _Loader(yaml.SafeLoader):
    """Composes nodes of YAML 1.2's core schema; nothing is constructed by tag."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases (&, *) are not used here", problem_mark=mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {DEEPEST} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, _pattern, _first in _PLAIN:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _kind, re.compile(f"^(?:{_pattern})$"), _first)


def read(path: Path) -> dict[str, Any]:
    """The keys of a config file. Raises ConfigError for what is no readable file of a YAML mapping."""
    source = str(path)
    text = _text(path)
    value = parse(text, source)
    if value is None:
        raise ConfigError("", "is empty; a config needs at least env, searcher and trials", source)
    if not isinstance(value, dict):
        raise ConfigError("", f"must be a mapping of keys, such as `trials: 100`, not {shown(value)}", source)
    return value


def parse(text: str, source: str) -> Any:
    """The value that YAML `text` means. Raises ConfigError naming the line."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _value(node)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"character {shown(chr(int(error.character)))} is not allowed in YAML"
        raise ConfigError(str(line), reason, source) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(str(mark.line + 1) if mark else "", _problem(error), source) from None


def write(fields: dict[str, Any]) -> str:
    """Plain data as YAML that `parse` reads back equal."""
    return yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def put(fields: dict[str, Any], override: str) -> str:
    """Set what `a.b=value` says in `fields`, the value read as YAML. Returns the key; ConfigError names it."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError("", f"must be key=value, such as env.macs_kept=0.3, not {shown(override)}", "--set")
    try:
        value = parse(text, "--set")
    except ConfigError as error:
        raise error.at(key, "--set") from None
    *way, last = key.split(".")
    here: Any = fields
    for depth, part in enumerate(way):
        here = _enter(here, part, ".".join(way[: depth + 1]), value)
    if isinstance(here, list):
        here[_index(here, last, key)] = value
    else:
        here[last] = value
    return key


def _enter(here: Any, part: str, key: str, value: Any) -> Any:
    """The mapping or list at `part`, made where there is nothing; a name alone stands for a mapping with that name."""
    if isinstance(here, list):
        index = _index(here, part, key)
        inside = here[index]
    else:
        index = part  # type: ignore[assignment]
        inside = here.get(part)
    if inside is None:
        inside = {}
    if isinstance(inside, str) and (
        part in ("env", "searcher", "reward", "stopping", "executor") or isinstance(here, list)
    ):
        inside = {"id" if part == "env" else "name": inside}
    if not isinstance(inside, dict | list):
        raise ConfigError(key, f"is {shown(inside)}: nothing can be set inside it", "--set")
    here[index] = inside
    return inside


def _index(items: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        legal = f"0 to {len(items) - 1}" if items else "none"
        raise ConfigError(key, f"{shown(part)} is no place in a list of {len(items)} (legal: {legal})", "--set")
    return int(part)


def _text(path: Path) -> str:
    source = str(path)
    try:
        if path.is_dir():
            raise ConfigError("", "is a folder, not a config file", source)
        if not path.exists():
            raise ConfigError("", "no such file" + _neighbour(path), source)
        if not path.is_file():
            raise ConfigError("", "is no regular file", source)
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError("", f"cannot be read: {getattr(error, 'strerror', None) or error}", source) from None
    if len(content) > LARGEST:
        raise ConfigError("", f"is larger than {LARGEST:,} bytes, and no config is", source)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(line), f"is no text: byte {error.start} is not UTF-8", source) from None


def _neighbour(path: Path) -> str:
    """ "; did you mean x.yaml?" where a file of nearly this name is beside it."""
    folder = path.parent
    names = [file.name for file in folder.glob("*.y*ml")] if folder.is_dir() else []
    near = nearest(path.name, names)
    return f"; did you mean {folder / near}?" if near else ""


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(node)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_value(item) for item in node.value]
    kind = node.tag.removeprefix(_TAG)
    if not isinstance(node, yaml.ScalarNode) or kind not in ("null", "bool", "int", "float", "str"):
        raise _marked(node, f"tag {shown(node.tag)} is not used here")
    try:
        return _scalar(kind, node.value)
    except (ValueError, KeyError):
        raise _marked(node, f"{shown(node.value)} is no {kind}") from None


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    text.encode()
    return text


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TAG + "str":
            what = shown(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            raise _marked(key_node, f"a key is text, not {what}")
        key = key_node.value
        if key in lines:
            raise _marked(key_node, f"the key {shown(key)} stands twice (first in line {lines[key]})")
        lines[key] = key_node.start_mark.line + 1
        found[key] = _value(value_node)
    return found


def _marked(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "is no YAML")
    if "'\\t'" in problem:
        return "a tab; YAML indents with spaces"
    if problem.startswith("mapping values are not allowed"):
        return "a second ':' in one value, or wrong indentation; put text with ': ' in quotes"
    return one_line(problem + (f" {error.context}" if error.context and error.problem else ""))


def plain(value: Any, key: Sequence[int | str] = ()) -> Any:
    """A copy of plain data: null, true, false, finite numbers, text, lists, mappings; else ConfigError with the key."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigError(dotted(key), f"must be a finite number, not {value}")
        return float(value)
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ConfigError(dotted(key), f"text {shown(value)} is not Unicode")
        return value
    if isinstance(value, list | tuple):
        return [plain(item, (*key, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ConfigError(dotted((*key, str(name))), f"a key is text, not {shown(name)}")
        return {name: plain(item, (*key, name)) for name, item in value.items()}
    raise ConfigError(dotted(key), f"must be plain data (text, number, list, mapping), not {type(value).__name__}")
