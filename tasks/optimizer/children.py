"""Child tasks: small models that many update rules train side by side, their parameters stacked lane by lane.

logistic, mlp, convolution: on images (digits, or any data set of automl_ext.data). attention: the next character of
the texts that Python's own `help()` shows (pydoc_data.topics), from the 16 before it.

All layers are batched matrix products, see stacked.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from automl_ext.tasks.optimizer.stacked import CrossEntropy, Dense, patches, whole
from torch import Tensor

from automl_ext.data import Data, Split, normalise

ChildName = Literal["logistic", "mlp", "convolution", "attention"]
Weights = Sequence[Tensor]
"""(lanes, *shape) of every parameter."""
Examples = tuple[Tensor, Tensor]
"""Inputs (n, ...) and labels (n,) or (n, positions)."""

CONTEXT, LETTERS = 16, 64


@final
@dataclass(frozen=True, eq=False)
class Child:
    """shapes: of the parameters. fan_in: what each is drawn by; 0 for zeros. forward: (weights, inputs) -> logits.

    Logits are (lanes, n, classes), or (lanes, n * positions, classes). lanes: how many fit the processor's cache.
    criterion: (outputs, targets) -> (lanes,) in place of the cross-entropy; there is no accuracy then. start: draws the
    parameters where fan_in does not. test: what to report where val was used to choose.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    fan_in: tuple[int, ...]
    forward: Callable[[Weights, Tensor], Tensor]
    train: Examples
    val: Examples
    lanes: int = 64
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None
    start: Callable[[torch.Generator], Tensor] | None = None
    test: Examples | None = None

    @property
    def reported(self) -> Examples:
        """What a result is measured on: the test part where there is one of its own."""
        return self.val if self.test is None else self.test

    @property
    def count(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def fresh(self, generator: torch.Generator) -> Tensor:
        """(count,) new parameters: normal with variance 1 / fan in, or as `start` draws them."""
        if self.start is not None:
            return self.start(generator)
        parts = [
            torch.randn(math.prod(shape), generator=generator) / math.sqrt(fan)
            if fan
            else torch.zeros(math.prod(shape))
            for shape, fan in zip(self.shapes, self.fan_in, strict=True)
        ]
        return torch.cat(parts)

    def split(self, rows: Tensor) -> list[Tensor]:
        """Views of (lanes, size) rows as parameters, (lanes, *shape) each."""
        views, start = [], 0
        for shape in self.shapes:
            length = math.prod(shape)
            views.append(rows[:, start : start + length].view(len(rows), *shape))
            start += length
        return views

    def losses(self, weights: Weights, inputs: Tensor, labels: Tensor) -> Tensor:
        """(lanes,) mean cross-entropy, or what the criterion says."""
        logits = self.forward(weights, inputs)
        if self.criterion is not None:
            return self.criterion(logits, labels)
        return CrossEntropy.apply(logits, labels.flatten())  # type: ignore[no-any-return, no-untyped-call]

    def judged(self, weights: Weights, examples: Examples, batch: int = 512) -> tuple[Tensor, Tensor]:
        """(lanes,) mean cross-entropy and (lanes,) share of right answers on all examples."""
        losses = torch.zeros(len(weights[0]))
        right = torch.zeros(len(weights[0]))
        inputs, labels = examples
        with torch.no_grad():
            if self.criterion is not None:
                return self.criterion(self.forward(weights, inputs), labels), right
            for x, y in zip(inputs.split(batch), labels.split(batch), strict=True):
                count = y.numel()
                logits = self.forward(weights, whole(x))[:, :count]
                wanted = y.reshape(1, -1).expand(len(logits), -1)
                chosen = torch.log_softmax(logits, 2).gather(2, wanted[..., None])[..., 0]
                losses -= chosen.sum(1)
                right += (logits.argmax(2) == wanted).sum(1)
        return losses / labels.numel(), right / labels.numel()


def child(name: ChildName, data: Data, width: int = 1) -> Child:
    """A child by name, its hidden layers `width` times as wide. data: the images; the texts are at hand."""
    if name == "attention":
        return _attention(width)
    return {"logistic": _logistic, "mlp": _mlp, "convolution": _convolution}[name](data, width)


def _images(data: Data) -> tuple[Examples, Examples]:
    def part(split: Split) -> Examples:
        return normalise(split.image, data.mean, data.std), split.label

    return part(data.train), part(data.val)


def _dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(lanes or 1, n, inputs) -> (lanes, n, outputs)."""
    return Dense.apply(x.expand(len(weight), -1, -1), weight, bias)  # type: ignore[no-any-return, no-untyped-call]


def _flat(examples: Examples) -> Examples:
    return examples[0].flatten(1), examples[1]


def _logistic(data: Data, width: int) -> Child:
    train, val = (_flat(part) for part in _images(data))
    size = train[0].shape[1]
    return Child(
        "logistic", ((size, data.classes), (data.classes,)), (size, 0),
        lambda w, x: _dense(x[None], w[0], w[1]), train, val,
    )  # fmt: skip


def _mlp(data: Data, width: int) -> Child:
    train, val = (_flat(part) for part in _images(data))
    size, hidden = train[0].shape[1], 32 * width

    def forward(w: Weights, x: Tensor) -> Tensor:
        return _dense(torch.relu(_dense(x[None], w[0], w[1])), w[2], w[3])

    shapes = ((size, hidden), (hidden,), (hidden, data.classes), (data.classes,))
    return Child("mlp", shapes, (size, 0, hidden, 0), forward, train, val)


def _convolution(data: Data, width: int) -> Child:
    """3x3 to 8 channels, 3x3 with stride 2 to 16, all to the classes; ReLU between."""
    train, val = _images(data)
    _, channels, height, across = train[0].shape
    stride = 1 if height <= 16 else 2
    rows, columns = -(-height // stride), -(-across // stride)
    narrow, wide = 8 * width, 16 * width

    def ready(examples: Examples) -> Examples:
        return patches(examples[0].permute(0, 2, 3, 1), stride).flatten(1, 2), examples[1]

    def forward(w: Weights, x: Tensor) -> Tensor:
        count, lanes = len(x), len(w[0])
        y = torch.relu(_dense(x.reshape(1, -1, x.shape[-1]), w[0], w[1]))
        y = patches(y.view(lanes * count, rows, columns, narrow), 2)
        y = torch.relu(_dense(y.view(lanes, -1, 9 * narrow), w[2], w[3]))
        return _dense(y.view(lanes, count, -1), w[4], w[5])

    last = -(-rows // 2) * -(-columns // 2) * wide
    shapes = ((9 * channels, narrow), (narrow,), (9 * narrow, wide), (wide,), (last, data.classes), (data.classes,))
    return Child(
        "convolution", shapes, (9 * channels, 0, 9 * narrow, 0, last, 0), forward, ready(train), ready(val), 16
    )


def texts() -> Tensor:
    """Python's help texts as numbers: the 63 most frequent characters, and one for all others."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    order = sorted(set(text), key=lambda letter: (-text.count(letter), letter))[: LETTERS - 1]
    known = {letter: number for number, letter in enumerate(order)}
    return torch.tensor([known.get(letter, LETTERS - 1) for letter in text])


def _attention(width: int) -> Child:
    """One head of attention to what came before and a layer behind it, 16 wide, each added to its input."""
    text = texts()
    starts = torch.arange(0, len(text) - CONTEXT - 1, CONTEXT)
    inputs = torch.stack([text[starts + place] for place in range(CONTEXT)], 1)
    labels = torch.stack([text[starts + place + 1] for place in range(CONTEXT)], 1)
    held = torch.arange(len(starts)) % 40 == 0
    size = 16 * width
    hidden = 2 * size
    future = torch.full((CONTEXT, CONTEXT), -math.inf).triu_(1)

    def forward(w: Weights, x: Tensor) -> Tensor:
        lanes, count = len(w[0]), len(x)
        flat = x.flatten()
        y = (w[0].index_select(1, flat).view(lanes, count, CONTEXT, size) + w[1][:, None]).view(lanes, -1, size)
        query, key, value = torch.bmm(y, w[2]).view(lanes * count, CONTEXT, 3 * size).split(size, 2)
        weights = torch.softmax(torch.baddbmm(future, query, key.transpose(1, 2), alpha=size**-0.5), 2)
        y = y + torch.bmm(torch.bmm(weights, value).view(lanes, -1, size), w[3])
        y = y + _dense(torch.relu(_dense(y, w[4], w[5])), w[6], w[7])
        return _dense(y, w[8], w[9])

    shapes = (
        (LETTERS, size), (CONTEXT, size), (size, 3 * size), (size, size), (size, hidden), (hidden,), (hidden, size),
        (size,), (size, LETTERS), (LETTERS,),
    )  # fmt: skip
    fan_in = (1, 1, size, size, size, 0, hidden, 0, size, 0)
    return Child("attention", shapes, fan_in, forward, (inputs[~held], labels[~held]), (inputs[held], labels[held]), 16)
