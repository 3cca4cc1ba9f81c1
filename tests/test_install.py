"""What is installed: core and tasks, from any folder, light to list."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
        check=False,
    )


def test_core_and_tasks_are_found_from_another_folder(tmp_path):
    done = python("import automl_ext, automl_ext.tasks.pruning; print(automl_ext.Space)", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "automl_ext.space.Space" in done.stdout


@pytest.mark.parametrize("module", ["automl_ext", "automl_ext.registry", "automl_ext.cli"])
def test_listing_names_imports_nothing_heavy(module, tmp_path):
    heavy = ("torch", "gymnasium", "sklearn", "matplotlib", "deap")
    done = python(f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])", tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_package_is_in_the_distribution():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "automl_ext").rglob("__init__.py")]
    tasks = [Path("automl_ext") / path.parent.relative_to(ROOT) for path in (ROOT / "tasks").rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in [*folders, *tasks])
