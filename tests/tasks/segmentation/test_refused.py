"""Data that cannot work, by the command line: exit code 2, one line that names the file, nothing written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from automl_ext.cli import main

CONFIG = "env: {id: automl_ext/Segmentation-v0, dataset: none}\nsearcher: random\ntrials: 2\n"
SIZE = (20, 24)


def arrays(file, change=lambda arrays: None, size=SIZE):
    """An npz file with three classes."""
    rng, made = np.random.default_rng(0), {}
    for part in ("train", "val"):
        made[f"{part}_image"] = rng.integers(0, 256, (6, *size, 3), np.uint8)
        made[f"{part}_mask"] = rng.integers(0, 3, (6, *size), np.uint8)
    change(made)
    np.savez(file, **made)


def other_size(made):
    made["val_mask"] = made["val_mask"][:, 1:]


def wrong_label(made):
    made["val_mask"][4, 3, 5] = 7


@pytest.mark.parametrize(
    ("change", "size", "option", "said"),
    [
        (other_size, SIZE, None, "labels of images (6, 3, 20, 24) must be (n,) or (n, h, w) int64, not (6, 19, 24)"),
        (wrong_label, SIZE, "classes=3", "a.npz: val_mask[4]: label 7 is not in 0 to 2"),
        (dict, SIZE, "classes=5", "no train pixel of label 3, 4"),
        (dict, (6, 24), None, "images of 6 x 24, and an output stride of 4 needs at least 8 x 8"),
        (dict, SIZE, "output_stride=16", "images of 20 x 24, and an output stride of 16 needs at least 32 x 32"),
    ],
)
def test_arrays(tmp_path, capsys, change, size, option, said):
    arrays(tmp_path / "a.npz", change, size)
    found = refused(tmp_path, capsys, "npz:a.npz", *([option] if option else []))
    assert "a.npz" in found and said in found


def test_a_file_of_a_folder(tmp_path, capsys):
    for part in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / part / kind).mkdir(parents=True)
            for place in range(3):
                Image.fromarray(np.full(SIZE, place, np.uint8)).save(tmp_path / part / kind / f"{place}.png")
    file = tmp_path / "val" / "masks" / "1.png"
    file.write_bytes(file.read_bytes()[:50])
    assert "val/masks/1.png cannot be read as PNG" in refused(tmp_path, capsys, "folder:.")


def refused(folder, capsys, dataset, *options):
    """The one line."""
    (folder / "given.yaml").write_text(CONFIG)
    given = [f"env.root={folder}", f"env.dataset={dataset}", *(f"env.{option}" for option in options)]
    sets = [word for each in given for word in ("--set", each)]
    code = main(["run", str(folder / "given.yaml"), *sets, "--workers", "0", "--out", str(folder / "runs")])
    out, error = capsys.readouterr()
    assert code == 2 and not out and not (folder / "runs").exists()
    (line,) = error.splitlines()
    return line
