"""Hand-made and published augmentation, shown beside every result; candidates `{"reference": name}`.

AutoAugment's policy for CIFAR-10: Cubuk et al. 2019, arXiv 1805.09501, appendix (25 sub-policies), magnitudes as in the
published code: level L is L tenths of the range, but Posterize keeps 8 to 4 bits as in the paper, where that code
keeps 4 to 0. RandAugment at its published setting for CIFAR-10: N 3, M 5, arXiv 1909.13719. TrivialAugment: arXiv
2103.10158. Cutout: DeVries & Taylor 2017, arXiv 1708.04552, half of the side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from automl_ext.tasks.augmentation.encoding import step_at
from automl_ext.tasks.augmentation.operations import OPERATIONS
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, of
from automl_ext.tasks.augmentation.strengths import FOURTEEN, randaugment, trivialaugment

_CIFAR = """
Invert 1 7, Contrast 2 6; Rotate 7 2, TranslateX 3 9; Sharpness 8 1, Sharpness 9 3; ShearY 5 8, TranslateY 7 9;
AutoContrast 5 8, Equalize 9 2; ShearY 2 7, Posterize 3 7; Color 4 3, Brightness 6 7; Sharpness 3 9, Brightness 7 9;
Equalize 6 5, Equalize 5 1; Contrast 6 7, Sharpness 6 5; Color 7 7, TranslateX 5 8; Equalize 3 7, AutoContrast 4 8;
TranslateY 4 3, Sharpness 2 6; Brightness 9 6, Color 2 8; Solarize 5 2, Invert 0 3; Equalize 2 0, AutoContrast 6 0;
Equalize 2 8, Equalize 6 4; Color 9 9, Equalize 6 6; AutoContrast 8 4, Solarize 2 8; Brightness 1 3, Color 7 0;
Solarize 4 5, AutoContrast 9 3; TranslateY 9 9, TranslateY 7 9; AutoContrast 9 2, Solarize 8 3;
Equalize 8 8, Invert 1 3; TranslateY 7 9, AutoContrast 9 1
"""
"""Operation, probability in tenths, magnitude level."""


@dataclass(frozen=True)
class Pipeline:
    """What a network is trained with: flips and crops or not, and the policies of equal shares of its training."""

    schedule: tuple[Policy, ...] = (Policy(),)
    base: bool = True


def published_cifar() -> Policy:
    """AutoAugment's 25 sub-policies for CIFAR-10."""
    choices = []
    for line in _CIFAR.replace("\n", " ").split(";"):
        triples = [part.split() for part in line.split(",")]
        choices.append(tuple(step_at(name, int(p) / 10, int(level) / 10, "standard") for name, p, level in triples))
    return Policy((Stage(tuple(choices)),))


def small_geometry() -> Policy:
    """Three sub-policies by hand: a small rotation, a small translation, a small shear."""
    return of(
        [
            [("Rotate", 1.0, 15.0)],
            [("TranslateX", 0.5, 0.13), ("TranslateY", 0.5, 0.13)],
            [("ShearX", 0.5, 0.2), ("ShearY", 0.5, 0.2)],
        ]
    )


def cutout(share: float) -> Policy:
    """A square of that share of the side on every image."""
    return Policy((Stage(((Step("Cutout", 1.0, share),),)),))


def references(base: str, left_out: Mapping[str, str]) -> Mapping[str, Pipeline]:
    """By name. base: what flips and crops are called, "" without any. left_out: operations that do nothing here."""
    drawn = [name for name in FOURTEEN if name not in left_out]
    found = {"none": Pipeline(base=False)}
    if base:
        found[base] = Pipeline()
    found["small-geometry"] = Pipeline((small_geometry(),))
    found["cutout"] = Pipeline((cutout(0.5),))
    found["autoaugment-cifar"] = Pipeline((without(published_cifar(), left_out),))
    found["randaugment"] = Pipeline((randaugment(3, 5, drawn),))
    found["trivialaugment"] = Pipeline((trivialaugment(drawn),))
    return found


def without(policy: Policy, left_out: Mapping[str, str]) -> Policy:
    """The policy with those operations taken out, which do nothing to the images."""
    keep = {*OPERATIONS} - {*left_out}
    stages = tuple(
        Stage(tuple(tuple(s for s in choice if s.operation in keep) for choice in stage.choices), stage.weights)
        for stage in policy.stages
    )
    return Policy(stages)
