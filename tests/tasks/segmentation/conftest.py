"""A small environment, prepared once."""

from __future__ import annotations

import pytest

from automl_ext import make

SMALL = {
    "images": 16, "val_images": 8, "width": 0.25, "wide": 16, "filters": 8, "epochs": 1, "backbone_epochs": 1,
    "output_stride": 8, "decoder": 4, "batch": 8, "class_weights": "none",
}  # fmt: skip
ID = "automl_ext/Segmentation-v0"


@pytest.fixture(scope="session")
def small():
    """small(**options) -> an environment that trains in no time."""
    return lambda **options: make(ID, **{**SMALL, **options}).unwrapped


@pytest.fixture(scope="session")
def options():
    return SMALL


@pytest.fixture(scope="session")
def env(small):
    return small()


@pytest.fixture(scope="session")
def shared(env, tmp_path_factory):
    """What `prepare` leaves."""
    folder = tmp_path_factory.mktemp("shared")
    env.prepare(folder)
    return folder
