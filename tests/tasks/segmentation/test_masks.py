"""Data sets of masks: npz, folders, void; what is wrong with them is said in one line that names the place."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from automl_ext.tasks.segmentation.geometric import Moves
from automl_ext.tasks.segmentation.masks import loaded, weights_of
from automl_ext.tasks.segmentation.scores import VOID
from PIL import Image

SIZE = (20, 24)


def load(name, **options):
    given = {"root": None, "seed": 0, "void": None, "classes": None, "names": None, "images": None, "val_images": None}
    return loaded(str(name), **{**given, "stride": 4, **options})


def arrays(top=3, count=6, size=SIZE):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *size, 3), np.uint8), rng.integers(0, top, (count, *size), np.uint8)


def npz(folder, top=3, change=lambda mask: mask, parts=("train", "val", "test")):
    """change: what the train part has for its masks."""
    image, mask = arrays(top)
    file = folder / "masks.npz"
    np.savez(file, **{f"{part}_{what}": value for part in parts for what, value in
                      (("image", image), ("mask", change(mask) if part == "train" else mask))})  # fmt: skip
    return f"npz:{file}"


def put(label, place=4, kind=np.uint8):
    """What gives one pixel of a mask a label."""

    def change(mask):
        made = mask.astype(kind)
        made[place, 3, 5] = label
        return made

    return change


def refused(name, **options):
    with pytest.raises(ValueError, match=r".") as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def save(folder, pixels):
    Image.fromarray(pixels).save(folder)


@pytest.fixture
def folder(tmp_path):
    image, mask = arrays()
    for part in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / part / kind).mkdir(parents=True)
        for place in range(6):
            Image.fromarray(image[place]).save(tmp_path / part / "images" / f"{place}.png")
            Image.fromarray(mask[place]).save(tmp_path / part / "masks" / f"{place}.png")
    return tmp_path


def test_void_counts_nowhere_and_labels_above_it_move_down(tmp_path):
    found = load(npz(tmp_path, 4), void=1)
    _, mask = arrays(4)
    wanted = np.where(mask == 1, VOID, np.where(mask > 1, mask - 1, mask))
    assert found.classes == 3 and (found.data.test.label.numpy() == wanted).all()


@pytest.mark.parametrize("void", [0, 3])
def test_255_is_void_whatever_void_names(tmp_path, void):
    found = load(npz(tmp_path, 4, put(255)), void=void)
    _, mask = arrays(4)
    mask[4, 3, 5] = void
    moved = mask.astype(int) - (mask > void)
    assert found.classes == 3 and (found.data.train.label.numpy() == np.where(mask == void, VOID, moved)).all()


def test_scenes_lose_the_name_of_the_class_that_is_void():
    found = load("digits-scenes", void=0)
    assert found.names == tuple(f"digit {number}" for number in range(10)) and found.data.classes == 10
    assert "no train pixel of label 11" in refused("digits-scenes", void=0, classes=11)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (put(7), {"classes": 3}, "train_mask[4]: label 7 is not in 0 to 2"),
        (put(7), {"names": ["a", "b"], "void": 1}, "train_mask[4]: label 7 is not in 0 to 2"),
        (put(-1, kind=np.int16), {}, "train_mask[4] has -1"),
        (put(256, kind=np.int16), {"void": 1}, "train_mask[4]: label 256 is not in 0 to 254"),
        (put(256, kind=np.int16), {}, "train_mask[4]: label 256 is not in 0 to 254"),
    ],
)
@pytest.mark.parametrize("parts", [("train", "val"), ("train", "val", "test")])
def test_a_wrong_label_is_named_as_the_file_has_it(tmp_path, change, options, said, parts):
    assert f"{tmp_path / 'masks.npz'}: {said}" in refused(npz(tmp_path, 3, change, parts), **options)


def test_a_wrong_label_in_a_folder_names_its_file(folder):
    save(folder / "train" / "masks" / "4.png", put(7)(arrays()[1])[4])
    for options in ({"classes": 3}, {"names": ["a", "b", "c"]}):
        assert f"{folder}/train/masks/4.png: label 7 is not in 0 to 2" in refused(f"folder:{folder}", **options)


def test_parts_of_different_shapes_name_the_file(tmp_path):
    image, mask = arrays()
    np.savez(tmp_path / "a.npz", train_image=image, train_mask=mask, test_image=image[:, 1:], test_mask=mask[:, 1:])
    assert f"{tmp_path / 'a.npz'}: images of different shapes" in refused(f"npz:{tmp_path / 'a.npz'}")


def test_masks_of_0_and_255_are_told_that_255_is_void(tmp_path):
    name = npz(tmp_path, change=lambda mask: np.where(mask > 1, 255, 0), parts=("train",))
    with np.load(name.removeprefix("npz:")) as arrays_:
        binary = dict(arrays_)
    np.savez(tmp_path / "b.npz", **binary, val_image=binary["train_image"], val_mask=binary["train_mask"])
    said = refused(f"npz:{tmp_path / 'b.npz'}")
    assert "b.npz" in said and "255 is always void, label the classes 0, 1" in said
    assert "no train pixel of label 1 (of 0 to 1; 255 is always void)" in refused(
        f"npz:{tmp_path / 'b.npz'}", classes=2
    )


def test_a_folder_is_read_as_its_arrays_are(folder):
    found = load(f"folder:{folder}")
    image, mask = arrays()
    assert (found.data.test.image.permute(0, 2, 3, 1).numpy() == image).all()
    assert (found.data.test.label.numpy() == mask).all()
    assert len(found.data.train) == 5 and len(found.data.val) == 1 and found.shape == (3, *SIZE)


def test_fewer_images_are_drawn_by_the_seed(tmp_path):
    name = npz(tmp_path)
    one, same, other = (load(name, images=3, val_images=2, seed=seed).data.train.image for seed in (0, 0, 1))
    assert len(one) == 3 and torch.equal(one, same) and not torch.equal(one, other)


def _broken_png(folder):
    (folder / "train" / "images" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")


def _jpeg(folder):
    """Its labels would be near what they were."""
    Image.fromarray(arrays()[1][2]).save(folder / "train" / "masks" / "2.png", "JPEG")


def _no_mask(folder):
    (folder / "train" / "masks" / "1.png").unlink()


def _small_mask(folder):
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(folder / "test" / "masks" / "3.png")


def _small_image(folder):
    Image.fromarray(np.zeros((5, 4, 3), np.uint8)).save(folder / "train" / "images" / "4.png")


def _coloured(folder):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "train" / "masks" / "0.png")


def _no_part(folder):
    (folder / "test").rename(folder / "tests")


def _no_image(folder):
    (folder / "train" / "images" / "3.png").rename(folder / "train" / "images" / "3.jpg")


def _two_of_a_name(folder):
    save(folder / "train" / "images" / "3.PNG", np.zeros((*SIZE, 3), np.uint8))


def _deep_image(folder):
    save(folder / "test" / "images" / "2.png", np.full(SIZE, 3000, np.uint16))


def _deep_label(folder):
    save(folder / "test" / "masks" / "2.png", np.full(SIZE, 300, np.uint16))


def _one_image(folder):
    shutil.copytree(folder / "test", folder / "val")
    for place in range(1, 6):
        for kind in ("images", "masks"):
            (folder / "train" / kind / f"{place}.png").unlink()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_broken_png, r"images/2\.png cannot be read as PNG"),
        (_jpeg, r"masks/2\.png cannot be read as PNG"),
        (_no_mask, r"masks/1\.png is missing"),
        (_small_mask, r"test/masks/3\.png is 5 x 4, its image 20 x 24"),
        (_small_image, r"images/4\.png is 5 x 4 x 3, the first image 20 x 24 x 3"),
        (_coloured, r"masks/0\.png is no mask: it has colours"),
        (_no_part, "needs the folders train, and val or test"),
        (_no_image, r"train/masks/3\.png has no image"),
        (_two_of_a_name, r"images/3\.png has the name of 3\.PNG"),
        (_deep_image, r"test/images/2\.png has more than 8 bits"),
        (_deep_label, r"test/masks/2\.png: label 300 is not in 0 to 254"),
        (_one_image, "has 1 train image"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder, breaks, said):
    breaks(folder)
    with pytest.raises(ValueError, match=said) as caught:
        load(f"folder:{folder}")
    assert "\n" not in str(caught.value)


def test_deep_masks_and_upper_case_names_are_read_and_the_home_folder_found(folder, monkeypatch):
    images = folder / "train" / "images"
    (images / "3.png").rename(images / "3.PNG")
    save(folder / "train" / "masks" / "2.png", arrays()[1][2].astype(np.uint16))
    monkeypatch.setenv("HOME", str(folder))
    found = load("folder:~")
    assert len(found.data.train) == 5 and found.classes == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 2}, r"masks\.npz: train_mask\[0\]: label 2 is not in 0 to 1"),
        ({"classes": 5}, "no train pixel of label 3, 4"),
        ({"names": ["a", "b"]}, "label 2 is not in 0 to 1"),
        ({"names": ["a", "b", "c"], "classes": 2}, "3 of them for 2 classes"),
        ({"names": ["a", "b", "a"]}, "names: 'a' is there twice"),
        ({"names": ["a"]}, "names: 2 to 255 of them, not 1"),
        ({"stride": 16}, "needs at least 32 x 32"),
        ({"images": 7}, "images: train has 6, not 7"),
        ({"val_images": 99}, "val_images: val has 6"),
    ],
)
def test_what_is_wrong_with_arrays_is_said(tmp_path, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        load(npz(tmp_path), **options)
    assert "\n" not in str(caught.value)


def test_labels_without_masks_and_masks_of_another_size_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has labels, no masks"):
        load("digits")
    image, mask = arrays()
    np.savez(tmp_path / "a.npz", train_image=image, train_mask=mask[:, 1:], val_image=image, val_mask=mask)
    with pytest.raises(ValueError, match=r"a\.npz.*\(6, 3, 20, 24\).*\(6, 19, 24\)"):
        load(f"npz:{tmp_path / 'a.npz'}")


def test_class_weights():
    masks = torch.tensor([0, 0, 0, 0, 1, 1, 2, VOID])
    assert weights_of(masks, 3, "none") is None
    assert weights_of(masks, 3, "balanced").tolist() == pytest.approx([0.5**0.5, 1, 2**0.5])
    assert weights_of(masks, 3, [1, 0, 2]).tolist() == [1, 0, 2]
    for wrong in ([1, 2], [0, 0, 0], [1, -1, 1], [1, float("inf"), 1], [1, float("nan"), 1]):
        with pytest.raises(ValueError, match="class_weights: 3 finite numbers from 0 up, not all of them 0"):
            weights_of(masks, 3, wrong)


def test_masks_move_with_their_images():
    image = torch.randint(1, 255, (20, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = image[:, 0].long() % 3
    flipped, its = Moves(flip=True)(image, mask, np.random.default_rng(0))
    assert (flipped[:, 0].long() % 3 == its).all()
    turned = [torch.equal(one, two) for one, two in zip(flipped, image, strict=True)]
    assert 0 < sum(turned) < 20
    squares = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    squares[:, :, 8:20, 10:22] = 255
    moved, its = Moves(scale=0.3, rotate=30, shift=0.2)(squares, squares[:, 0].long() // 255, np.random.default_rng(1))
    same = (moved[:, 0] > 127) == (its == 1)
    assert same.float().mean() > 0.97 and (its == VOID).any() and not torch.equal(moved, squares)
    again = Moves(scale=0.3, rotate=30, shift=0.2)(squares, squares[:, 0].long() // 255, np.random.default_rng(1))
    assert torch.equal(again[0], moved) and torch.equal(again[1], its)
