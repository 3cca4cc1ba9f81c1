"""Broken configs, made by mutation: one line that names the mutated key, exit code 2, nothing written, no traceback."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from automl_ext.cli import main
from automl_ext.config import Config, ExecutorSettings, FinalStage, Paper

BASE = {
    "name": "whole",
    "env": {
        "id": "automl_ext/Pruning-v0", "network": "small", "dataset": "digits", "macs_kept": 0.5, "round_to": 2,
        "importance": "magnitude", "refit": True, "ridge": 0.1, "points": 4, "reward_images": 100, "mean": [0.3],
        "epochs": 2, "rate": 0.1,
    },
    "searcher": {"name": "regularized-evolution", "population": 10, "sample": 3, "identity": 0.1},
    "trials": 30, "wall_time": "10m", "target": 0.99, "parallel": 4, "seed": 1, "seeds": "common", "cache": True,
    "timeout": "30s", "retries": 1, "max_failures": 5,
    "baselines": [{"name": "local", "bins": 3}, "random"],
    "final": [{"top": 3}, {"top": 1, "budget": 2, "seeds": 2}],
    "executor": {"name": "process", "workers": 2, "memory_mb": 2000, "grace": 5},
    "paper": {"title": "AMC", "authors": "He", "year": 2018, "arxiv": "1802.03494", "deviations": ["small"]},
    "expect": {"accuracy": [0.5, None]},
}  # fmt: skip

TEXT, WHOLE, NUMBER, TRUTH, LIST, MAPPING = "text", "whole", "number", "truth", "list", "mapping"
WRONG = {
    TEXT: [5, True, ["a"], {"a": 1}],
    WHOLE: ["many", 1.5, True, [1], {"a": 1}],
    NUMBER: ["much", True, [1.0], {"a": 1}, "0.5"],
    TRUTH: ["yes", 1, 0.0, [True]],
    LIST: [5, "one", {"a": 1}, True],
    MAPPING: [5, [1], True],
}
TYPES = {
    "name": TEXT, "env": MAPPING, "env.id": TEXT, "env.network": TEXT, "env.dataset": TEXT, "env.macs_kept": NUMBER,
    "env.round_to": WHOLE, "env.importance": TEXT, "env.refit": TRUTH, "env.mean": LIST, "env.mean.0": NUMBER,
    "env.epochs": WHOLE, "env.rate": NUMBER, "searcher": MAPPING, "searcher.name": TEXT, "searcher.population": WHOLE,
    "searcher.identity": NUMBER, "trials": WHOLE, "wall_time": NUMBER, "target": NUMBER, "parallel": WHOLE,
    "seed": WHOLE, "seeds": TEXT, "cache": TRUTH, "timeout": NUMBER, "retries": WHOLE, "max_failures": WHOLE,
    "baselines": LIST, "baselines.0": MAPPING, "baselines.0.bins": WHOLE, "final": LIST, "final.1": MAPPING,
    "final.1.top": WHOLE, "final.1.budget": NUMBER, "final.0.top": WHOLE, "final.1.seeds": WHOLE, "executor": MAPPING,
    "executor.name": TEXT, "executor.workers": WHOLE, "executor.memory_mb": WHOLE, "executor.grace": NUMBER,
    "paper": MAPPING, "paper.title": TEXT, "paper.year": WHOLE, "paper.arxiv": TEXT, "paper.deviations": LIST,
    "paper.deviations.0": TEXT, "expect": MAPPING, "expect.accuracy": LIST, "expect.accuracy.0": NUMBER,
}  # fmt: skip
NAN, INFINITE = float("nan"), float("inf")
ABSURD = {
    "name": ["", "x" * 1000], "trials": [-1, 10**9, 10**40, INFINITE], "wall_time": [0, -5, 1e30, NAN, "10 weeks"],
    "target": [NAN, INFINITE], "parallel": [0, -2, 10**9], "seed": [-1, 2**64], "seeds": ["comon", "per trial"],
    "timeout": [0, -1, "later"], "retries": [-1, 10**6], "max_failures": [0, -3, 10**12], "final.0.top": [0, -1, 10**9],
    "final.1.budget": [0, -1, INFINITE], "final.1.seeds": [0, 10**6], "executor.name": ["procss", "thread"],
    "executor.workers": [-3, 10**6], "executor.memory_mb": [0, 1, -100, 10**12], "executor.grace": [-1, 1e9],
    "paper.year": [3, 20180], "expect.accuracy": [[0.9, 0.1], [None, None], [0.1], [0.1, 0.2, 0.3]],
    "expect.accuracy.0": [NAN], "env.macs_kept": [0, -0.5, 50, NAN, INFINITE, 1e-9], "env.epochs": [0, -2],
    "env.rate": [-0.1, 0, NAN], "env.ridge": [-1], "env.points": [0, -4], "env.reward_images": [0, -100],
    "env.importance": ["magnitud", "random"], "env.dataset": ["digts", "npz:/no/such.npz", "no_such_module:load"],
    "env.network": ["smal", "resnet21", "no_such_module:net"], "env.mean": [[0.1, 0.2], []],
    "env.id": ["automl_ext/Prunin-v0", "automl_ext/Pruning-v9", "CartPole-v1", "no_such_module:X-v0", "Nothing-v0", ""],
    "env.width": [0, -1, 11, NAN], "env.inputs": ["both", "no_such_module:both"],
    "env.round_to": [0, -1], "searcher.name": ["regularised-evolution", "ddgp", "no_such_module:X", "json:loads", ""],
    "searcher.population": [0, -5], "searcher.sample": [0, -1],
    "searcher.identity": [-0.1, 2], "baselines.0.name": ["locl", "no_such_module:X"],
}  # fmt: skip
ALIASES = "".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]\n" for level in range(1, 9))


@dataclass
class Broken:
    """A file's content (None: no file, "": a folder where `folder`), the key to be named and words of the line."""

    content: bytes | None
    key: str
    words: tuple[str, ...] = ()
    folder: bool = False


def test_the_base_of_all_mutations_is_whole():
    assert Config.from_dict(BASE).trials == 30


def broken() -> list[Broken]:
    """All mutations, at least 500."""
    return [*wrong_types(), *absurd_values(), *unknown_keys(), *renamed_keys(), *removed_keys(), *twice(), *damaged()]


def text_of(fields: object) -> bytes:
    """As JSON, which is YAML, one top-level key a line; NaN and infinity as YAML has them."""
    assert isinstance(fields, dict)
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(lines).replace("NaN", ".nan").replace("Infinity", ".inf").encode()


def spot(fields: object, path: str) -> tuple[object, str | int]:
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in way:
        fields = fields[part]  # type: ignore[index]
    return fields, last


def replaced(path: str, value: object) -> bytes:
    fields = copy.deepcopy(BASE)
    where, last = spot(fields, path)
    where[last] = value  # type: ignore[index]
    return text_of(fields)


def wrong_types() -> Iterator[Broken]:
    for path, kind in TYPES.items():
        for value in WRONG[kind]:
            if path == "wall_time" and value == "0.5":
                continue
            yield Broken(replaced(path, value), path, ("must be",))


def absurd_values() -> Iterator[Broken]:
    for path, values in ABSURD.items():
        for value in values:
            key = "expect.accuracy.1" if value == [0.1] else path
            yield Broken(replaced(path, value), key)


def mappings() -> dict[str, list[str]]:
    """Every mapping of a config with all its legal keys."""
    levels = {
        "": list(Config.model_fields), "executor": list(ExecutorSettings.model_fields),
        "final.1": list(FinalStage.model_fields), "paper": list(Paper.model_fields),
    }  # fmt: skip
    for path in ("env", "searcher", "baselines.0"):
        where, last = spot(BASE, path)
        levels[path] = list(where[last])  # type: ignore[index]
    return levels


def misspelt(name: str, legal: list[str]) -> Iterator[str]:
    """The name with a letter twice, a letter left out, two letters swapped, or in capitals."""
    swapped = name[:-2] + name[-1] + name[-2]
    for wrong in (name + name[-1], name[:1] + name[2:], swapped if len(name) > 5 else name, name.upper()):
        if wrong not in legal and len(wrong) > 1:
            yield wrong


def inside(level: str, fields: dict[str, object]) -> dict[str, object]:
    if not level:
        return fields
    where, last = spot(fields, level)
    return where[last]  # type: ignore[index, no-any-return]


def unknown_keys() -> Iterator[Broken]:
    """A key too many beside the legal ones."""
    for level, legal in mappings().items():
        for name in (*(f"{known}s" for known in legal[:4]), "quite_different", "ключ"):
            if name in legal:
                continue
            fields = copy.deepcopy(BASE)
            inside(level, fields)[name] = 1
            yield Broken(text_of(fields), f"{level}.{name}".lstrip("."), ("unknown key", "legal:"))


def renamed_keys() -> Iterator[Broken]:
    """A misspelt key instead of the right one: the right one is guessed."""
    for level, legal in mappings().items():
        for name in list(inside(level, copy.deepcopy(BASE))):
            for wrong in misspelt(name, legal):
                fields = copy.deepcopy(BASE)
                mapping = inside(level, fields)
                values = {wrong if key == name else key: value for key, value in mapping.items()}
                mapping.clear()
                mapping.update(values)
                words = ("unknown key", f"did you mean '{name}'?")
                yield Broken(text_of(fields), f"{level}.{wrong}".lstrip("."), words)


def removed_keys() -> Iterator[Broken]:
    for path in ("env", "searcher", "env.id", "searcher.name", "baselines.0.name", "final.0.top", "paper.title"):
        fields = copy.deepcopy(BASE)
        where, last = spot(fields, path)
        del where[last]  # type: ignore[attr-defined]
        yield Broken(text_of(fields), path, ("is needed",))
    fields = {key: value for key, value in BASE.items() if key not in ("trials", "wall_time", "target")}
    yield Broken(text_of(fields), "trials", ("is needed", "wall_time", "target"))


def twice() -> Iterator[Broken]:
    """A key that stands twice in the file: the line of the second one."""
    lines = text_of(BASE).decode().splitlines()
    for index, line in enumerate(lines):
        doubled = "\n".join([*lines, line]).encode()
        name = line.partition(":")[0]
        yield Broken(doubled, str(len(lines) + 1), (f"'{name}'", "twice", f"line {index + 1}"))


def damaged() -> Iterator[Broken]:
    """No text, no YAML, no mapping, no file."""
    text = text_of(BASE)
    lines = text.splitlines()
    draw = random.Random(7)
    for index, line in enumerate(lines):
        if line.endswith((b"}", b"]", b'"')):
            yield Broken(b"\n".join([*lines[:index], line[:-1]]), "LINE")
        tabbed = [*lines[:index], b"\t" + line, *lines[index + 1 :]]
        yield Broken(b"\n".join(tabbed), "LINE")
        junk = [*lines[:index], b"\xff\xfe" + draw.randbytes(20), *lines[index + 1 :]]
        yield Broken(b"\n".join(junk), str(index + 1), ("UTF-8",))
    for length in (1, 10, 1000):
        yield Broken(b"\x89PNG\r\n" + draw.randbytes(length), "1", ("UTF-8",))
    yield Broken(b"trials: 1\x00", "1", ("not allowed",))
    yield Broken(b"l0: &l0 [lol]\n" + ALIASES.encode(), "1", ("anchors",))
    yield Broken(b"[" * 5000, "1", ("nested",))
    yield Broken(b"trials: " + b"9" * 5000, "1", ("int",))
    yield Broken(b"x: " + b"a" * 1_000_001, "", ("larger",))
    yield Broken(b"x: !!python/object:os.system [ls]", "1", ("tag",))
    yield Broken(b"trials: 1\n---\ntrials: 2\n", "2", ("document",))
    yield Broken(b"5: 6\n", "1", ("a key is text",))
    for content in (b"", b"\n\n", b"# nothing\n"):
        yield Broken(content, "", ("empty",))
    for content in (b"[1, 2]", b"- trials: 3\n", b"just text", b"12", b"true"):
        yield Broken(content, "", ("mapping",))
    yield Broken(None, "", ("no such file",))
    yield Broken(b"", "", ("folder",), folder=True)


def check(case: Broken, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "broken.yaml"
    if case.folder:
        path.mkdir()
    elif case.content is not None:
        path.write_bytes(case.content)
    before = sorted(folder.rglob("*"))
    code = main(["run", str(path), "--out", str(folder / "runs")])
    said = capsys.readouterr()
    assert code == 2, said
    assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
    assert sorted(folder.rglob("*")) == before
    place = said.err.removeprefix(f"error: {path}:")
    assert place != said.err
    if case.key == "LINE":
        assert place.partition(":")[0].isdecimal(), said.err
    elif case.key:
        assert place.startswith(f"{case.key}: "), said.err
    for word in case.words:
        assert word in place, said.err


def sample(count: int) -> list[Broken]:
    return random.Random(3).sample(broken(), count)


@pytest.mark.parametrize("case", sample(60), ids=lambda case: case.key or "file")
def test_a_broken_config_is_one_line(case, tmp_path, capsys):
    check(case, tmp_path, capsys)


@pytest.mark.slow
def test_five_hundred_broken_configs(tmp_path, capsys):
    cases = broken()
    assert len(cases) >= 500
    for index, case in enumerate(cases):
        folder = tmp_path / str(index)
        folder.mkdir()
        check(case, folder, capsys)
