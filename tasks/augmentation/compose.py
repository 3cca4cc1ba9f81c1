"""A policy as an `albumentations.Compose`: what is exported, and the oracle of the fast form in apply.py."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import atan, ceil, degrees
from typing import TYPE_CHECKING, Any

import albumentations as A  # noqa: N812
import cv2
import numpy as np
from automl_ext.tasks.augmentation.geometry import FLAGS, side
from automl_ext.tasks.augmentation.operations import OPERATIONS
from automl_ext.tasks.augmentation.transforms import SamplePairing, Sharpness

if TYPE_CHECKING:
    from automl_ext.tasks.augmentation.apply import Ground
    from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, SubPolicy

BANK = "bank.npz"
"""Where SamplePairing finds its images, beside the file of its class."""


def composed(policy: Policy, ground: Ground, shape: tuple[int, int], seed: int | None = None) -> A.Compose:
    """The policy for images of `shape` (height, width): a stage is a OneOf of sub-policies, a sub-policy a Sequential.

    Every argument is said, none is left to a default. Lengths are in pixels of `shape` for Cutout, shares of the side
    for translations. Grey images are changed in place by albumentations' Equalize: give it copies.
    """
    pipeline = A.Compose([_stage(stage, ground, shape) for stage in policy.stages], p=1.0)
    seeded(pipeline, seed)
    return pipeline


def seeded(pipeline: A.Compose, seed: int | None) -> None:
    """Start the pipeline's chances from a seed.

    By `Compose(seed=)` and `set_random_seed` every transform would get a generator of its own of the same seed, so that
    the chances of all were the same numbers: of two steps with probabilities 0.5 and 0.3, the second would happen only
    where the first does. Here all draw from one generator in turn.
    """
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))


def form(step: Step, ground: Ground, shape: tuple[int, int], sign: int = 1) -> A.BasicTransform:
    """The transform of one step that happens always, its value taken times `sign` where signs are drawn."""
    return _form(step, sign, ground, shape, 1.0)


def _stage(stage: Stage, ground: Ground, shape: tuple[int, int]) -> A.OneOf:
    weights = stage.weights or (1.0,) * len(stage.choices)
    pairs = [(choice, weight) for choice, weight in zip(stage.choices, weights, strict=True) if weight > 0]
    return A.OneOf([_subpolicy(choice, ground, shape, weight) for choice, weight in pairs], p=1.0)


def _subpolicy(choice: SubPolicy, ground: Ground, shape: tuple[int, int], weight: float) -> A.Sequential:
    steps = [_step(step, ground, shape) for step in choice if not step.idle]
    return A.Sequential(steps or [A.NoOp(p=1.0)], p=weight)


def _step(step: Step, ground: Ground, shape: tuple[int, int]) -> Any:
    """One step with its probability; a signed one draws its sign."""
    if not OPERATIONS[step.operation].signed:
        return _form(step, 1, ground, shape, step.probability)
    return A.OneOf([_form(step, sign, ground, shape, 1.0) for sign in (1, -1)], p=step.probability)


def _form(step: Step, sign: int, ground: Ground, shape: tuple[int, int], p: float) -> A.BasicTransform:
    name, value = step.operation, 0.0 if step.value is None else step.value
    if step.idle:
        return A.NoOp(p=p)
    if OPERATIONS[name].geometric:
        return _affine(name, sign * value, ground, p)
    match name:
        case "AutoContrast":
            return A.AutoContrast(cutoff=0, ignore=None, method="pil", p=p)
        case "Invert":
            return A.InvertImg(p=p)
        case "Equalize":
            return A.Equalize(mode="pil", by_channels=True, mask=None, mask_params=(), p=p)
        case "Solarize":
            # Half a grey level below the first one inverted, so that no rounding decides; from 255 up nothing is.
            threshold = max(0.0, (ceil(value) - 0.5) / 255)
            return A.NoOp(p=p) if value > 255 else A.Solarize(threshold_range=(threshold, threshold), p=p)
        case "Posterize":
            return A.Posterize(num_bits=(int(value), int(value)), p=p)
        case "Sharpness":
            return _sharpness(value, p)
        case "Cutout":
            return _cutout(side(value, *shape), ground.fill, p)
        case "SamplePairing":
            return SamplePairing(weight=value, bank=BANK, p=p)
    enhanced = {"Brightness": "brightness", "Contrast": "contrast", "Color": "saturation"}[name]
    factors = dict.fromkeys(("brightness", "contrast", "saturation"), (1.0, 1.0)) | {enhanced: (value, value)}
    return A.ColorJitter(**factors, hue=(0.0, 0.0), p=p)


def _affine(name: str, value: float, ground: Ground, p: float) -> A.Affine:
    angle = degrees(atan(value))
    shear = {axis: (angle, angle) if name == f"Shear{axis.upper()}" else (0.0, 0.0) for axis in "xy"}
    shift = {axis: (value, value) if name == f"Translate{axis.upper()}" else (0.0, 0.0) for axis in "xy"}
    rotate = value if name == "Rotate" else 0.0
    return A.Affine(
        scale={"x": (1.0, 1.0), "y": (1.0, 1.0)}, translate_percent=shift, translate_px=None,
        rotate=(rotate, rotate), shear=shear, interpolation=FLAGS[ground.interpolation],
        mask_interpolation=cv2.INTER_NEAREST, fit_output=False, keep_ratio=False, rotate_method="largest_box",
        balanced_scale=False, border_mode=cv2.BORDER_CONSTANT, fill=_colour(ground.fill),
        fill_mask=float(ground.fill_mask), p=p,
    )  # fmt: skip


def _sharpness(factor: float, p: float) -> A.BasicTransform:
    """albumentations can sharpen as Pillow does, and cannot blur as it does."""
    if factor < 1:
        return Sharpness(factor=factor, p=p)
    alpha = (factor - 1) / 13
    return A.Sharpen(alpha=(alpha, alpha), lightness=(1.0, 1.0), method="kernel", kernel_size=5, sigma=1.0, p=p)


def _cutout(edge: int, fill: Sequence[int], p: float) -> A.BasicTransform:
    if edge == 0:
        return A.NoOp(p=p)
    sides = {"hole_height_range": (edge, edge), "hole_width_range": (edge, edge)}
    return A.CoarseDropout(num_holes_range=(1, 1), **sides, fill=_colour(fill), fill_mask=None, p=p)


def _colour(fill: Sequence[int]) -> Any:
    return tuple(float(value) for value in fill) if len(fill) > 1 else float(fill[0])
