"""Types, as strict as pyproject.toml says: of the package as it is installed, tasks included."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import automl_ext

ROOT = Path(__file__).parent.parent


@pytest.mark.slow(seconds=40)
def test_mypy_has_no_complaint(tmp_path):
    pytest.importorskip("mypy")
    if Path(automl_ext.__file__).is_relative_to(ROOT / "automl_ext"):
        pytest.skip("mypy does not find what is installed as editable; use tox -e type")
    files = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "cache"]
    command = [sys.executable, "-m", "mypy", *files, "-p", "automl_ext"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
