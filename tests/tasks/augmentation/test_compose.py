"""Every setting of the fast form against the albumentations form: equal in every pixel, and as likely."""

from __future__ import annotations

import itertools
from collections import Counter

import albumentations as A  # noqa: N812
import numpy as np
import pytest
from automl_ext.tasks.augmentation import compose
from automl_ext.tasks.augmentation.apply import Applier, Ground
from automl_ext.tasks.augmentation.compose import composed, form
from automl_ext.tasks.augmentation.operations import OPERATIONS, value_at
from automl_ext.tasks.augmentation.pixels import sharpness
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, of
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

SIZES = [(8, 8, 1), (32, 32, 3), (28, 20, 1)]
SETTINGS = list(itertools.product(OPERATIONS, range(10)))


@pytest.fixture
def ground(pictures, tmp_path, monkeypatch):
    """ground(h, w, c, interpolation) whose bank lies in a file, too."""

    def make(height, width, channels, interpolation="linear"):
        images = pictures(height, width, channels)
        np.savez(tmp_path / "bank.npz", image=images)
        monkeypatch.setattr(compose, "BANK", str(tmp_path / "bank.npz"))
        return Ground((125, 122, 113)[:channels], images, interpolation, fill_mask=2)

    return make


def chances(transform, edge, size):
    """What the transform drew last, as the draws that lead to it."""
    if "holes" in transform.params:
        left, top = transform.params["holes"][0][:2]
        return {"spot": ((top + 0.5) / (size[0] - edge + 1), (left + 0.5) / (size[1] - edge + 1))}
    return {"other": (transform.params["other"] + 0.5) / 5} if "other" in transform.params else {}


@pytest.mark.slow
@pytest.mark.parametrize(("interpolation", "size"), [*(("linear", size) for size in SIZES), ("nearest", SIZES[2])])
def test_every_setting_equals_its_albumentations_form_in_every_pixel(pictures, told, ground, interpolation, size):
    """That all of them can be built with warnings as errors is part of it."""
    images, ground = pictures(*size), ground(*size, interpolation)
    masks = images[..., 0] // 64
    settings = SETTINGS if interpolation == "linear" else [s for s in SETTINGS if OPERATIONS[s[0]].geometric]
    for name, level in settings:
        step = Step(name, 1.0, value_at(name, level / 9))
        for sign, sign_drawn in ((1, 0.2), (-1, 0.7))[: 2 if OPERATIONS[name].signed else 1]:
            transform = form(step, ground, size[:2], sign)
            transform.set_random_seed(level)
            applier = Applier(of([((name, 1.0, step.value),)]), ground)
            edge = int((step.value or 0) * min(size[:2]))
            for place in range(len(images)):
                wanted = transform(image=images[place].copy(), mask=masks[place])
                draws = told(sign_drawn, **chances(transform, edge, size))
                made, moved = applier(images[place : place + 1], draws, masks[place : place + 1])
                assert np.array_equal(made[0], wanted["image"].reshape(size)), (name, level, sign, place)
                assert np.array_equal(moved[0], wanted["mask"]), (name, level, sign, place)


@given(st.floats(0, 3), st.integers(0, 2**32 - 1))
def test_sharpness_at_any_factor_equals_its_albumentations_form_in_every_pixel(factor, seed):
    image = np.random.default_rng(seed).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    wanted = form(Step("Sharpness", 1.0, factor), Ground((0, 0, 0), image), (16, 16))(image=image[0])["image"]
    assert np.array_equal(sharpness(image, np.array([factor]))[0], wanted)


FEW = Policy(
    (
        Stage(
            (
                (Step("Rotate", 0.5, 20.0), Step("Invert", 0.3)),
                (Step("ShearX", 0.8, 0.3), Step("TranslateY", 1.0, 0.3)),
                (Step("Equalize", 0.0), Step("Solarize", 1.0, 256.0)),
                (Step("Color", 0.9, 0.1),),
                (Step("Posterize", 1.0, 4.0),),
            ),
            (0.4, 0.3, 0.1, 0.2, 0.0),
        ),
    )
)
"""Weights, signs, probabilities, steps that never happen, and sub-policies of no, one and two steps."""


def outcomes(policy, ground, image):
    """{the image it becomes: how likely that is}, by every way that one stage's chances may go."""
    (stage,) = policy.stages
    likely = Counter()
    for choice, weight in zip(stage.choices, stage.weights, strict=True):
        now = {image.tobytes(): weight}
        for step in choice:
            signs = (1, -1) if OPERATIONS[step.operation].signed else (1,)
            ways = [form(step, ground, image.shape[:2], sign) for sign in signs]
            then = Counter()
            for pixels, chance in now.items():
                then[pixels] += chance * (1 - step.probability)
                for way in ways:
                    made = way(image=np.frombuffer(pixels, np.uint8).reshape(image.shape))["image"]
                    then[made.tobytes()] += chance * step.probability / len(ways)
            now = then
        likely.update(now)
    return {pixels: chance for pixels, chance in likely.items() if chance > 0}


def test_both_forms_do_what_the_policy_says_as_often_as_it_says(pictures, ground):
    image, ground = pictures(8, 8, 3)[0], ground(8, 8, 3)
    likely = outcomes(FEW, ground, image)
    assert len(likely) == 13 and sum(likely.values()) == pytest.approx(1)
    pipeline = composed(FEW, ground, (8, 8), seed=0)
    slow = Counter(pipeline(image=image)["image"].tobytes() for _ in range(800))
    fast, _ = Applier(FEW, ground)(np.repeat(image[None], 20_000, axis=0), np.random.default_rng(0))
    for seen in (slow, Counter(made.tobytes() for made in fast)):
        assert seen.keys() <= likely.keys()
        counts = [seen[pixels] for pixels in likely]
        expected = np.array(list(likely.values())) * sum(counts)
        assert chisquare(counts, expected).pvalue > 0.001


def test_stages_follow_each_other(pictures, ground):
    image, ground = pictures(8, 8, 1)[0], ground(8, 8, 1)
    half, turned = Stage(((Step("Brightness", 1.0, 0.5),),)), Stage(((Step("Invert"),),))
    for stages, wanted in (((half, turned), 255 - image // 2), ((turned, half), (255 - image) // 2), ((), image)):
        policy = Policy(stages)
        assert np.array_equal(composed(policy, ground, (8, 8))(image=image)["image"], wanted)
        assert np.array_equal(Applier(policy, ground)(image[None], np.random.default_rng(0))[0][0], wanted)


def test_one_seed_one_row_of_images(pictures, ground):
    image, ground = pictures(8, 8, 3)[0], ground(8, 8, 3)
    rows = []
    for seed in (1, 1, 2):
        pipeline = composed(FEW, ground, (8, 8), seed=seed)
        rows.append([pipeline(image=image)["image"].tobytes() for _ in range(12)])
    assert rows[0] == rows[1] != rows[2] and len(set(rows[0])) > 3


def test_the_other_image_of_the_albumentations_form_is_any_of_the_bank(pictures, ground):
    ground = ground(8, 8, 1)
    transform = form(Step("SamplePairing", 1.0, 0.4), ground, (8, 8))
    transform.set_random_seed(0)
    seen = []
    for _ in range(300):
        transform(image=ground.bank[0])
        seen.append(transform.params["other"])
    assert chisquare(np.bincount(seen, minlength=5)).pvalue > 0.001 and set(seen) == set(range(5))
    assert A.to_dict(transform)["transform"]["bank"] == compose.BANK
