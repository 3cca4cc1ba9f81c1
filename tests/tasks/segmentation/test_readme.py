"""The task's README: every option has a row, every reference, metric and configuration stands there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from automl_ext.tasks.segmentation.env import SegmentationEnv
from automl_ext.tasks.segmentation.objectives import GOALS
from automl_ext.tasks.segmentation.reference import references
from automl_ext.tasks.segmentation.space import CellSpace

from automl_ext.config import load

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def text():
    return (ROOT / "tasks" / "segmentation" / "README.md").read_text(encoding="utf-8")


def test_every_option_has_a_row_with_its_default(text):
    rows = {name: line for line in text.splitlines() if line.startswith("| `")
            for name in re.findall(r"`(\w+)`", line.split("|")[1])}  # fmt: skip
    parameters = inspect.signature(SegmentationEnv).parameters
    assert [name for name in parameters if name not in rows] == [] and len(parameters) > 25
    for name, parameter in parameters.items():
        if isinstance(parameter.default, int | float) and parameter.default and name != "seed":
            assert re.search(rf"\b{parameter.default:g}\b", rows[name].split("|")[2]), name


def test_what_can_be_named_stands_there(text):
    named = {*re.findall(r"`([\w.-]+)`", text)}
    assert {*GOALS, *references(CellSpace(5, (1, 2), (1,)), 8)} <= named
    files = sorted((ROOT / "configs" / "segmentation").iterdir())
    assert {file.name for file in files} <= named and len(files) == 4
    assert all(load(file).env.id == "automl_ext/Segmentation-v0" for file in files)
