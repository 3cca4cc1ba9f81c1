"""Pictures of predictions and fields: readable, and never too large for a report."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from automl_ext.tasks.segmentation.illustrate import UNSEEN, draw_fields
from automl_ext.tasks.segmentation.network import Shape
from automl_ext.tasks.segmentation.operations import Op
from automl_ext.tasks.segmentation.overlay import draw_overlays
from automl_ext.tasks.segmentation.space import Branch
from PIL import Image

from automl_ext.report.page import pictures


def drawn(folder, images):
    """The coded images of a picture with three masks an image."""
    masks = (images[:, 0].long() // 32).clamp(max=6)
    folder.mkdir(parents=True)
    draw_overlays(images, dict.fromkeys(("truth", "found", "aspp"), masks), "abcdefg", "", folder / "predictions.svg")
    text = (folder / "predictions.svg").read_text()
    coded = re.findall(r"data:image/(\w+);base64,([^\"]+)", text)
    return [(kind, Image.open(io.BytesIO(base64.b64decode(data)))) for kind, data in coded]


def noise(channels, *size):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, channels, *size), dtype=torch.uint8, generator=generator)


def test_small_images_are_shown_pixel_by_pixel(tmp_path):
    images = noise(1, 24, 32)
    found = drawn(tmp_path / "a", images)
    assert len(found) == 5 * 4 and {kind for kind, _ in found} == {"png"}
    assert (np.asarray(found[0][1].convert("L")) == images[0, 0].numpy()).all()


@pytest.mark.parametrize("size", [(120, 160), (160, 120), (512, 640), (70, 1000), (600, 100)])
def test_noise_of_any_size_fits_into_a_report(tmp_path, size):
    found = drawn(tmp_path / "best" / "pictures", noise(3, *size))
    assert {kind for kind, _ in found} == {"jpeg"} and max(image.width for _, image in found) <= 180
    for _, image in found:
        assert image.width / image.height == pytest.approx(size[1] / size[0], rel=0.1)
    (entry,) = pictures(tmp_path)
    assert entry["address"], entry["caption"]


def test_fields_of_a_large_map_fit_too(tmp_path):
    shape = Shape((3, 480, 640), 4, 4, 2, 0.25, 16, 8)
    cell = tuple(Branch(source, Op("pool", 4, 8)) for source in range(5))
    (tmp_path / "best" / "pictures").mkdir(parents=True)
    draw_fields(cell, shape, tmp_path / "best" / "pictures" / "fields.svg")
    (entry,) = pictures(tmp_path)
    assert entry["address"], entry["caption"]


def test_a_field_is_grey_where_nothing_is_seen(tmp_path):
    shape = Shape((3, 32, 48), 4, 4, 2, 0.25, 16, 8)
    draw_fields((Branch(0, Op("3x3", 2, 3)),), shape, tmp_path / "fields.svg")
    (data,) = re.findall(r"base64,([^\"]+)", (tmp_path / "fields.svg").read_text())
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert pixels.shape == (8, 12, 3)
    assert {*zip(*np.nonzero((pixels != UNSEEN).any(2)), strict=True)} == {(r, c) for r in (2, 4, 6) for c in (3, 6, 9)}
