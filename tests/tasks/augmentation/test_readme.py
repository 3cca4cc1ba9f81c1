"""The task's README: every option has a row, every space, operation and reference stands there, its example runs."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from automl_ext.tasks.augmentation.apply import Ground
from automl_ext.tasks.augmentation.child import NETWORKS
from automl_ext.tasks.augmentation.env import AugmentationEnv
from automl_ext.tasks.augmentation.export import write
from automl_ext.tasks.augmentation.operations import OPERATIONS
from automl_ext.tasks.augmentation.policy import of
from automl_ext.tasks.augmentation.reference import references
from automl_ext.tasks.augmentation.space import SPACES

README = Path(__file__).parents[3] / "tasks" / "augmentation" / "README.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def test_every_option_has_a_row(text):
    firsts = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    options = [*inspect.signature(AugmentationEnv).parameters]
    assert [name for name in options if f"`{name}`" not in firsts] == [] and len(options) > 20


def test_what_can_be_named_stands_there(text):
    words = {*re.findall(r"[\w-]+", text)}
    assert {*SPACES, *OPERATIONS, *NETWORKS, *references("flip-and-crop", {})} <= words


def test_its_example_reads_an_export(text, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    write([of([[("Rotate", 1.0, 20.0)]])], Ground((0,)), (8, 8), tmp_path, 0, {})
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    (tmp_path / "loading.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path("loading.py", {"image": image})["augmented"]
    assert made.shape == (8, 8, 1) and made.dtype == np.uint8 and (made != image).any()
