"""One small fast trainer for all tasks: SGD on batches that lie in memory.

Every random number comes from the seed: an epoch's shuffling and augmentation from a generator of its own, dropout
from torch's global generator, which is lent a seed and given back. On one thread, equal seeds give bit-equal weights.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_ext.channels_last import channels_last, laid_out
from automl_ext.data import Data, Split, normalise

Loss = Callable[[Tensor, Tensor], Tensor]
"""loss(network's output, labels) -> scalar"""

Metric = Callable[[nn.Module, Split, Data, torch.device], float]
"""metric(network, split, data, device) -> what is reported after an epoch"""

Transform = Callable[[Tensor, Tensor, float, np.random.Generator], tuple[Tensor, Tensor]]
"""transform(images uint8 (b, c, h, w), labels, share of the training behind, randomness) -> new images and labels"""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    rate: peak learning rate. schedule: `one-cycle` climbs to the peak for `warmup` of the time and falls to zero by a
    cosine; `constant` stays at the peak and falls to zero in a line over the last `decay` of the epochs, so that a run
    with decay 0 can be continued or judged by its curve. weight_decay: on weights, not on biases and norms.
    smoothing: of the labels. clip: largest norm of the gradient, 0 for none. flip: mirror half of the images.
    shift: move images by up to so many pixels, edges repeated. amp: bfloat16 on GPUs that have it.
    """

    epochs: int = 10
    batch: int = 128
    rate: float = 0.1
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup: float = 0.25
    decay: float = 0.3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    smoothing: float = 0.0
    clip: float = 5.0
    flip: bool = False
    shift: int = 0
    amp: bool = True

    def rate_at(self, progress: float) -> float:
        """The learning rate after `progress` in [0, 1] of all epochs."""
        if self.schedule == "constant":
            return self.rate * min(1.0, (1 - progress) / self.decay) if self.decay else self.rate
        if progress < self.warmup:
            return self.rate * (0.05 + 0.95 * progress / self.warmup)
        return self.rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


@dataclass(frozen=True)
class Trained:
    """epochs: how many are behind the network now. loss: mean of the last epoch. stopped: whether `report` said so."""

    epochs: int
    loss: float
    stopped: bool


def accuracy(network: nn.Module, split: Split, data: Data, device: torch.device, batch: int = 512) -> float:
    """Share of labels (of pixels, for masks) whose class has the largest output, in [0, 1]. Keeps the mode."""
    right = torch.zeros((), dtype=torch.int64, device=device)
    with mode(network, training=False), torch.inference_mode():
        for image, label in zip(split.image.split(batch), split.label.split(batch), strict=True):
            output = network(normalise(image, data.mean, data.std, device))
            right += (output.argmax(1) == label.to(device)).sum()
    return int(right) / split.label.numel()


def train(
    network: nn.Module,
    split: Split,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    report: Callable[[float, float], bool] | None = None,
    loss: Loss | None = None,
    metric: Metric = accuracy,
    transform: Transform | None = None,
    start: int = 0,
) -> Trained:
    """Train `network` in place on `split` (usually data.train) and move it to `device`.

    report(epoch, metric on data.val) is called after each epoch, and training ends where it returns True.
    loss: cross-entropy with the recipe's smoothing unless given. transform: of each batch, behind flip and shift; the
    randomness of an epoch is its own. start: epochs already behind the network; it goes on
    with the batches that an uninterrupted run would see, with a fresh momentum.
    Raises FloatingPointError after an epoch whose loss is not finite.
    """
    loss = loss or functools.partial(functional.cross_entropy, label_smoothing=recipe.smoothing)
    network.to(device)
    optimizer = _sgd(network, recipe)
    split = Split(split.image.to(device), split.label.to(device))
    done, mean_loss, stop = start, math.nan, False
    with mode(network, training=True), channels_last(network):
        while done < recipe.epochs and not stop:
            mean_loss = _epoch(network, split, data, recipe, done, seed, optimizer, loss, transform)
            done += 1
            if not math.isfinite(mean_loss):
                raise FloatingPointError(f"the loss is {mean_loss} in epoch {done}")
            stop = report is not None and bool(report(done, metric(network, data.val, data, device)))
    return Trained(done, mean_loss, stop)


def resolve_device(name: str) -> torch.device:
    """auto: the GPU if there is one. Raises ValueError for another name, or a GPU that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: torch finds no usable GPU here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def lent_seed(seed: int) -> Iterator[None]:
    """Lend torch's global generators a seed, for what can take no other (initialisation, dropout), and restore them."""
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed_all(seed)
        yield


@contextmanager
def mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """The network in training or evaluation mode; afterwards every module is back in its own."""
    before = [(module, module.training) for module in network.modules()]
    network.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


def augment(
    image: Tensor, label: Tensor, generator: torch.Generator, *, flip: bool, shift: int
) -> tuple[Tensor, Tensor]:
    """Mirror half of the images and move each by up to `shift` pixels, its mask with it. Shapes as in a Split."""
    count, _, height, width = image.shape
    ends = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + ends[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + ends[1]).clamp_(0, width - 1)
    if flip:
        mirrored = torch.rand((count, 1), generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    where = [at.to(image.device) for at in (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None])]
    moved = image.permute(0, 2, 3, 1)[where[0], where[1], where[2]].permute(0, 3, 1, 2)
    return moved, label if label.ndim == 1 else label[where[0], where[1], where[2]]


def _epoch(
    network: nn.Module,
    split: Split,
    data: Data,
    recipe: Recipe,
    epoch: int,
    seed: int,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    transform: Transform | None,
) -> float:
    """One pass over the split in batches whose sizes differ by one at most; the mean loss."""
    device = split.image.device
    amp = recipe.amp and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    own, lent = (int(value) for value in np.random.default_rng((seed, epoch)).integers(2**63, size=2))
    generator = torch.Generator().manual_seed(own)
    rng = np.random.default_rng((seed, epoch, zlib.crc32(b"transform")))
    batches = torch.randperm(len(split), generator=generator).tensor_split(math.ceil(len(split) / recipe.batch))
    total = torch.zeros((), device=device)
    with lent_seed(lent):
        for index, batch in enumerate(batches):
            progress = (epoch + index / len(batches)) / recipe.epochs
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate_at(progress)
            image, label = split.image[batch.to(device)], split.label[batch.to(device)]
            if recipe.flip or recipe.shift:
                image, label = augment(image, label, generator, flip=recipe.flip, shift=recipe.shift)
            if transform is not None:
                image, label = transform(image, label, progress, rng)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                value = loss(network(laid_out(normalise(image, data.mean, data.std, device))), label)
            optimizer.zero_grad()
            value.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            total += value.detach() * len(batch)
    return float(total) / len(split)


def _sgd(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        recipe.rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
    )
