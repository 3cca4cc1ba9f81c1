"""Arrows point one way, files stay short, and nothing unsafe is called."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "automl_ext").rglob("*.py"))
TASKS = sorted((ROOT / "tasks").rglob("*.py"))
SEARCHERS = ("baselines", "evolution", "controllers", "stopping")
MAY_IMPORT = {"searcher", "space", "decisions", "objective", "refusal", "evolution"}
UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "np.random.seed", "random.seed"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at any depth."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_imports_no_task(path):
    assert not [module for module in imports(path) if module.startswith(("automl_ext.tasks", "tasks"))]


@pytest.mark.parametrize("path", [path for path in CORE if path.parent.name in SEARCHERS], ids=name)
def test_searchers_see_the_target_and_nothing_else(path):
    inside = {module.split(".")[1] for module in imports(path) if module.startswith("automl_ext.")}
    assert inside <= MAY_IMPORT | {path.parent.name}


@pytest.mark.parametrize("path", TASKS, ids=name)
def test_tasks_do_not_know_each_other(path):
    own = path.relative_to(ROOT / "tasks").parts[0]
    others = [module.split(".")[2] for module in imports(path) if module.startswith("automl_ext.tasks.")]
    assert all(other == own for other in others)


@pytest.mark.parametrize("path", [*CORE, *TASKS], ids=name)
def test_nothing_unsafe(path):
    assert not {module.split(".")[0] for module in imports(path)} & UNSAFE_MODULES
    calls = {ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
    assert not calls & UNSAFE_CALLS


@pytest.mark.parametrize("path", [*CORE, *TASKS], ids=name)
def test_files_hold_one_idea(path):
    assert len(path.read_text().splitlines()) <= 330
