"""The fast form: chances are what the policy says, and pixels what formulas by hand say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from automl_ext.tasks.augmentation import apply
from automl_ext.tasks.augmentation.apply import Applier, Ground, fill_of
from automl_ext.tasks.augmentation.operations import OPERATIONS, value_at
from automl_ext.tasks.augmentation.pixels import POINTWISE
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, of
from scipy.stats import chisquare

SIZES = [(8, 8, 1), (32, 32, 3), (12, 20, 3), (20, 12, 1)]
MOVING = [name for name, operation in OPERATIONS.items() if operation.geometric]


def one(name, value=None):
    return of([((name, 1.0, value),)])


def applied(policy, images, rng=0, masks=None, **ground):
    """Images, and masks, after the policy. rng: a seed, or a generator."""
    ground = Ground(**{"fill": (9,) * images.shape[3], "bank": images[:1], **ground})
    rng = np.random.default_rng(rng) if isinstance(rng, int) else rng
    made, moved = Applier(policy, ground)(images, rng, masks)
    return made if masks is None else (made, moved)


def fair(counts, expected=None):
    """Whether counts are what chance would give once in a thousand times or more often."""
    return chisquare(counts, expected).pvalue > 0.001


@pytest.mark.parametrize("size", SIZES)
def test_every_setting_keeps_shape_and_type_and_leaves_its_input_alone(pictures, size):
    images = pictures(*size)
    before = images.copy()
    for name, level in itertools.product(OPERATIONS, range(10)):
        made = applied(one(name, value_at(name, level / 9)), images)
        assert made.shape == images.shape and made.dtype == np.uint8, name
    assert np.array_equal(images, before)


def test_probability_0_neutral_values_and_no_stages_change_nothing(pictures):
    images = pictures(12, 20, 3)
    never = of([tuple((name, 0.0, value_at(name, 1.0)) for name in OPERATIONS)])
    neutral = [((name, 1.0, each.neutral),) for name, each in OPERATIONS.items() if each.graded]
    for policy in (never, of(neutral), Policy(), Policy((Stage(((),)),))):
        assert np.array_equal(applied(policy, images), images)


def test_neutral_values_change_nothing_in_the_operations_themselves(pictures):
    images = pictures(12, 20, 3)
    ones = np.ones(len(images))
    for name in ("Contrast", "Color", "Brightness", "Sharpness"):
        assert np.array_equal(POINTWISE[name](images, ones), images), name
    assert np.array_equal(POINTWISE["Posterize"](images, 8 * ones), images)
    assert np.array_equal(POINTWISE["Solarize"](images, 256 * ones), images)
    inverted = POINTWISE["Invert"](images, ones)
    assert np.array_equal(POINTWISE["Invert"](inverted, ones), images) and not np.array_equal(inverted, images)


def test_formulas_by_hand(pictures, told):
    images = pictures(8, 8, 3)
    wide = images.astype(float)
    grey = np.rint(wide @ (0.299, 0.587, 0.114))
    mean = grey.mean(axis=(1, 2))[:, None, None, None]
    exact = {
        ("Invert", None): 255 - wide,
        ("Solarize", 100.0): np.where(wide >= 100, 255 - wide, wide),
        ("Solarize", 0.0): 255 - wide,
        ("Posterize", 3.0): wide // 32 * 32,
        ("Brightness", 0.5): np.floor(wide / 2),
        ("Brightness", 1.5): np.minimum(np.floor(wide * 1.5), 255),
        ("TranslateX", 0.25): np.concatenate([np.full((5, 8, 2, 3), 9), wide[:, :, :6]], axis=2),
        ("TranslateY", 0.25): np.concatenate([np.full((5, 2, 8, 3), 9), wide[:, :6]], axis=1),
        ("Rotate", 90.0): np.rot90(wide, axes=(1, 2)),
        ("Cutout", 1.0): np.full(wide.shape, 9),
    }
    near = {
        ("Color", 0.0): np.repeat(grey[..., None], 3, axis=3),
        ("Color", 0.5): (wide + grey[..., None]) / 2,
        ("Contrast", 0.5): (wide + mean) / 2,
        ("Contrast", 1.9): np.clip(mean + 1.9 * (wide - mean), 0, 255),
        ("SamplePairing", 0.25): wide * 0.75 + wide[:1] * 0.25,
    }
    for (name, value), wanted in (exact | near).items():
        made = applied(one(name, value), images, told())
        assert np.abs(made - wanted).max() <= (0 if (name, value) in exact else 1), (name, value)


def test_sharpness_of_a_point_by_hand(told):
    point = np.zeros((1, 5, 5, 1), np.uint8)
    point[0, 2, 2] = 130
    smooth = applied(one("Sharpness", 0.0), point, told())[0, :, :, 0]
    assert smooth[2, 2] == 50 and smooth[1:4, 1:4].sum() == 130 and smooth.sum() == 130
    half = applied(one("Sharpness", 0.5), point, told())[0, :, :, 0]
    assert half[2, 2] == 90 and half[1, 1] == 5
    assert applied(one("Sharpness", 1.5), point, told())[0, 2, 2, 0] == 170


def test_histograms_by_hand(told):
    """Pixels of 4 values, three fifths of them the lowest: a value becomes (count up to it + step // 2) // step."""
    values = np.repeat([10, 20, 40, 60], [154, 51, 26, 25])
    image = np.random.default_rng(0).permutation(values).astype(np.uint8).reshape(1, 16, 16, 1)
    stretched = applied(one("AutoContrast"), image, told())
    assert sorted(set(stretched.ravel().tolist())) == [0, 51, 153, 255]
    assert np.array_equal(stretched == 51, image == 20)
    big = np.repeat(image, 2, axis=1).repeat(2, axis=2)
    equal = applied(one("Equalize"), big, told())  # 924 pixels below the last value make steps of 3
    for value, up_to in ((10, 616), (20, 820), (40, 924), (60, 1024)):
        assert (equal[big == value] == min((up_to + 1) // 3, 255)).all(), value


def test_shears_move_rows_and_columns_about_the_centre(told):
    """A slope of 0.5 moves the rows of 5 by -1, -0.5, 0, 0.5 and 1 pixels; whole ones are exact."""
    image = np.random.default_rng(0).integers(0, 256, (1, 5, 5, 1), dtype=np.uint8)
    for name, axes in (("ShearX", (1, 2)), ("ShearY", (2, 1))):
        made = applied(one(name, 0.5), image, told(), fill=(0,))
        rows, before = (np.moveaxis(array, axes, (1, 2))[0, :, :, 0] for array in (made, image))
        assert rows[2].tolist() == before[2].tolist()
        assert rows[0].tolist() == [0, *before[0, :-1]] or rows[0].tolist() == [*before[0, 1:], 0]
        assert rows[4].tolist() != rows[0].tolist() and 0 in (rows[4, 0], rows[4, -1])


def test_one_way_is_the_mirror_of_the_other(pictures, told):
    images = pictures(12, 20, 3)
    for name, value, axis in (("Rotate", 17.0, 2), ("ShearX", 0.2, 2), ("ShearY", 0.2, 2), ("TranslateX", 0.3, 2)):
        there = applied(one(name, value), images, told(sign=0.2))
        back = np.flip(applied(one(name, value), np.flip(images, axis), told(sign=0.7)), axis)
        assert np.abs(there.astype(int) - back).max() <= 2, name


def test_sub_policies_are_drawn_alike_for_each_image_alone():
    images = np.full((5000, 8, 8, 1), 200, np.uint8)
    made = applied(of([(("Brightness", 1.0, part / 5),) for part in range(5)]), images)[:, 0, 0, 0] // 40
    assert fair(np.bincount(made, minlength=5))
    assert fair(np.bincount(made[:-1] * 5 + made[1:], minlength=25))


def test_weights_are_kept_to():
    choices = tuple((Step("Brightness", 1.0, part / 5),) for part in range(4))
    images = np.full((4000, 8, 8, 1), 200, np.uint8)
    made = applied(Policy((Stage(choices, (0.1, 0.0, 0.7, 0.2)),)), images)[:, 0, 0, 0] // 40
    counts = np.bincount(made, minlength=4)
    assert counts[1] == 0 and fair(counts[[0, 2, 3]], [400, 2800, 800])


def test_steps_happen_in_order_each_with_its_own_probability():
    """Of 200: halved 100, inverted 55; halved and then inverted 155, the other way round 27."""
    images = np.full((4000, 8, 8, 1), 200, np.uint8)
    made = applied(of([(("Brightness", 0.8, 0.5), ("Invert", 0.3, None))]), images)[:, 0, 0, 0]
    counts = np.bincount(made, minlength=256)
    assert counts.sum() == counts[[200, 100, 55, 155]].sum()
    assert fair(counts[[200, 100, 55, 155]], [560, 2240, 240, 960])


@pytest.mark.parametrize("name", MOVING)
def test_signs_are_even_and_of_each_image_alone(pictures, told, name):
    images = np.repeat(pictures(8, 8, 1)[:1], 1000, axis=0)
    made = applied(one(name, value_at(name, 1.0)), images)
    ways = [applied(one(name, value_at(name, 1.0)), images[:1], told(sign=sign))[0] for sign in (0.2, 0.7)]
    right = [(made == way).all(axis=(1, 2, 3)) for way in ways]
    assert np.array_equal(right[0], ~right[1])
    first = right[0].astype(int)
    assert fair(np.bincount(first)) and fair(np.bincount(first[:-1] * 2 + first[1:]))


def test_cutouts_square_is_anywhere_inside_the_image(told):
    images = np.zeros((7000, 6, 9, 1), np.uint8)
    made = applied(one("Cutout", 0.5), images, fill=(255,))[..., 0] == 255
    assert (made.sum(axis=(1, 2)) == 9).all()
    corners = made.reshape(7000, -1).argmax(axis=1)
    rows, columns = corners // 9, corners % 9
    assert made[np.arange(7000), rows + 2, columns + 2].all()
    counts = np.bincount(rows * 7 + columns)
    assert len(counts) == 28 and fair(counts)
    end = applied(one("Cutout", 0.5), images[:1], told(spot=(1 - 1e-12, 1 - 1e-12)), fill=(255,))
    assert end[0, 3:, 6:].min() == 255


def test_the_other_image_is_any_of_the_bank_and_no_other():
    images = np.zeros((3000, 8, 8, 3), np.uint8)
    bank = np.array([50, 100, 250], np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    made = applied(one("SamplePairing", 0.4), images, bank=bank)
    assert (made == made[:, :1, :1, :1]).all()
    counts = np.bincount(made[:, 0, 0, 0], minlength=256)
    assert counts[[20, 40, 100]].sum() == 3000 and fair(counts[[20, 40, 100]])
    with pytest.raises(ValueError, match="SamplePairing needs a bank of images"):
        applied(one("SamplePairing", 0.4), images, bank=None)


def test_one_seed_one_epoch(pictures):
    images = np.repeat(pictures(8, 8, 3), 10, axis=0)
    policy = of([((name, 0.7, value_at(name, 0.8)), ("Rotate", 0.5, 9.0)) for name in OPERATIONS])
    applier = Applier(policy, Ground((1, 2, 3), bank=images))
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    first, second = applier(images, rng)[0], applier(images, rng)[0]
    fresh = Applier(policy, Ground((1, 2, 3), bank=images))
    masked = fresh(images, again, np.zeros((50, 8, 8), np.uint8))[0]
    assert np.array_equal(first, masked) and np.array_equal(second, fresh(images, again)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, applier(images, np.random.default_rng(4))[0])


def test_how_many_images_are_taken_at_once_makes_no_difference(pictures, monkeypatch):
    images = np.repeat(pictures(8, 8, 3), 20, axis=0)
    policy = of([(strong, strong) for strong in ((name, 0.9, value_at(name, 1.0)) for name in OPERATIONS)])
    masks = images[..., 0] // 64
    whole = applied(policy, images, 2, masks)
    for bytes_at_once in (1, 7 * images[0].nbytes):
        monkeypatch.setattr(apply, "AT_ONCE", bytes_at_once)
        parts = applied(policy, images, 2, masks)
        assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert applied(policy, images[:0], 2).shape == (0, 8, 8, 3)


def test_steps_that_never_happen_leave_the_others_draws_as_they_are(pictures):
    images = np.repeat(pictures(8, 8, 3), 10, axis=0)
    first, second = ("Rotate", 0.5, 9.0), ("Cutout", 0.5, 0.4)
    idle = of([(first, ("Invert", 0.0, None), second), (second, ("Identity", 1.0, None), first)])
    other = of([(first, ("Solarize", 1.0, 256.0), second), (second, ("Color", 1.0, 1.0), first)])
    assert np.array_equal(applied(idle, images, 5), applied(other, images, 5))


@pytest.mark.parametrize("name", OPERATIONS)
def test_masks_move_with_their_images_in_geometric_operations_only(name):
    images = (np.random.default_rng(0).random((40, 12, 20, 1)) < 0.4).astype(np.uint8) * 255
    masks = (images[..., 0] > 127).astype(np.uint8) * 3
    policy = one(name, value_at(name, 0.9))
    made, moved = applied(policy, images, 1, masks, fill=(255,), fill_mask=3, interpolation="nearest")
    if name not in MOVING:
        assert np.array_equal(moved, masks) and moved is not masks
    else:
        assert np.array_equal(moved, (made[..., 0] > 127) * 3) and not np.array_equal(moved, masks)
        smooth = applied(policy, images, 1, masks, fill=(255,), fill_mask=3, interpolation="linear")
        assert np.array_equal(smooth[1], moved)
    assert moved.dtype == np.uint8 and moved.shape == masks.shape


def test_the_fill_colour_of_means():
    assert fill_of((0.0, 0.4914, 1.0)) == (0, 125, 255)
