"""Data sets in memory: uint8 images, integer labels or masks, split into train, val and test.

Test parts are the same for every seed; a validation part that a data set does not bring is split off its train part
by the seed. Importing this module, and its table of names, does not import torch.
"""

from __future__ import annotations

import gzip
import importlib
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    Indices = slice | Tensor


class DataError(ValueError):
    """A data set that is missing or not what it should be; one line that says what to do."""


@dataclass(frozen=True)
class Source:
    """What `automl-ext list` shows of a data set; distribution: the package that brings it."""

    description: str
    distribution: str


DATASETS: Mapping[str, Source] = {
    "digits": Source("1,797 handwritten digits, 1x8x8, 10 classes; nothing to download", "scikit-learn"),
    "digits-scenes": Source("1,200 scenes of digits at several sizes, 1x64x64, masks of 11 classes", "scikit-learn"),
    "fashion-mnist": Source("70,000 pieces of clothing, 1x28x28, 10 classes; idx.gz files", "dataset-fashion-mnist"),
    "npz:PATH": Source("your arrays {train,val,test}_{image,label|mask}; images (n,h,w,c) uint8", "your file"),
    "package.module:function": Source("your function, called without arguments, returns a Data", "your module"),
}
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set. image: (n, c, h, w) uint8. label: (n,) int64, or masks (n, h, w) int64.

    Raises DataError where the two are not that, or do not fit each other.
    """

    image: Tensor
    label: Tensor

    def __post_init__(self) -> None:
        import torch

        image, label = self.image, self.label
        if image.dtype != torch.uint8 or image.ndim != 4 or 0 in image.shape:
            raise DataError(f"images must be (n, c, h, w) uint8, not {tuple(image.shape)} {image.dtype}")
        if label.dtype != torch.int64 or label.shape not in (image.shape[:1], (len(image), *image.shape[2:])):
            raise DataError(
                f"labels of images {tuple(image.shape)} must be (n,) or (n, h, w) int64, "
                f"not {tuple(label.shape)} {label.dtype}"
            )

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, which: Indices) -> Split:
        """The images at a slice or at an index tensor (k,)."""
        return Split(self.image[which], self.label[which])


@dataclass(frozen=True, eq=False)
class Data:
    """A data set. classes: how many. mean, std: per channel of the train images, in units of [0, 1]."""

    train: Split
    val: Split
    test: Split
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, train: Split, val: Split, test: Split, classes: int | None = None) -> Data:
        """The data set of three parts, with the classes counted where they are not given, and mean and std measured.

        Raises DataError where the parts have images of different shapes, or a label lies outside the classes.
        """
        shapes = {tuple(part.image.shape[1:]) for part in (train, val, test)}
        if len(shapes) > 1:
            raise DataError(f"the parts have images of different shapes: {sorted(shapes)}")
        labels = [part.label for part in (train, val, test)]
        low, high = min(int(label.min()) for label in labels), max(int(label.max()) for label in labels)
        classes = high + 1 if classes is None else classes
        if low < 0 or high >= classes:
            raise DataError(f"labels must lie in 0..{classes - 1}, these lie in {low}..{high}")
        mean, std = _moments(train.image.numpy())
        return cls(train, val, test, classes, mean, std)


def load(name: str, *, root: str | Path | None = None, seed: int = 0, val_fraction: float = 0.2) -> Data:
    """The data set `name`: digits, digits-scenes, fashion-mnist, npz:PATH, or a user's package.module:function.

    root: the folder of the files (fashion-mnist), or what PATH is relative to. val_fraction: the share of train that
    becomes the validation part, chosen by seed, class by class; unused where the data set brings one.
    Raises DataError.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"val_fraction must lie between 0 and 1, not {val_fraction}")
    if name.startswith("npz:"):
        parts = npz_parts(located(name, root))
    elif name == "digits":
        parts = _digits()
    elif name == "digits-scenes":
        parts = _scenes(seed, val_fraction)
    elif name == "fashion-mnist":
        parts = _fashion_mnist(Path(root or FASHION_MNIST))
    elif ":" in name:
        return _from_function(name)
    else:
        near = get_close_matches(name, DATASETS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DATASETS)}"
        raise DataError(f"no data set {name!r}: {hint}")
    return joined(parts, val_fraction, seed)


def joined(parts: Mapping[str, Split], val_fraction: float, seed: int) -> Data:
    """The data set of train, and test or val or both: the second of two is the test part, val is then split off."""
    train, second = parts["train"], parts["test" if "test" in parts else "val"]
    if len(parts) > 2:
        return Data.of(train, parts["val"], second)
    return Data.of(*split_off(train, val_fraction, seed), second)


def located(name: str, root: str | Path | None) -> Path:
    """The PATH of a data set npz:PATH or the like, relative to root."""
    return Path(root or ".") / Path(name.partition(":")[2]).expanduser()


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """(what stays, what is split off), both shuffled; class by class where there is one label an image.

    Raises DataError where one of the two would be empty.
    """
    import torch

    order = np.random.default_rng((seed, zlib.crc32(b"split"))).permutation(len(split))
    label = split.label.numpy()[order] if split.label.ndim == 1 else np.zeros(len(split), np.int64)
    off = np.zeros(len(split), bool)
    for value in np.unique(label):
        members = np.flatnonzero(label == value)
        off[members[: math.floor(fraction * len(members) + 0.5)]] = True
    if off.all() or not off.any():
        raise DataError(f"{len(split)} images are too few to split off a fraction of {fraction}")
    return split[torch.from_numpy(order[~off])], split[torch.from_numpy(order[off])]


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], device: Any = "cpu") -> Tensor:
    """(n, c, h, w) uint8 -> float32 on `device`, each channel less its mean and divided by its std."""
    import torch

    values = images.to(device).to(torch.float32)
    scale = torch.tensor((mean, std), dtype=torch.float32).mul_(255.0).to(device)[:, :, None, None]
    return values.sub_(scale[0]).div_(scale[1])


def _moments(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std a channel of (n, c, h, w), from exact counts of the 256 values; a constant channel has std 1."""
    values = np.arange(256) / 255
    mean, std = [], []
    for channel in np.moveaxis(images, 1, 0):
        pieces = np.array_split(channel, math.ceil(len(channel) / 1000))
        share = sum(np.bincount(piece.ravel(), minlength=256) for piece in pieces) / channel.size
        mean.append(float(share @ values))
        std.append(float(np.sqrt(share @ (values - mean[-1]) ** 2)) or 1.0)
    return tuple(mean), tuple(std)


def _digits() -> dict[str, Split]:
    """A quarter of the images, always the same, is the test part."""
    import torch
    from sklearn.datasets import load_digits

    pixels, label = load_digits(return_X_y=True)
    image = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = split_off(Split(torch.from_numpy(image), torch.from_numpy(label.astype(np.int64))), 0.25, seed=0)
    return {"train": train, "test": test}


def _scenes(seed: int, val_fraction: float) -> dict[str, Split]:
    """600, 200 and 400 scenes; no digit is in two parts."""
    from automl_ext.scenes import drawn

    digits = _digits()
    train, val = split_off(digits["train"], val_fraction, seed)
    return {"train": drawn(train, 600, 0), "val": drawn(val, 200, 1), "test": drawn(digits["test"], 400, 2)}


def _fashion_mnist(folder: Path) -> dict[str, Split]:
    import torch

    parts = {}
    for part, prefix in {"train": "train", "test": "t10k"}.items():
        image = _idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
        label = _idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 1)
        parts[part] = Split(torch.from_numpy(image[:, None]), torch.from_numpy(label.astype(np.int64)))
    return parts


def _idx(file: Path, ndim: int) -> NDArray[np.uint8]:
    """The array in an idx.gz file: magic number 0x0800 + ndim, the sizes as big-endian uint32, the bytes."""
    try:
        raw = gzip.decompress(file.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"no {file}: `apt-get install dataset-fashion-mnist` brings it, or set root= to a folder of idx.gz files"
        ) from None
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{file} cannot be read: {_line(error)}") from None
    start = 4 + 4 * ndim
    sizes = struct.unpack_from(f">{ndim + 1}I", raw) if len(raw) >= start else (0,)
    if sizes[0] != 0x0800 + ndim or len(raw) - start != math.prod(sizes[1:]):
        raise DataError(f"{file} is not an idx file of {ndim} dimensions and uint8 values, or is cut short")
    return np.frombuffer(bytearray(raw), np.uint8, offset=start).reshape(sizes[1:])


def npz_parts(file: Path) -> dict[str, Split]:
    """The parts of an npz file as they are named there: train, and val or test or both. Raises DataError."""
    try:
        with file.open("rb") as opened, np.load(_archive(opened), allow_pickle=False) as arrays:
            names = [name for name in ("train", "val", "test") if f"{name}_image" in arrays.files]
            parts = {name: _npz_part(arrays, name) for name in names}
            if len({part.image.shape[1:] for part in parts.values()}) > 1:
                shapes = ", ".join(f"{name}_image {tuple(part.image.shape)}" for name, part in parts.items())
                raise DataError(f"images of different shapes (n, c, h, w): {shapes}")
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    except FileNotFoundError:
        raise DataError(f"no data file {file}: npz:PATH is relative to {Path.cwd()}, or to root=") from None
    except Exception as error:  # a damaged archive raises any of a dozen types, from zipfile, zlib, ast and tokenize
        raise DataError(f"{file} cannot be read as npz: {_line(error)}") from None
    if "train" not in parts or len(parts) < 2:
        raise DataError(f"{file}: needs train_image and val_image or test_image, has {', '.join(arrays.files) or '-'}")
    return parts


def _archive(opened: BinaryIO) -> BinaryIO:
    """The same file, where it begins as npz files do; numpy would advise to load another one with pickle."""
    if opened.read(2) != b"PK":
        raise DataError("is no npz file")
    opened.seek(0)
    return opened


def _npz_part(arrays: Any, part: str) -> Split:
    import torch

    image = np.asarray(arrays[f"{part}_image"])
    image = image[..., None] if image.ndim == 3 else image
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] > 4:
        raise DataError(f"{part}_image must be (n, h, w) or (n, h, w, c) uint8, not {image.shape} {image.dtype}")
    kinds = [kind for kind in ("label", "mask") if f"{part}_{kind}" in arrays.files]
    if len(kinds) != 1:
        raise DataError(f"{part}_image needs either {part}_label or {part}_mask")
    label = np.asarray(arrays[f"{part}_{kinds[0]}"])
    if label.dtype.kind not in "iub" or label.ndim != {"label": 1, "mask": 3}[kinds[0]]:
        raise DataError(f"{part}_{kinds[0]} must be integers, (n,) or (n, h, w), not {label.shape} {label.dtype}")
    whole = label.astype(np.int64)
    if (whole < 0).any():
        first = np.argwhere(whole < 0)[0]
        raise DataError(f"{part}_{kinds[0]}[{first[0]}] has {whole[tuple(first)]}: labels must lie in 0, 1, 2, ...")
    channels_first = np.ascontiguousarray(np.moveaxis(image, 3, 1))
    return Split(torch.from_numpy(channels_first), torch.from_numpy(whole))


def _from_function(name: str) -> Data:
    module_name, _, function_name = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
        raise DataError(f"data set {name!r} is not of the form package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise DataError(f"data set {name!r}: no module {error.name!r} in the working directory or installed") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise DataError(f"data set {name!r}: no function {function_name!r} in module {module_name!r}")
    data = function()
    if not isinstance(data, Data):
        raise DataError(f"data set {name!r} returned {type(data).__name__}, not automl_ext.data.Data")
    return data


def _line(error: BaseException) -> str:
    """The first line of an error, or its class where it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__
