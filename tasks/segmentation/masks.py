"""Images with masks: data sets of automl_ext.data, or a folder of PNG pairs; checked before anything is trained.

    FOLDER/train/images/a.png  FOLDER/train/masks/a.png  ...  FOLDER/val/...  FOLDER/test/...

val is split off train where it is missing; the second of two parts is the test part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from automl_ext.tasks.segmentation.operations import SegmentationError
from automl_ext.tasks.segmentation.scores import VOID
from numpy.typing import NDArray

from automl_ext.data import Data, DataError, Split, load, split_off

__all__ = ["Masked", "loaded", "weights_of"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Masked:
    """data: labels are masks 0 to classes - 1, and VOID. names: of the classes."""

    data: Data
    names: tuple[str, ...]

    @property
    def classes(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.data.train.image.shape[1:]
        return int(channels), int(height), int(width)


def loaded(
    name: str, root: str | None, seed: int, void: int | None, classes: int | None, names: Sequence[str] | None,
    images: int | None, val_images: int | None, stride: int,
) -> Masked:  # fmt: skip
    """The data set `name`: as automl_ext.data takes it, or folder:PATH.

    void: the label of pixels that count nowhere; labels above it move down by one. classes: how many, else counted.
    images, val_images: how many of train and val, drawn by the seed, else all. stride: of the features, which images
    have to be larger than. Raises SegmentationError or DataError, one line.
    """
    data = _folder(Path(root or ".") / name.removeprefix("folder:"), seed) if name.startswith("folder:") else None
    data = data or load(name, root=root, seed=seed)
    if data.train.label.ndim == 1:
        raise SegmentationError(f"dataset: {name!r} has labels, no masks")
    height, width = data.train.image.shape[2:]
    if min(height, width) < 2 * stride:
        raise SegmentationError(
            f"dataset: {name!r} has images of {height} x {width}, and an output stride of {stride} needs at least "
            f"{2 * stride} x {2 * stride}; set output_stride to 4, 8 or 16"
        )
    parts = {part: _without_void(getattr(data, part), void) for part in ("train", "val", "test")}
    count = _counted(name, parts, classes, names)
    parts = {part: _fewer(split, limit, part, seed) for (part, split), limit in
             zip(parts.items(), (images, val_images, None), strict=True)}  # fmt: skip
    present = torch.bincount(parts["train"].label[parts["train"].label != VOID].flatten(), minlength=count)
    if (present == 0).any():
        missing = ", ".join(str(int(each)) for each in torch.nonzero(present == 0).flatten())
        raise SegmentationError(f"dataset: {name!r} has no train pixel of class {missing} (of 0 to {count - 1})")
    known = tuple(names) if names else _names(name, count)
    return Masked(replace(data, train=parts["train"], val=parts["val"], test=parts["test"], classes=count), known)


def weights_of(masks: torch.Tensor, classes: int, kind: str | Sequence[float]) -> torch.Tensor | None:
    """(classes,) of the loss. none; balanced; or numbers.

    balanced: the root of the classes' median share of pixels over each one's share, at most 10. Without the root (Eigen
    & Fergus 2015, arXiv 1411.4734) the background counts so little that every stroke grows into it.
    """
    if kind == "none":
        return None
    if kind == "balanced":
        counts = torch.bincount(masks[masks != VOID].flatten(), minlength=classes).double()
        return (counts.median() / counts).sqrt().clamp(max=10).float()
    values = torch.tensor([float(value) for value in kind])
    if len(values) != classes or not bool((values >= 0).all()) or not bool((values > 0).any()):
        raise SegmentationError(f"class_weights: {classes} numbers from 0 up, not {list(kind)}")
    return values


def _without_void(split: Split, void: int | None) -> Split:
    """Void as VOID; labels above it one lower."""
    if void is None:
        return split
    label = split.label - (split.label > void).long()
    return Split(split.image, torch.where(split.label == void, VOID, label))


def _counted(name: str, parts: dict[str, Split], classes: int | None, names: Sequence[str] | None) -> int:
    known = {part: split.label[split.label != VOID] for part, split in parts.items()}
    for part, labels in known.items():
        if not len(labels):
            raise SegmentationError(f"dataset: {name!r} has no pixel in {part} that is not void")
    highest = max(int(labels.max()) for labels in known.values())
    count = len(names) if names else classes if classes else highest + 1
    if classes and names and classes != len(names):
        raise SegmentationError(f"names: {len(names)} of them for {classes} classes")
    if not 2 <= count <= VOID:
        raise SegmentationError(f"classes: 2 to {VOID}, not {count}")
    for part, split in parts.items():
        wrong = (split.label != VOID) & ((split.label < 0) | (split.label >= count))
        if wrong.any():
            index = int(torch.nonzero(wrong.flatten(1).any(1))[0])
            label = int(split.label[index][wrong[index]][0])
            raise SegmentationError(
                f"dataset: {name!r}, {part} mask {index}: label {label} is not in 0 to {count - 1}"
                " (a label without meaning can be named by void)"
            )
    return count


def _fewer(split: Split, limit: int | None, part: str, seed: int) -> Split:
    if limit is None or limit == len(split):
        return split
    if limit > len(split):
        raise SegmentationError(
            f"{'images' if part == 'train' else 'val_images'}: {part} has {len(split)}, not {limit}"
        )
    order = torch.from_numpy(np.random.default_rng((seed, len(split))).permutation(len(split))[:limit])
    return split[order.sort().values]


def _names(name: str, count: int) -> tuple[str, ...]:
    from automl_ext.scenes import CLASSES

    return CLASSES if name == "digits-scenes" else tuple(f"class {number}" for number in range(count))


def _folder(folder: Path, seed: int) -> Data:
    """The parts below a folder."""
    found = [part for part in ("train", "val", "test") if (folder / part).is_dir()]
    if "train" not in found or len(found) < 2:
        raise DataError(f"{folder}: needs the folders train, and val or test, each with images/ and masks/")
    parts: dict[str, Split] = {}
    size: tuple[int, ...] | None = None
    for part in found:
        parts[part], size = _pairs(folder / part, size)
    if "test" not in parts:
        parts["test"] = parts.pop("val")
    if "val" not in parts:
        parts["train"], parts["val"] = split_off(parts["train"], 0.2, seed)
    return Data.of(parts["train"], parts["val"], parts["test"])


def _pairs(folder: Path, size: tuple[int, ...] | None) -> tuple[Split, tuple[int, ...]]:
    """images/*.png with masks/*.png of the same names. size: (h, w, channels) that all have, None: of the first."""
    files = sorted((folder / "images").glob("*.png"))
    if not files:
        raise DataError(f"{folder / 'images'} has no PNG files")
    images, masks = [], []
    for file in files:
        image, mask = _read(file, grey=False), _read(folder / "masks" / file.name, grey=True)
        size = size or image.shape
        if image.shape != size:
            raise DataError(f"{file} is {_said(image.shape)}, the first image {_said(size)}: all have to be alike")
        if mask.shape != image.shape[:2]:
            where = folder / "masks" / file.name
            raise DataError(f"{where} is {_said(mask.shape)}, its image {_said(image.shape[:2])}")
        images.append(image)
        masks.append(mask)
    first = np.ascontiguousarray(np.moveaxis(np.stack(images), 3, 1))
    return Split(torch.from_numpy(first), torch.from_numpy(np.stack(masks).astype(np.int64))), size or ()


def _read(file: Path, grey: bool) -> NDArray[np.uint8]:
    """(h, w, c) of an image in RGB, or (h, w) of a mask, whose tones (or colour numbers of a palette) are labels."""
    from PIL import Image

    if not file.is_file():
        raise DataError(f"{file} is missing: every image needs a mask of the same name")
    try:
        with Image.open(file) as opened:
            if grey and opened.mode not in ("L", "P", "1"):
                raise DataError(f"{file} is no mask: it has colours ({opened.mode}) and not one label a pixel")
            wanted = opened if grey else opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB")
            pixels = np.asarray(wanted).astype(np.uint8)
    except DataError:
        raise
    except Exception as error:  # a damaged file raises any of a dozen types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} cannot be read as PNG: {reason}") from None
    return pixels if grey or pixels.ndim == 3 else pixels[..., None]


def _said(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
