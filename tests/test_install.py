"""What is installed: core and tasks, from any folder, light to list; from the wheel as from an editable install."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def python(code: str, folder: Path) -> str:
    return run(sys.executable, "-c", code, folder=folder)


def pip(*arguments: str | Path, folder: Path) -> str:
    quiet = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    return run(sys.executable, "-m", "pip", arguments[0], *quiet, *arguments[1:], folder=folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What is packaged, copied, so that a build writes nothing into the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("automl_ext", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_core_and_tasks_are_found_from_another_folder(tmp_path):
    found = python("import automl_ext, automl_ext.tasks.pruning; print(automl_ext.Space)", tmp_path)
    assert "automl_ext.space.Space" in found


@pytest.mark.parametrize("module", ["automl_ext", "automl_ext.registry", "automl_ext.cli", "automl_ext.data"])
def test_listing_names_imports_nothing_heavy(module, tmp_path):
    heavy = ("torch", "gymnasium", "sklearn", "matplotlib", "deap")
    code = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    assert python(code, tmp_path) == "[]"


def test_every_package_is_in_the_distribution():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "automl_ext").rglob("__init__.py")]
    tasks = [Path("automl_ext") / path.parent.relative_to(ROOT) for path in (ROOT / "tasks").rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in [*folders, *tasks])


@pytest.mark.slow
def test_every_file_of_the_packages_is_in_the_wheel(source, tmp_path):
    pip("wheel", "--wheel-dir", tmp_path, source, folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "automl-ext = automl_ext.cli:main" in archive.read(entry_points).decode()
    core = {str(path.relative_to(ROOT)) for path in (ROOT / "automl_ext").rglob("*") if path.is_file()}
    tasks = {f"automl_ext/{path.relative_to(ROOT)}" for path in (ROOT / "tasks").rglob("*") if path.is_file()}
    assert packed == {name for name in core | tasks if "__pycache__" not in name}


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False], ids=["in the checkout", "elsewhere"])
def test_an_editable_install_finds_core_and_tasks(source, tmp_path, inside):
    venv.create(tmp_path)
    pip("install", "--ignore-installed", "--prefix", tmp_path, "--editable", source, folder=tmp_path)
    code = "import automl_ext.tasks.pruning as found; print(found.__file__)"
    found = run(tmp_path / "bin" / "python", "-c", code, folder=source if inside else tmp_path)
    assert found == str(source / "tasks" / "pruning" / "__init__.py")
