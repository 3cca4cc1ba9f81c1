"""Data sets: shapes, splits by seed, files of others, and one line for what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_ext.data import DataError, load, normalise


def test_digits_come_with_scikit_learn_and_split_by_seed():
    data = load("digits", seed=1)
    parts = [data.train, data.val, data.test]
    assert sum(len(part) for part in parts) == 1797 and data.classes == 10
    assert all(part.image.dtype == torch.uint8 and part.image.shape[1:] == (1, 8, 8) for part in parts)
    again, other = load("digits", seed=1), load("digits", seed=2)
    assert torch.equal(again.train.image, data.train.image)
    assert not torch.equal(other.train.image, data.train.image)


def test_normalised_training_images_have_mean_zero_and_deviation_one():
    data = load("digits")
    images = normalise(data.train.image, data.mean, data.std, torch.device("cpu"))
    assert abs(float(images.mean())) < 1e-3 and abs(float(images.std()) - 1) < 1e-2


def test_an_npz_file_of_two_parts_gives_its_second_to_test(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "train_image": rng.integers(0, 255, (60, 4, 4, 3), dtype=np.uint8),
        "train_label": np.arange(60, dtype=np.uint8) % 3,
        "val_image": rng.integers(0, 255, (20, 4, 4, 3), dtype=np.uint8),
        "val_label": np.arange(20, dtype=np.uint8) % 3,
    }
    np.savez(tmp_path / "small.npz", **arrays)
    data = load(f"npz:{tmp_path / 'small.npz'}")
    assert len(data.test) == 20 and len(data.train) + len(data.val) == 60 and len(data.val) > 0
    assert np.array_equal(data.test.image.permute(0, 2, 3, 1).numpy(), arrays["val_image"])


@pytest.mark.parametrize("name", ["no-such-set", "npz:/nowhere/file.npz", "no_module:function"])
def test_a_missing_data_set_is_one_line(name):
    with pytest.raises(DataError) as caught:
        load(name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 10


def test_fashion_mnist_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        load("fashion-mnist", root=str(tmp_path))
