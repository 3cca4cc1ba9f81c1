"""Operations on the values of pixels, a group of uint8 images at a time; equal to their albumentations forms.

Each function takes images (k, h, w, c) with c 1 or 3 and values (k,) in the operation's unit (see operations.py), and
returns new images (k, h, w, c). Most of them are a table of 256 entries an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Values = NDArray[np.float64]

_GREYS = np.arange(256, dtype=np.float32)
_SAME = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
_EDGES = np.array([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]], dtype=np.float32)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]])
"""Thirteenths."""


def invert(images: Images, values: Values) -> Images:
    """255 minus the pixel."""
    return np.bitwise_not(images)


def solarize(images: Images, values: Values) -> Images:
    """Pixels at or above the threshold, 0 to 256, inverted."""
    return _looked_up(images, np.where(values[:, None] <= _GREYS, 255 - _GREYS, _GREYS))


def posterize(images: Images, values: Values) -> Images:
    """The highest bits, 1 to 8, kept."""
    masks = np.left_shift(255, 8 - values.astype(np.int64)) & 255
    return images & masks.astype(np.uint8)[:, None, None, None]


def brightness(images: Images, values: Values) -> Images:
    """Pixels times the factor."""
    return _looked_up(images, _GREYS * values[:, None].astype(np.float32))


def contrast(images: Images, values: Values) -> Images:
    """The distance to the image's mean grey times the factor."""
    means = _grey(images).mean(axis=(1, 2))
    shift = (means * (1 - values)).astype(np.float32)
    return _looked_up(images, _GREYS * values[:, None].astype(np.float32) + shift[:, None])


def colour(images: Images, values: Values) -> Images:
    """The distance to the grey image times the factor. Grey images stay as they are."""
    if images.shape[3] == 1:
        return images.copy()
    greys = cv2.cvtColor(_grey(images).reshape(-1, images.shape[2]), cv2.COLOR_GRAY2RGB).reshape(images.shape)
    out = np.empty_like(images)
    for image, grey, factor, made in zip(images, greys, values, out, strict=True):
        cv2.addWeighted(image, factor, grey, 1 - factor, 0, dst=made)
    return out


def sharpness(images: Images, values: Values) -> Images:
    """The distance to the smooth image times the factor, Pillow's; the border is mirrored."""
    out = np.empty_like(images)
    for image, factor, made in zip(images, values, out, strict=True):
        cv2.filter2D(image, -1, _sharpening(float(factor)), dst=made)
    return out


def _sharpening(factor: float) -> NDArray[np.float32]:
    """(3, 3) the kernel in the arithmetic of the albumentations form, so that no pixel is rounded otherwise."""
    if factor >= 1:
        alpha = (factor - 1) / 13
        return (1 - alpha) * _SAME + alpha * _EDGES
    kernel = _SMOOTH * ((1 - factor) / 13)
    kernel[1, 1] += factor
    return kernel.astype(np.float32)


def auto_contrast(images: Images, values: Values) -> Images:
    """Each channel stretched to the whole range; a constant one stays. Pixels of 255 do not count, for albumentations
    takes its histogram without them."""
    low = _over_pixels(np.minimum, images)
    high = _over_pixels(np.maximum, images + np.uint8(1)) - 1  # 255 has become 0
    scale = 255 / np.where(high > low, high - low, 255)
    start = np.where(high > low, low, 0)
    return _looked_up(images, np.rint((np.arange(256.0) - start[..., None]) * scale[..., None]))


def equalize(images: Images, values: Values) -> Images:
    """Each channel's histogram flattened: a value becomes the share of pixels up to it, those of itself among them."""
    count, height, width, channels = images.shape
    places = images.reshape(count, -1) + np.tile(np.arange(channels) * 256, height * width)
    places += np.arange(count)[:, None] * (256 * channels)
    hist = np.bincount(places.ravel(), minlength=count * channels * 256).reshape(count, channels, 256)
    last = np.take_along_axis(hist, 255 - (hist[..., ::-1] > 0).argmax(axis=2)[..., None], axis=2)[..., 0]
    step = (height * width - last) // 255
    safe = np.maximum(step, 1)[..., None]
    tables = np.minimum((hist.cumsum(axis=2) + safe // 2) // safe, 255)
    return _looked_up(images, np.where(step[..., None] > 0, tables, np.arange(256)))


POINTWISE: Mapping[str, Callable[[Images, Values], Images]] = {
    "AutoContrast": auto_contrast, "Invert": invert, "Equalize": equalize, "Solarize": solarize,
    "Posterize": posterize, "Contrast": contrast, "Color": colour, "Brightness": brightness, "Sharpness": sharpness,
}  # fmt: skip


def _looked_up(images: Images, tables: NDArray[np.number]) -> Images:
    """Every pixel by its image's table: tables (k, 256), or (k, c, 256) for one a channel. Fractions are cut off."""
    whole = np.clip(tables, 0, 255).astype(np.uint8)
    channels = images.shape[3]
    if whole.ndim == 3:
        whole = np.ascontiguousarray(whole.transpose(0, 2, 1))[:, None] if channels > 1 else whole[:, 0]
    out = np.empty_like(images)
    for image, table, made in zip(images, whole, out, strict=True):
        cv2.LUT(image, table, dst=made)
    return out


def _over_pixels(least_or_most: np.ufunc, images: Images) -> Values:
    """(k, c) of each channel. Halves are compared, which takes a tenth of the time of NumPy's own way over two axes."""
    left = images.reshape(len(images), -1, images.shape[3])
    while (count := left.shape[1]) > 1:
        half = (count + 1) // 2
        left = least_or_most(left[:, :half], left[:, count - half :])
    return left[:, 0].astype(np.float64)


def _grey(images: Images) -> NDArray[np.uint8]:
    """(k, h, w) grey values."""
    if images.shape[3] == 1:
        return images[..., 0]
    count, height, width, _ = images.shape
    return cv2.cvtColor(images.reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY).reshape(count, height, width)  # type: ignore[return-value]
