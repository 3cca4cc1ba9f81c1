"""The picture of what is coupled: every layer, every group, and why what is left alone is."""

from __future__ import annotations

import re

import pytest
from automl_ext.tasks.pruning.couplings import draw_couplings, left_alone
from automl_ext.tasks.pruning.groups import Group, Layer, Plan


def layer(name):
    return Layer(name, 8, 8, (3, 3), 1, 1, (8, 8), 64)


@pytest.fixture(scope="module")
def plan():
    reason = "its channels are padded"
    skipped = {"stem": reason, "join": f"coupled with stem: {reason}", "end": "its channels are the network's output"}
    groups = (Group("one", 8, ("one",), ("join",)), Group("two", 6, ("two", "side"), ("end", "side")))
    return Plan(tuple(layer(name) for name in ("stem", "one", "join", "two", "side", "end")), groups, skipped)


def test_reasons_are_said_once_with_all_layers_that_they_hold_for(plan):
    assert left_alone(plan, ()) == [
        "Left alone (its channels are padded): stem, join.",
        "Left alone (its channels are the network's output): end.",
    ]
    assert left_alone(plan, {"two"})[2:] == ["Kept whole (by protect, round_to, low or high): two."]


def test_every_layer_and_group_is_drawn(plan, tmp_path):
    draw_couplings(plan, {"two"}, tmp_path / "a.svg")
    draw_couplings(plan, {"two"}, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text() and "<image" not in text
    said = re.findall("<!-- (.*?) -->", text)
    assert {*"86", "stem", "one", "join", "two", "side", "end"} <= set(said)
    assert any(line.startswith("Left alone (its channels are padded)") for line in said)
    marks = [text.count(f"fill: {colour}; stroke: {colour}") for colour in ("#2f6f9f", "#b9c1ca")]
    assert marks == [2, 2]  # the writer of `one` and the legend's, both writers of `two`, which is kept whole
