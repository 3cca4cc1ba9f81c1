"""Dense prediction cells as a search target: what stands between a backbone and the classifier of pixels.

Chen, Collins, Zhu, Papandreou, Zoph, Schroff, Adam, Shlens: "Searching for Efficient Multi-Scale Architectures for
Dense Image Prediction", NeurIPS 2018, arXiv 1809.04184. In the search a trial trains cell, decoder and classifier on
maps of a trained, frozen backbone that were computed once, for a short while; final stages train everything, backbone
included.

Differs from the paper:

1. The backbone is a small one, trained in `prepare` on the same train images (no ImageNet, no COCO), with the plainest
   head; see network.py, also for the decoder, which the paper has in its final networks only.
2. Channels, images and epochs are those of a laptop, and options; rates follow the size of the map.
3. Final stages continue from that backbone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
import torch
from automl_ext.tasks.segmentation import masks, prepared, stored
from automl_ext.tasks.segmentation.fit import Batches, Recipe, fit
from automl_ext.tasks.segmentation.geometric import Moves
from automl_ext.tasks.segmentation.network import Segmenter, Shape, fresh
from automl_ext.tasks.segmentation.objectives import Traded, costs, objectives_of
from automl_ext.tasks.segmentation.operations import SegmentationError, grids_for, rates_for
from automl_ext.tasks.segmentation.reference import references
from automl_ext.tasks.segmentation.scores import Scores
from automl_ext.tasks.segmentation.space import Cell, CellSpace, candidate_of, cell_of
from automl_ext.tasks.segmentation.variation import CellVariation
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from automl_ext.data import Split, normalise
from automl_ext.env import Job, Report, SearchEnv, never_stop
from automl_ext.latency import latency
from automl_ext.objective import Metrics
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Value
from automl_ext.training import resolve_device

__all__ = ["SegmentationEnv"]

Count = Annotated[int, Field(ge=2, le=10_000_000)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]


@final
class SegmentationEnv(SearchEnv):
    """Search a dense prediction cell.

    dataset, root: as automl_ext.data takes them, or folder:PATH; see masks.py, also for void, classes, names, images
    and val_images. class_weights: none, balanced, or a number a class.
    branches, rates, grids: of the space; by default 5, and what suits the map.
    output_stride: image sides over the features'. decoder: stride of the finer map that the decoder adds, 0 for none.
    width, wide, filters, dropout: see network.py.
    backbone_epochs: of its training in `prepare`. epochs: of a trial; those of a final stage are its budget.
    batch, rate, weight_decay: of all trainings, but the backbone's has half the batch.
    proxy: what trials train on, cached maps, or end-to-end as in final stages.
    flip, scale, rotate, shift: how images and masks are moved end to end, see geometric.py.
    objectives: metric -> max or min, the first is the primary one. latency_repeats: passes of a measurement.
    Raises ValueError (SegmentationError, DataError), one line, for whatever cannot work.
    """

    measured = ("latency_iqr_ms",)

    def __init__(
        self,
        dataset: str = "digits-scenes",
        *,
        root: str | None = None,
        void: Annotated[int, Field(ge=0, le=255)] | None = None,
        classes: Annotated[int, Field(ge=2, le=255)] | None = None,
        names: Sequence[str] | None = None,
        images: Count | None = None,
        val_images: Count | None = None,
        class_weights: Literal["none", "balanced"] | list[float] = "balanced",
        branches: Annotated[int, Field(ge=1, le=20)] = 5,
        rates: list[int] | None = None,
        grids: list[int] | None = None,
        output_stride: Literal[4, 8, 16] = 4,
        decoder: Literal[0, 2, 4] = 2,
        width: Annotated[float, Field(gt=0, le=16)] = 1,
        wide: Annotated[int, Field(ge=1, le=4096)] = 192,
        filters: Annotated[int, Field(ge=1, le=1024)] = 32,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        backbone_epochs: Epochs = 12,
        epochs: Epochs = 6,
        batch: Annotated[int, Field(ge=2, le=100_000)] = 16,
        rate: Annotated[float, Field(gt=0, le=10)] = 0.05,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4,
        proxy: Literal["cached", "end-to-end"] = "cached",
        flip: bool = False,
        scale: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        rotate: Annotated[float, Field(ge=0, le=180)] = 0.0,
        shift: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        objectives: dict[Traded, Literal["max", "min"]] | None = None,
        latency_repeats: Annotated[int, Field(ge=2, le=1000)] = 15,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.seed, self.device, self.proxy = seed, resolve_device(device), proxy
        self.objectives = objectives_of(objectives)
        self.masked = masks.loaded(
            dataset, root, seed, void, classes, names, images, val_images, output_stride
        )  # fmt: skip
        self.data, self.classes = self.masked.data, self.masked.classes
        self.weights = masks.weights_of(self.data.train.label, self.classes, class_weights)
        self.shape = Shape(
            self.masked.shape, self.classes, output_stride, decoder, width, wide, filters, dropout
        )  # fmt: skip
        side = min(self.shape.map)
        self.cells = CellSpace(branches, *_checked(rates, grids, self.shape.map))
        self.space = self.cells.space()
        self._cells = references(self.cells, side)
        self.references = {name: self._named(name, cell) for name, cell in self._cells.items()}
        self.recipe = Recipe(epochs=epochs, batch=batch, rate=rate, weight_decay=weight_decay)
        self.backbone_epochs = backbone_epochs
        self.moves = Moves(flip, scale, rotate, shift)
        self.repeats = latency_repeats
        self._cached: tuple[str, prepared.Cached] | None = None

    # ---------------------------------------------------------------- what searchers see

    @property
    def variation(self) -> Variation:
        """One small edit, see variation.py."""
        return CellVariation(self.cells, self.space)

    def features(self, candidate: Candidate) -> NDArray[np.float64]:
        """Kinds, rates, pools and depths of the branches, see space.py."""
        return self.cells.features(candidate)

    def cell(self, candidate: Mapping[str, Value]) -> Cell:
        """What a candidate builds; a reference, too."""
        if "reference" in candidate:
            return self._cells[str(candidate["reference"])]
        return cell_of(candidate)

    def _named(self, name: str, cell: Cell) -> Candidate:
        """As a candidate of the space where it is one."""
        inside = candidate_of(cell)
        return inside if inside in self.space else {"reference": name}

    # ---------------------------------------------------------------- evaluation

    def prepare(self, folder: Path) -> None:
        """Train the backbone and cache its maps."""
        network = self._fresh(self._cells["plain"], self.seed)
        recipe = replace(self.recipe, epochs=self.backbone_epochs, batch=max(2, self.recipe.batch // 2))
        self._end_to_end(network, recipe, self.seed)
        prepared.save(network.eval().backbone, self.data, self.device, folder)

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """miou, dice, pixel_accuracy on val, in [0, 1]; macs_m, cell_macs_m, params_k; latency_ms where asked for.

        budget: epochs. Leaves weights in `job.folder`. The curve is miou by epoch, where a stopping rule wants it.
        """
        network, found = self._trained(job, report)
        whole = job.stage != "search" or self.proxy == "end-to-end"
        stored.store(network, whole, job, found.by_class(self.masked.names))
        return found.metrics() | self._sizes(network)

    def test(self, job: Job, report: Report) -> Metrics:
        """test_miou, test_dice and test_pixel_accuracy of the network that the parent trained, or a new one."""
        network = self.trained(job)
        found = prepared.score_network(network, self.data.test, self.data, self.classes, self.device)
        if job.folder is not None:
            classes = json.dumps(found.by_class(self.masked.names), indent=1)
            (Path(job.folder) / "test.json").write_text(classes + "\n", encoding="utf-8")
        return {f"test_{name}": value for name, value in found.metrics().items()}

    def export(self, job: Job, folder: Path) -> None:
        """`model.py`, `model.safetensors`, `model.pt2`, `model.onnx`, `recipe.json`; see export.py."""
        from automl_ext.tasks.segmentation import export

        cell, moments = self.cell(job.candidate), (self.data.mean, self.data.std)
        export.write(self.trained(job), cell, self.shape, self.masked.names, moments, folder)

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`cell.svg`, and `fields.svg`: what its branches see."""
        from automl_ext.tasks.segmentation import illustrate

        illustrate.draw_cell(self.cell(candidate), self.shape, folder / "cell.svg")
        illustrate.draw_fields(self.cell(candidate), self.shape, folder / "fields.svg")

    def depict(self, job: Job, folder: Path) -> None:
        """Besides, `predictions.svg` and `classes.svg`, beside ASPP where it was trained in the same stage."""
        from automl_ext.tasks.segmentation import overlay

        self.illustrate(job.candidate, folder)
        places = overlay.chosen(self.data.val)
        split = self.data.val[places]
        columns, aspp = {"truth": split.label, "found": self._predicted(job, split)}, self.references["aspp"]
        beside = stored.alike(job.parent, aspp)
        if beside is not None:
            columns["aspp"] = self._predicted(replace(job, candidate=aspp, parent=beside), split)
        remark = "Validation images." + ("" if beside else " No ASPP was trained in the same stage.")
        overlay.draw_overlays(split.image, columns, self.masked.names, remark, folder / "predictions.svg")
        found, other = (stored.facts_of(each).get("classes") for each in (job.parent, beside))
        if found:
            overlay.draw_classes(found, other, "aspp", folder / "classes.svg")

    def _predicted(self, job: Job, split: Split) -> Tensor:
        """(n, h, w) classes of the images."""
        network = self.trained(job)
        with torch.inference_mode():
            logits: Tensor = network(normalise(split.image, self.data.mean, self.data.std, self.device))
        return logits.argmax(1).cpu()

    def trained(self, job: Job) -> Segmenter:
        """The network whose weights lie in `job.parent`, in evaluation mode; where there are none, it is trained."""
        network = self._fresh(self.cell(job.candidate), job.seed)
        if not stored.restore(network, self._loaded(job).backbone.state_dict(), job.parent):
            network, _ = self._trained(job, never_stop)
        return network.eval()

    def _trained(self, job: Job, report: Report) -> tuple[Segmenter, Scores]:
        cached = self._loaded(job)
        network = self._fresh(self.cell(job.candidate), job.seed)
        network.backbone.load_state_dict(cached.backbone.state_dict())
        epochs = max(1, round(job.budget)) if job.budget else self.recipe.epochs
        if job.stage == "search" and self.proxy == "cached":
            score = partial(self._score_head, network.head, cached.val)
            batches, recipe = cached.train.batches(self._masks), replace(self.recipe, epochs=epochs)
            fit(
                network.head, batches, len(self.data.train), recipe,
                seed=job.seed, weights=self._weights, report=self._reported(job, report, score),
            )  # fmt: skip
            network.eval()
            return network, score()
        score = partial(prepared.score_network, network, self.data.val, self.data, self.classes, self.device)
        recipe = replace(self.recipe, epochs=epochs)
        self._end_to_end(network, recipe, job.seed, self._reported(job, report, score))
        return network, score()

    # ---------------------------------------------------------------- parts

    def _end_to_end(
        self, network: Segmenter, recipe: Recipe, seed: int, report: prepared.Reported | None = None
    ) -> None:
        """Train everything on images, moved about where options say so."""
        train = self.data.train

        def batch(places: Tensor, rng: np.random.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
            image, mask = self.moves(train.image[places], train.label[places], rng)
            return (normalise(image, self.data.mean, self.data.std, self.device),), mask.to(self.device)

        batches: Batches = batch
        fit(network.to(self.device), batches, len(train), recipe, seed=seed, weights=self._weights, report=report)

    def _reported(self, job: Job, report: Report, score: prepared.Score) -> prepared.Reported | None:
        """After an epoch: miou to a stopping rule, where there is one."""
        if job.stopping is None:
            return None
        return lambda epoch: bool(report(epoch, score().miou))

    def _score_head(self, head: nn.Module, maps: prepared.Maps) -> Scores:
        return prepared.score_head(head, maps, self.data.val.label, self.classes)

    def _sizes(self, network: Segmenter) -> dict[str, float]:
        found = costs(network.eval(), self.shape)
        if any(objective.name == "latency_ms" for objective in self.objectives):
            found |= latency(network, torch.zeros(1, *self.shape.image, device=self.device), 1, self.repeats)
        return found

    def _fresh(self, cell: Cell, seed: int) -> Segmenter:
        return fresh(cell, self.shape, seed).to(self.device)

    def _loaded(self, job: Job) -> prepared.Cached:
        """What `prepare` left, read once."""
        if job.shared is None:
            raise SegmentationError("an evaluation needs the folder that prepare has written")
        if self._cached is None or self._cached[0] != job.shared:
            self._cached = (job.shared, prepared.load(Path(job.shared), self.shape, self.device))
        return self._cached[1]

    @property
    def _masks(self) -> Tensor:
        return self.data.train.label.to(self.device)

    @property
    def _weights(self) -> Tensor | None:
        return None if self.weights is None else self.weights.to(self.device)


def _checked(
    rates: Sequence[int] | None, grids: Sequence[int] | None, size: tuple[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rates and grids of the space. SegmentationError for those that the map is too small for."""
    side = min(size)
    made = []
    for name, given, default in (("rates", rates, rates_for(side)), ("grids", grids, grids_for(side))):
        values = default if given is None else tuple(given)
        most = side - 1 if name == "rates" else side
        if not values or sorted(set(values)) != list(values) or values[0] < 1 or values[-1] > most:
            why = f"features of {size[0]} x {size[1]}"
            raise SegmentationError(f"{name}: growing whole numbers from 1 to {most} for {why}, not {list(values)}")
        made.append(values)
    return made[0], made[1]
