"""Images with masks: data sets of automl_ext.data, or a folder of PNG pairs; checked before anything is trained.

val is split off train where it is missing; the second of two parts is the test part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from automl_ext.tasks.segmentation.folder import folder_parts
from automl_ext.tasks.segmentation.labels import Labels, Where
from automl_ext.tasks.segmentation.operations import SegmentationError
from automl_ext.tasks.segmentation.scores import VOID

from automl_ext.data import Data, DataError, Split, joined, load, located, npz_parts

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
    labels = Labels(void, classes, names)
    parts, where, whole = _read(name, root, seed)
    if any(split.label.ndim == 1 for split in parts.values()):
        raise SegmentationError(f"dataset: {name!r} has labels, no masks")
    height, width = parts["train"].image.shape[2:]
    if min(height, width) < 2 * stride:
        raise SegmentationError(
            f"dataset: {name!r} has images of {height} x {width}, and an output stride of {stride} needs at least "
            f"{2 * stride} x {2 * stride}; set output_stride to 4, 8 or 16"
        )
    count = labels.counted(name, parts, where)
    data = whole or _joined(name, parts, seed)
    train, val = _fewer(data.train, images, "train", seed), _fewer(data.val, val_images, "val", seed)
    train, val, test = (labels.moved(split) for split in (train, val, data.test))
    data = replace(data, train=train, val=val, test=test, classes=count)
    if len(data.train) < 2:
        raise SegmentationError(f"dataset: {name!r} has 1 train image, and batches need 2")
    _check_present(name, data, labels)
    return Masked(data, tuple(names) if names else _names(name, count, void))


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
    if len(values) != classes or not bool(((values >= 0) & values.isfinite()).all()) or not bool((values > 0).any()):
        raise SegmentationError(
            f"class_weights: {classes} finite numbers from 0 up, not all of them 0, not {list(kind)}"
        )
    return values


def _read(name: str, root: str | None, seed: int) -> tuple[dict[str, Split], Where, Data | None]:
    """The parts as they are stored, what messages call their masks, and the data set where it came as a whole."""
    if name.startswith("folder:"):
        parts, files = folder_parts(located(name, root))
        return parts, lambda part, place: str(files[part][place]), None
    if name.startswith("npz:"):
        file = located(name, root)
        return npz_parts(file), lambda part, place: f"{file}: {part}_mask[{place}]", None
    data = load(name, root=root, seed=seed)
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return parts, lambda part, place: f"dataset: {name!r}, {part} mask {place}", data


def _joined(name: str, parts: dict[str, Split], seed: int) -> Data:
    try:
        return joined(parts, 0.2, seed)
    except DataError as error:
        raise DataError(f"dataset: {name!r}: {error}") from None


def _check_present(name: str, data: Data, labels: Labels) -> None:
    """SegmentationError where train has no pixel of a class, or a part none of any."""
    for part in ("train", "val", "test"):
        if not (getattr(data, part).label != VOID).any():
            raise SegmentationError(f"dataset: {name!r} has no pixel in {part} that is not void")
    label = data.train.label
    present = torch.bincount(label[label != VOID].flatten(), minlength=data.classes)
    if (present == 0).any():
        missing = ", ".join(str(labels.label(int(each))) for each in torch.nonzero(present == 0).flatten())
        raise SegmentationError(
            f"dataset: {name!r} has no train pixel of label {missing} (of 0 to {labels.label(data.classes - 1)}; "
            f"{VOID} is always void)"
        )


def _fewer(split: Split, limit: int | None, part: str, seed: int) -> Split:
    if limit is None or limit == len(split):
        return split
    if limit > len(split):
        raise SegmentationError(
            f"{'images' if part == 'train' else 'val_images'}: {part} has {len(split)}, not {limit}"
        )
    order = torch.from_numpy(np.random.default_rng((seed, len(split))).permutation(len(split))[:limit])
    return split[order.sort().values]


def _names(name: str, count: int, void: int | None) -> tuple[str, ...]:
    from automl_ext.scenes import CLASSES

    if name == "digits-scenes":
        return tuple(each for label, each in enumerate(CLASSES) if label != void)
    return tuple(f"class {number}" for number in range(count))
