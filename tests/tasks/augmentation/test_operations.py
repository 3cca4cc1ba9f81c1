"""Magnitudes against table 6 of the paper, as its numbers stand there."""

from __future__ import annotations

import itertools

import pytest
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RANGES, useless, value_at

ENHANCE = dict.fromkeys(("Contrast", "Color", "Brightness", "Sharpness"), (0.1, 1.9))
PAPER = {
    "ShearX": (0, 0.3), "ShearY": (0, 0.3), "TranslateX": (0, 150 / 331), "TranslateY": (0, 150 / 331),
    "Rotate": (0, 30), "Solarize": (256, 0), "Posterize": (8, 4), "Cutout": (0, 60 / 331), "SamplePairing": (0, 0.4),
    **ENHANCE,
}  # fmt: skip
PLAIN = {"AutoContrast", "Invert", "Equalize"}


def test_sixteen_operations_with_the_ends_of_the_papers_ranges():
    assert len(OPERATIONS) == 16 and OPERATIONS.keys() == PAPER.keys() | PLAIN
    for name, ends in PAPER.items():
        assert (value_at(name, 0.0), value_at(name, 1.0)) == pytest.approx(ends), name
    assert all(value_at(name, 0.5) is None for name in PLAIN | {IDENTITY})


def test_neutral_values_are_the_middle_of_factors_and_the_start_of_all_others():
    for name in PAPER:
        assert value_at(name, 0.5 if name in ENHANCE else 0.0) == OPERATIONS[name].neutral, name
    assert all(OPERATIONS[name].neutral is None for name in PLAIN)


def test_magnitudes_grow_evenly_and_bits_are_whole():
    for name in PAPER:
        values = [value_at(name, level / 9) for level in range(10)]
        steps = {round(after - before, 9) for before, after in itertools.pairwise(values)}
        if name == "Posterize":
            assert values == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
        else:
            assert len(steps) == 1 and len(set(values)) == 10, name


def test_who_draws_a_sign_moves_masks_or_needs_colours():
    moving = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
    assert {name for name, each in OPERATIONS.items() if each.signed} == moving
    assert {name for name, each in OPERATIONS.items() if each.geometric} == moving
    assert {name for name, each in OPERATIONS.items() if each.colour} == {"Color"}


def test_the_other_ranges_are_those_of_randaugment_and_trivialaugment():
    """Their 14 operations: without Cutout, SamplePairing and Invert, and with doing nothing."""
    fourteen = OPERATIONS.keys() - {"Cutout", "SamplePairing", "Invert"} - PLAIN
    assert RANGES["standard"].keys() == RANGES["wide"].keys() == fourteen
    assert [value_at("TranslateX", m, "standard") for m in (0, 1)] == pytest.approx([0, 10 / 32])
    wide = {"ShearX": 0.99, "TranslateX": 1, "Rotate": 135, "Posterize": 2, "Solarize": 0, "Color": 2, "Contrast": 2}
    assert {name: value_at(name, 1.0, "wide") for name in wide} == pytest.approx(wide)
    assert value_at("Brightness", 0.0, "wide") == pytest.approx(0.01)
    with pytest.raises(KeyError):
        value_at("Cutout", 0.5, "standard")


def test_what_would_do_nothing_is_named_with_its_reason():
    every = tuple(OPERATIONS)
    assert useless(every, (3, 32, 32), "autoaugment") == {}
    assert useless(every, (1, 16, 16), "autoaugment") == {"Color": "changes colours only, and these images are grey"}
    assert useless(every, (3, 5, 60), "autoaugment") == {"Cutout": "is shorter than a pixel on images of 5 pixels"}
    assert useless(every, (3, 2, 128), "autoaugment").keys() == {"TranslateX", "TranslateY", "Cutout"}
    assert useless(every, (3, 15, 17), "autoaugment") == {
        "Equalize": "needs more than 255 pixels, and these images have 255"
    }
    assert useless(("Invert",), (1, 1, 1), "autoaugment") == {}
    assert useless(every, (3, 32, 32), "autoaugment", grey=True).keys() == {"Color"}
