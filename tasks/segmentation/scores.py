"""How well predicted masks fit: pooled over all pixels of a part, void left out.

A class that neither the truth nor the prediction has anywhere does not count in a mean; one that only the prediction
has counts with 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["VOID", "Scores", "confusion", "scores"]

VOID = 255
"""The label of pixels that count nowhere."""


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """(classes, classes) pixels, truth by prediction. predicted, truth: of one shape, integers; VOID in truth is left
    out.
    """
    known = truth != VOID
    places = truth[known] * classes + predicted[known]
    return torch.bincount(places, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """iou, dice: (classes,), NaN for a class that is nowhere."""

    iou: NDArray[np.float64]
    dice: NDArray[np.float64]
    accuracy: float

    @property
    def miou(self) -> float:
        return _mean(self.iou)

    def metrics(self) -> dict[str, float]:
        """miou, dice (mean over classes) and pixel_accuracy, in [0, 1]."""
        return {"miou": self.miou, "dice": _mean(self.dice), "pixel_accuracy": self.accuracy}

    def by_class(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """iou and dice of each class that is anywhere, by name."""
        rows = zip(names, self.iou, self.dice, strict=True)
        return {name: {"iou": float(iou), "dice": float(dice)} for name, iou, dice in rows if np.isfinite(iou)}


def scores(table: Tensor) -> Scores:
    """Of a confusion table (classes, classes)."""
    counts = table.numpy().astype(np.float64)
    hits, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    both, either = truth + predicted, truth + predicted - hits
    with np.errstate(invalid="ignore"):
        iou, dice = np.where(either > 0, hits / either, np.nan), np.where(both > 0, 2 * hits / both, np.nan)
    return Scores(iou, dice, float(hits.sum() / max(counts.sum(), 1)))


def judged(predict: Callable[[Tensor], Tensor], masks: Tensor, classes: int, batch: int = 64) -> Scores:
    """Of predict(places (k,)) -> logits (k, classes, h, w), against masks (n, h, w)."""
    table = torch.zeros((classes, classes), dtype=torch.int64)
    with torch.inference_mode():
        for places in torch.arange(len(masks)).split(batch):
            table += confusion(predict(places).argmax(1).cpu(), masks[places], classes)
    return scores(table)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
