"""Augmentation policies as a search target: which operations, how likely and how strong.

Cubuk, Zoph, Mane, Vasudevan, Le: "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019, arXiv 1805.09501,
and what came after it, a space each; see encoding.py. Three estimators say how good a policy is:

retrain: a child is trained from scratch with the policy on few images and judged on validation images, as the paper.
density: networks trained once, without any policy, are shown augmented images; no training (Fast AutoAugment). With a
    budget, as in final stages, a child is trained.
schedule: as retrain at a constant rate, and a trial with a parent goes on from its weights where its policies up to
    there are the same (Population Based Augmentation).

Differs from the paper:

1. The child is a ResNet-8; networks, images and epochs are options. Flips and crops come before the policy, Cutout
   behind it, all as options.
2. Crops repeat the edges instead of black ground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
import torch
from automl_ext.tasks.augmentation import child, density
from automl_ext.tasks.augmentation.apply import Ground, fill_of
from automl_ext.tasks.augmentation.encoding import SpaceName
from automl_ext.tasks.augmentation.geometry import Interpolation
from automl_ext.tasks.augmentation.operations import RangeSet
from automl_ext.tasks.augmentation.pipeline import PolicyTransform, store, stored, to_go_on_from
from automl_ext.tasks.augmentation.policy import Policy
from automl_ext.tasks.augmentation.reference import Pipeline, cutout, references
from automl_ext.tasks.augmentation.space import encode
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from automl_ext.data import DataError, Split
from automl_ext.env import Job, Report, SearchEnv
from automl_ext.objective import Metrics, Objective
from automl_ext.reduced import few, reduced
from automl_ext.searcher import Variation
from automl_ext.space import Candidate
from automl_ext.training import Recipe, accuracy, resolve_device, train

__all__ = ["AugmentationEnv"]

Estimator = Literal["retrain", "density", "schedule"]
Count = Annotated[int, Field(ge=1, le=10_000_000)]


@final
class AugmentationEnv(SearchEnv):
    """Search the augmentation of a training set.

    space: autoaugment, fast, randaugment, trivialaugment or schedule, see encoding.py. estimator: see above.
    dataset, root: as automl_ext.data takes them. images: how many train images a child sees, all by default; drawn by
    the seed, class by class. search_images: how many of these in the search itself; final stages see all. Fewer images
    tell policies apart as all do, fewer epochs prefer those that change little. val_images: how many validation images
    judge it.
    network, width: see child.py. epochs, batch, rate, weight_decay: of a training without a budget.
    flip, shift, cutout: mirror half of the images, move by up to so many pixels, then, behind the policy, cover a
    square of that share of the side.
    operations: to choose from, all of the space's by default; those that do nothing to the images are left out.
    ranges: what magnitudes mean, see operations.py. interpolation: between pixels. fill_mask: class of bare ground.
    segments: parts of a schedule. folds, held_out, draws, fold_epochs: of density, see density.py.
    combine: how many of the best policies make the final one, whose sub-policies are drawn alike; 0 for none.
    Raises ValueError (ChildError, DataError), one line, for whatever cannot work.
    """

    objectives = (Objective("accuracy", "max"),)

    def __init__(
        self,
        space: SpaceName = "autoaugment",
        estimator: Estimator = "retrain",
        dataset: str = "digits",
        *,
        root: str | None = None,
        images: Count | None = None,
        search_images: Count | None = None,
        val_images: Count = 1000,
        network: str = "resnet8",
        width: Annotated[float, Field(gt=0, le=16)] = 1,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        batch: Annotated[int, Field(ge=1, le=100_000)] = 64,
        rate: Annotated[float, Field(gt=0, le=10)] = 0.1,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4,
        flip: bool = False,
        shift: Annotated[int, Field(ge=0, le=64)] = 0,
        cutout: Annotated[float, Field(ge=0, le=1)] = 0.0,
        operations: Sequence[str] | None = None,
        ranges: RangeSet | None = None,
        interpolation: Interpolation = "linear",
        fill_mask: Annotated[int, Field(ge=0, le=255)] = 0,
        segments: Annotated[int, Field(ge=1, le=100)] = 8,
        folds: Annotated[int, Field(ge=1, le=100)] = 3,
        held_out: Annotated[float, Field(gt=0, lt=1)] = 0.4,
        draws: Annotated[int, Field(ge=1, le=1000)] = 2,
        fold_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None,
        combine: Annotated[int, Field(ge=0, le=100)] = 5,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.estimator, self.epochs, self.seed, self.cutout = estimator, epochs, seed, cutout
        self.network, self.width, self.device = network, width, resolve_device(device)
        self.data = reduced(dataset, root, seed, images, val_images)
        self.searched = self._searched(search_images)
        shape = tuple(self.data.train.image.shape[1:])
        self.shape: tuple[int, int, int] = (shape[0], shape[1], shape[2])
        child.check_fit(network, self.shape, self.data.classes, width, self.data.train.label.ndim > 1)
        self.folds = density.Folds(folds, held_out, draws)
        if estimator == "density":
            self.folds.parts(self.data.train, seed)
        self.fold_epochs = fold_epochs or epochs
        self._check_images(fill_mask)
        self.encoding, useless = encode(space, operations, ranges, self.shape, segments, epochs, self._grey())
        self.left_out = {o: reason for o, reason in useless.items() if operations is None or o in operations}
        self.space, self.combines = self.encoding.space, combine
        self.notes = [f"{name} is left out: it {reason}" for name, reason in self.left_out.items()]
        base = " and ".join(word for word, on in (("flip", flip), ("crop", shift)) if on).replace(" ", "-")
        self._pipelines = references(base, useless)
        self.references = {name: {"reference": name} for name in self._pipelines}
        self.base = Recipe(
            epochs=epochs, batch=batch, rate=rate, weight_decay=weight_decay, flip=flip, shift=shift, smoothing=0.0
        )
        self.ground = Ground(fill_of(self.data.mean), self._bank(), interpolation, fill_mask)
        self._folds: tuple[str, list[nn.Module]] | None = None

    def _check_images(self, fill_mask: int) -> None:
        """DataError for what policies cannot be applied to, or would not change."""
        channels, side = self.shape[0], min(self.shape[1:])
        if channels not in (1, 3):
            raise DataError(f"dataset: policies are for images of 1 or 3 channels, these have {channels}")
        if self.data.train.label.ndim > 1 and self.data.classes > 256:
            raise DataError(f"dataset: policies move masks of at most 256 classes, these have {self.data.classes}")
        if self.data.train.label.ndim > 1 and fill_mask >= self.data.classes:
            raise DataError(f"fill_mask: a class from 0 to {self.data.classes - 1} is needed, not {fill_mask}")
        if self.cutout and int(self.cutout * side) == 0:
            raise DataError(f"cutout: {self.cutout:g} of {side} pixels is less than one; leave it out, or cover more")

    def _grey(self) -> bool:
        """Whether the channels of all train images are alike."""
        image = self.data.train.image
        return bool((image == image[:, :1]).all())

    def _searched(self, images: int | None) -> Split:
        """What a child of the search sees. Raises DataError."""
        if images is None:
            return self.data.train
        if self.estimator == "density":
            raise DataError("search_images: density trains no child in the search; leave it out, or use retrain")
        if images > len(self.data.train):
            raise DataError(f"search_images: a child sees {len(self.data.train)} images, not {images}")
        return few(self.data.train, images, self.seed)

    # ---------------------------------------------------------------- what searchers see

    @property
    def variation(self) -> Variation:
        """The space's own, or the generic one."""
        return self.encoding.variation or super().variation

    def features(self, candidate: Candidate) -> NDArray[np.float64]:
        """(32,) how much of each operation there is, see encoding.py."""
        return self.encoding.features(candidate)

    def combine(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """The sub-policies of the best, as AutoAugment's final policy of 25."""
        return self.encoding.combined(candidates)

    def pipeline(self, candidate: Mapping[str, object]) -> Pipeline:
        """What a child is trained with; of a reference, too."""
        if "reference" in candidate:
            return self._pipelines[str(candidate["reference"])]
        schedule = self.encoding.schedule(dict(candidate))  # type: ignore[arg-type]
        return Pipeline(tuple(self._finished(policy) for policy in schedule))

    # ---------------------------------------------------------------- evaluation

    def prepare(self, folder: Path) -> None:
        """Under density, train a network a split without policies."""
        if self.estimator == "density":
            recipe = self._recipe(self.fold_epochs, True)
            density.prepare(self.folds, self._fresh_folds(), self.data, recipe, self.seed, self.device, folder)

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """`accuracy` in [0, 1]: of held-out images under the policy, or of validation images after training with it.

        budget: epochs. A training leaves its weights in `job.folder`, and reports its curve to a stopping rule.
        """
        pipeline = self.pipeline(job.candidate)
        if self.estimator == "density" and not job.budget:
            networks = self._loaded(job)
            transform = self._transform(pipeline)
            return density.score(networks, self.folds, self.data, transform, job.seed, self.device)
        network, epochs = self._trained(pipeline, job, report)
        if job.folder is not None:
            store(network, pipeline, epochs, Path(job.folder))
        return {"accuracy": accuracy(network, self.data.val, self.data, self.device)}

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy` of the child that the parent trained, or of a new one at the same budget."""
        known = stored(job.parent)
        if known is None:
            network, _ = self._trained(self.pipeline(job.candidate), job, report)
        else:
            network = self._fresh(job.seed)
            network.load_state_dict(dict(known.state))
            network.to(self.device).eval()
        return {"test_accuracy": accuracy(network, self.data.test, self.data, self.device)}

    def export(self, job: Job, folder: Path) -> None:
        """`policy.json` for albumentations, see export.py."""
        from automl_ext.tasks.augmentation.export import write

        pipeline = self.pipeline(job.candidate)
        facts = {"flip": pipeline.base and self.base.flip, "shift": self.base.shift if pipeline.base else 0}
        parts = [(policy, len(list(same))) for policy, same in groupby(pipeline.schedule)]
        shares = [count / len(pipeline.schedule) for _, count in parts]
        write([policy for policy, _ in parts], self.ground, self.shape[1:], folder, job.seed, {"before": facts}, shares)

    def describe(self, candidate: Candidate) -> str:
        """What an image may get, the likeliest first, and how often."""
        from automl_ext.tasks.augmentation.illustrate import rows

        found = rows(self.pipeline(candidate).schedule)
        return "\n".join(f"{100 * row.chance:.0f} %: {row.label}" for row in found)

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`subpolicies.svg`: train images under them. `operations.svg`: how often and how strong each operation is."""
        from automl_ext.tasks.augmentation import frequencies, illustrate

        pipeline = self.pipeline(candidate)
        ranges = "standard" if "reference" in candidate else self.encoding.ranges
        moved = pipeline.base and (self.base.flip or self.base.shift)
        remark = "Flips and crops come ahead of these and are left out here." if moved else ""
        shown = illustrate.examples(self.data.train)
        illustrate.draw(pipeline.schedule, shown, self.ground, ranges, folder / "subpolicies.svg", remark)
        file = folder / "operations.svg"
        frequencies.draw(pipeline.schedule, self.encoding.operations, ranges, file, self.left_out)

    # ---------------------------------------------------------------- parts

    def _trained(self, pipeline: Pipeline, job: Job, report: Report) -> tuple[nn.Module, int]:
        """A child trained for the job's budget, and its epochs."""
        epochs = max(1, round(job.budget)) if job.budget else self.epochs
        going_on = self.estimator == "schedule" and job.stage == "search"
        earlier = to_go_on_from(job.parent, pipeline, epochs, self.epochs) if going_on else None
        network = self._fresh(job.seed)
        if earlier is not None:
            network.load_state_dict(dict(earlier.state))
        split = self.searched if job.stage == "search" else self.data.train
        transform = self._transform(pipeline, epochs / self.epochs if going_on else 1.0)
        done = train(
            network, split, self.data, self._recipe(epochs, pipeline.base, going_on),
            seed=job.seed, device=self.device, report=report if job.stopping is not None else None,
            transform=transform, start=earlier.epochs if earlier else 0,
        )  # fmt: skip
        return network, done.epochs

    def _recipe(self, epochs: int, base: bool, going_on: bool = False) -> Recipe:
        bare = {} if base else {"flip": False, "shift": 0}
        steady = {"schedule": "constant", "decay": 0.0} if going_on else {}
        return replace(self.base, epochs=epochs, **bare, **steady)  # type: ignore[arg-type]

    def _transform(self, pipeline: Pipeline, whole: float = 1.0) -> PolicyTransform | None:
        """None where nothing would be changed."""
        if not any(policy.operations for policy in pipeline.schedule):
            return None
        return PolicyTransform(pipeline.schedule, self.ground, whole)

    def _finished(self, policy: Policy) -> Policy:
        """With the Cutout that comes behind every policy, where one was asked for."""
        return Policy((*policy.stages, *cutout(self.cutout).stages)) if self.cutout else policy

    def _fresh(self, seed: int) -> nn.Module:
        return child.fresh(self.network, self.shape, self.data.classes, self.width, seed)

    def _fresh_folds(self) -> list[nn.Module]:
        return [self._fresh(self.seed + fold) for fold in range(self.folds.count)]

    def _loaded(self, job: Job) -> list[nn.Module]:
        """The networks that `prepare` left, read once."""
        if job.shared is None:
            raise ValueError("density needs what prepare left")
        if self._folds is None or self._folds[0] != job.shared:
            self._folds = (job.shared, density.load(self._fresh_folds(), Path(job.shared), self.device))
        return self._folds[1]

    def _bank(self, size: int = 256) -> NDArray[np.uint8]:
        """(n, h, w, c) train images to pair with."""
        chosen = torch.randperm(len(self.data.train), generator=torch.Generator().manual_seed(self.seed))[:size]
        return self.data.train.image[chosen].permute(0, 2, 3, 1).contiguous().numpy()
