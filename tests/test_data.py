"""Data sets: shapes, splits by seed, files of others, and one line for what is missing or damaged."""

from __future__ import annotations

import contextlib
import gzip
import io
import subprocess
import sys

import numpy as np
import pytest
import torch

from automl_ext.data import DATASETS, Data, DataError, Split, load, normalise, split_off


def arrays(part: str, count: int, kind: str = "label", channels: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Random images 5x4 with labels 0..2, `kind` label or mask."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % 3 if kind == "label" else rng.integers(0, 3, (count, 5, 4))
    image = rng.integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)
    return {f"{part}_image": image, f"{part}_{kind}": label.astype(np.uint8)}


def saved(folder, *parts: dict[str, np.ndarray], **more: np.ndarray) -> str:
    np.savez(folder / "some.npz", **{name: array for part in parts for name, array in part.items()}, **more)
    return f"npz:{folder / 'some.npz'}"


def rows(*splits: Split) -> list[bytes]:
    """Images with their labels as bytes, sorted: what is there, whatever the order."""
    return sorted(
        image.numpy().tobytes() + label.numpy().tobytes()
        for split in splits
        for image, label in zip(split.image, split.label, strict=True)
    )


def one_line(name: str, **options) -> str:
    with pytest.raises(DataError) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_digits_come_with_scikit_learn_and_split_by_seed():
    data = load("digits", seed=1)
    parts = [data.train, data.val, data.test]
    assert sum(len(part) for part in parts) == 1797
    assert data.classes == 10
    assert all(part.image.shape[1:] == (1, 8, 8) and int(part.image.max()) == 255 for part in parts)
    again, other = load("digits", seed=1), load("digits", seed=2)
    assert torch.equal(again.train.image, data.train.image)
    assert rows(other.val) != rows(data.val)
    assert torch.equal(other.test.image, data.test.image), "a test image never becomes a training image"


def test_a_part_is_split_off_class_by_class_and_nothing_is_lost():
    label = torch.tensor([0] * 40 + [1] * 20 + [2] * 10)
    whole = Split(torch.arange(70, dtype=torch.uint8)[:, None, None, None], label)
    stays, off = split_off(whole, 0.3, seed=5)
    assert torch.bincount(off.label).tolist() == [12, 6, 3]
    assert rows(stays, off) == rows(whole)
    assert not torch.equal(stays.label, stays.label.sort().values), "shuffled, so that a slice is a sample"
    with pytest.raises(DataError, match="too few"):
        split_off(whole[:2], 0.1, seed=0)


def test_moments_are_numpys_over_the_train_part_alone(tmp_path):
    first, second, third = arrays("train", 2001), arrays("val", 9, seed=1), arrays("test", 9, seed=2)
    data = load(saved(tmp_path, first, second, third))
    pixels = first["train_image"] / 255
    assert data.mean == pytest.approx(tuple(pixels.mean((0, 1, 2))), abs=1e-12)
    assert data.std == pytest.approx(tuple(pixels.std((0, 1, 2))), abs=1e-12)
    ours = normalise(data.train.image, data.mean, data.std)
    assert ours.dtype == torch.float32
    theirs = (np.moveaxis(pixels, 3, 1) - np.array(data.mean)[:, None, None]) / np.array(data.std)[:, None, None]
    assert np.allclose(ours.numpy(), theirs, atol=1e-5)


def test_a_channel_that_never_changes_is_not_divided_by_zero():
    split = Split(torch.full((3, 1, 2, 2), 7, dtype=torch.uint8), torch.tensor([0, 1, 1]))
    data = Data.of(split, split, split)
    assert data.std == (1.0,)
    assert float(normalise(split.image, data.mean, data.std).abs().max()) < 1e-6


def test_an_npz_file_of_three_parts_keeps_them(tmp_path):
    parts = [arrays("train", 30), arrays("val", 7, seed=1), arrays("test", 8, seed=2)]
    data = load(saved(tmp_path, *parts), val_fraction=0.5, seed=3)
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        part = next(part for part in parts if f"{name}_image" in part)
        assert np.array_equal(split.image.permute(0, 2, 3, 1).numpy(), part[f"{name}_image"])
        assert split.label.tolist() == part[f"{name}_label"].tolist()


@pytest.mark.parametrize("second", ["val", "test"])
@pytest.mark.parametrize("kind", ["label", "mask"])
def test_of_two_parts_the_second_is_the_test_part(tmp_path, second, kind):
    train, other = arrays("train", 60, kind), arrays(second, 20, kind, seed=1)
    data = load(saved(tmp_path, train, other), val_fraction=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (45, 15, 20)
    assert np.array_equal(data.test.image.permute(0, 2, 3, 1).numpy(), other[f"{second}_image"])
    assert np.array_equal(data.test.label.numpy(), other[f"{second}_{kind}"])
    image, label = (torch.from_numpy(train[f"train_{name}"]) for name in ("image", kind))
    assert rows(data.train, data.val) == rows(Split(image.permute(0, 3, 1, 2), label.long()))


def test_a_path_may_be_relative_to_root_and_images_grey(tmp_path):
    grey = {name: array[..., 0] if "image" in name else array for name, array in arrays("train", 9).items()}
    saved(tmp_path, grey, arrays("test", 3, channels=1))
    assert load("npz:some.npz", root=tmp_path).train.image.shape[1:] == (1, 5, 4)


def test_wrong_arrays_are_named(tmp_path):
    good, test = arrays("train", 12), arrays("test", 3)
    assert "train_image" in one_line(saved(tmp_path, test))
    assert "val_image or test_image" in one_line(saved(tmp_path, good))
    assert "train_label or train_mask" in one_line(saved(tmp_path, {"train_image": good["train_image"]}, test))
    assert "uint8" in one_line(saved(tmp_path, {**good, "train_image": good["train_image"] / 255}, test))
    assert "(5,)" in one_line(saved(tmp_path, {**good, "train_label": np.arange(5)}, test))
    assert "different shapes" in one_line(saved(tmp_path, good, arrays("test", 3, channels=1)))
    assert "labels must lie in" in one_line(saved(tmp_path, {**good, "train_label": np.arange(12) % 3 - 1}, test))
    pickled = {**good, "train_label": np.array([object()] * 12)}
    assert "pickle" in one_line(saved(tmp_path, pickled, test))


def test_a_damaged_file_is_one_line(tmp_path):
    file = tmp_path / "some.npz"
    name = saved(tmp_path, arrays("train", 12), arrays("test", 3))
    whole = file.read_bytes()
    for cut in range(0, len(whole), 97):
        file.write_bytes(whole[:cut])
        assert str(file) in one_line(name)
    rng = np.random.default_rng(0)
    for _ in range(200):
        junk = bytearray(whole)
        for place in rng.integers(0, len(junk), 20):
            junk[place] = rng.integers(256)
        file.write_bytes(junk)
        with contextlib.suppress(DataError):  # anything else fails, an archive left open too
            load(name)
    array = io.BytesIO()
    np.save(array, np.arange(3))
    for other in (array.getvalue(), b"hello, world"):
        file.write_bytes(other)
        assert one_line(name) == f"{file}: is no npz file"


def idx(array: np.ndarray) -> bytes:
    """As its authors describe the format: magic number, sizes, bytes, all big-endian."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def test_fashion_mnist_is_read_from_idx_files(tmp_path):
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (50, 28, 28)), np.arange(50) % 10
    for prefix, part in (("train", slice(0, 40)), ("t10k", slice(40, 50))):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(image[part]))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(label[part]))
    data = load("fashion-mnist", root=tmp_path, val_fraction=0.25)
    assert (len(data.train), len(data.val), data.classes) == (30, 10, 10)
    assert np.array_equal(data.test.image[:, 0].numpy(), image[40:])
    assert data.test.label.tolist() == label[40:].tolist()
    file = tmp_path / "t10k-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    for broken in (b"", b"junk", whole[:-5], gzip.compress(gzip.decompress(whole)[:-1]), idx(image[:2])):
        file.write_bytes(broken)
        assert str(file) in one_line("fashion-mnist", root=tmp_path)


def test_fashion_mnist_says_how_to_get_it(tmp_path):
    assert "apt-get install dataset-fashion-mnist" in one_line("fashion-mnist", root=tmp_path)


def test_a_users_function(tmp_path, monkeypatch):
    (tmp_path / "my_sets.py").write_text(
        "from automl_ext.data import load\nsmall = lambda: load('digits')\nmany = int\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("my_sets:small").classes == 10
    assert "returned int" in one_line("my_sets:many")
    assert "no function 'none'" in one_line("my_sets:none")
    assert "no module 'my_other'" in one_line("my_other:small")


@pytest.mark.parametrize("name", ["no-such-set", "npz:/nowhere/file.npz", "npz:", "npz:\0", "a b:c", ".a:b", ":", ""])
def test_a_name_that_means_nothing_is_one_line(name):
    assert len(one_line(name)) > 10


def test_a_near_miss_is_answered_with_the_name():
    assert "did you mean digits?" in one_line("digit")


def test_the_table_of_names_does_not_import_torch():
    code = "import sys, automl_ext.data as data; print(*data.DATASETS); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(DATASETS)
