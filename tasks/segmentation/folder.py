"""Images and masks as PNG files.

FOLDER/train/images/a.png  FOLDER/train/masks/a.png  ...  FOLDER/val/...  FOLDER/test/...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from automl_ext.data import DataError, Split

__all__ = ["folder_parts"]

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of one channel of more than 8 bits."""


def folder_parts(folder: Path) -> tuple[dict[str, Split], dict[str, list[Path]]]:
    """Train, and val or test or both; and the files of their masks, in the same order. Raises DataError."""
    found = [part for part in ("train", "val", "test") if (folder / part).is_dir()]
    if "train" not in found or len(found) < 2:
        raise DataError(f"{folder}: needs the folders train, and val or test, each with images/ and masks/")
    parts: dict[str, Split] = {}
    files: dict[str, list[Path]] = {}
    size: tuple[int, ...] | None = None
    for part in found:
        pairs = _pairs(folder / part)
        files[part] = [mask for _, mask in pairs]
        parts[part], size = _split(pairs, size)
    return parts, files


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Each image below images/ with the mask of the same name below masks/."""
    images, masks = _pngs(folder / "images"), _pngs(folder / "masks")
    if not images:
        raise DataError(f"{folder / 'images'} has no PNG files")
    for stem, file in images.items():
        if stem not in masks:
            raise DataError(f"{folder / 'masks' / file.name} is missing: every image needs a mask of the same name")
    for stem, file in masks.items():
        if stem not in images:
            raise DataError(f"{file} has no image: {folder / 'images' / file.name} is missing")
    return [(file, masks[stem]) for stem, file in images.items()]


def _pngs(folder: Path) -> dict[str, Path]:
    """By name without ending, in the order of names."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix.lower() == ".png":
            if file.stem in found:
                raise DataError(f"{file} has the name of {found[file.stem].name}: rename one of the two")
            found[file.stem] = file
    return found


def _split(pairs: Sequence[tuple[Path, Path]], size: tuple[int, ...] | None) -> tuple[Split, tuple[int, ...]]:
    """What the files hold. size: (h, w, channels) that all images have, None: of the first."""
    images, masks = [], []
    for file, where in pairs:
        image, mask = _image(file), _mask(where)
        size = size or image.shape
        if image.shape != size:
            raise DataError(f"{file} is {_said(image.shape)}, the first image {_said(size)}: all have to be alike")
        if mask.shape != image.shape[:2]:
            raise DataError(f"{where} is {_said(mask.shape)}, its image {_said(image.shape[:2])}")
        images.append(image)
        masks.append(mask)
    first = np.ascontiguousarray(np.moveaxis(np.stack(images), 3, 1))
    return Split(torch.from_numpy(first), torch.from_numpy(np.stack(masks))), size or ()


def _image(file: Path) -> NDArray[np.uint8]:
    """(h, w, c), grey or RGB."""
    mode, pixels = _read(file, grey=False)
    if mode in (*DEEP, "F"):
        raise DataError(f"{file} has more than 8 bits a pixel ({mode}): scale it to 8, images are read as 0 to 255")
    made = pixels.astype(np.uint8)
    return made if made.ndim == 3 else made[..., None]


def _mask(file: Path) -> NDArray[np.int64]:
    """(h, w) tones, or colour numbers of a palette."""
    mode, pixels = _read(file, grey=True)
    if mode not in ("L", "P", "1", *DEEP):
        raise DataError(f"{file} is no mask: it has colours ({mode}) and not one label a pixel")
    return pixels.astype(np.int64)


def _read(file: Path, grey: bool) -> tuple[str, NDArray[np.generic]]:
    """Pillow's mode, and the pixels: as they stand, or else in grey or RGB."""
    from PIL import Image

    try:
        with Image.open(file, formats=["PNG"]) as opened:
            wanted = opened if grey else opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB")
            return opened.mode, np.asarray(wanted)
    except Exception as error:  # a damaged file raises any of a dozen types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} cannot be read as PNG: {reason}") from None


def _said(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
