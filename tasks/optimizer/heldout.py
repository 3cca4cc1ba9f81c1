"""Held-out tasks: six that no search sees, each with data, architecture and loss of its own.

They run on torch.func: a plain module of torch, its parameters stacked. Data come with scikit-learn, or are made.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Literal, final

import numpy as np
import torch
from automl_ext.tasks.optimizer.children import Child, Examples, Weights
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from automl_ext.training import lent_seed

HeldOut = Literal["diabetes", "cancer", "wine", "friedman", "photographs", "adding"]
Criterion = Callable[[Tensor, Tensor], Tensor]
"""(lanes, n, ...) outputs and (n, ...) targets -> (lanes,) losses."""


def held_out(name: HeldOut) -> Child:
    """A task by name. Its parts: half of the examples to train, a quarter to choose by, a quarter to report."""
    inputs, targets, module, criterion = _TASKS[name]()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(inputs)))
    inputs, targets = inputs[order], targets[order]
    half, rest = len(order) // 2, len(order) * 3 // 4
    spans = (slice(0, half), slice(half, rest), slice(rest, None))
    train, val, test = ((inputs[span], targets[span]) for span in spans)
    if inputs.ndim == 2:
        mean, std = train[0].mean(0), train[0].std(0) + 1e-6
        train, val, test = (((x - mean) / std, y) for x, y in (train, val, test))
    return of_module(name, module, criterion, (train, val, test))


def of_module(
    name: str, make: Callable[[], nn.Module], criterion: Criterion, parts: tuple[Examples, Examples, Examples]
) -> Child:
    """A child out of a module of torch and a loss. parts: train, val and test examples."""
    with lent_seed(0):
        module = make()
    names, shapes = zip(*((key, tuple(value.shape)) for key, value in module.named_parameters()), strict=True)

    def one(weights: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, weights, strict=True)), (x,))  # type: ignore[no-any-return]

    def forward(weights: Weights, x: Tensor) -> Tensor:
        return vmap(one, in_dims=(0, None))(tuple(weights), x)

    def fresh(generator: torch.Generator) -> Tensor:
        with lent_seed(int(torch.randint(2**31, (), generator=generator))):
            return torch.cat([value.detach().flatten() for value in make().parameters()])

    return Child(
        name, shapes, (), forward, parts[0], parts[1], lanes=1, criterion=criterion, start=fresh, test=parts[2]
    )


def _each(loss: Callable[[Tensor, Tensor], Tensor]) -> Criterion:
    """The mean over all but the lanes of an elementwise loss."""
    return lambda output, target: loss(output, target.expand_as(output)).flatten(1).mean(1)


def _huber(output: Tensor, target: Tensor) -> Tensor:
    return functional.smooth_l1_loss(output, target, reduction="none")


def _hinge(output: Tensor, target: Tensor) -> Tensor:
    return torch.relu(1 - output * target) ** 2


def _smoothed(output: Tensor, target: Tensor) -> Tensor:
    wanted = 0.9 * functional.one_hot(target, output.shape[-1]) + 0.1 / output.shape[-1]
    return -(torch.log_softmax(output, -1) * wanted).sum(-1).mean(1)


def _column(values: NDArray[np.float64]) -> Tensor:
    column = torch.from_numpy(values.astype(np.float32))[:, None]
    return (column - column.mean()) / column.std()


def _rows(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _layers(sizes: tuple[int, ...], between: Callable[[int], list[nn.Module]]) -> nn.Module:
    made: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        made += [nn.Linear(size, following), *between(following)]
    return nn.Sequential(*made[: len(made) - len(between(1))])


_Task = tuple[Tensor, Tensor, Callable[[], nn.Module], Criterion]


def _diabetes() -> _Task:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return _rows(x), _column(y), lambda: _layers((10, 32, 32, 1), lambda size: [nn.Tanh()]), _each(_huber)


def _cancer() -> _Task:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    signs = torch.from_numpy(2.0 * y - 1).float()[:, None]

    def make() -> nn.Module:
        return _layers((30, 24, 24, 24, 1), lambda size: [nn.LayerNorm(size), nn.SiLU()])

    return _rows(x), signs, make, _each(_hinge)


def _wine() -> _Task:
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)

    def make() -> nn.Module:
        return _layers((13, 64, 3), lambda size: [nn.Softplus()])

    return _rows(x), torch.from_numpy(y.astype(np.int64)), make, _smoothed


def _friedman() -> _Task:
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(1200, noise=0.5, random_state=0)
    return _rows(x), _column(y), lambda: _layers((10, 24, 24, 24, 24, 1), lambda size: [nn.ELU()]), _each(_squared)


def _squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target) ** 2


def _photographs() -> _Task:
    """Clean 8x8 cut-outs of two photographs from noisy ones; the loss is the absolute error."""
    from sklearn.datasets import load_sample_images

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = [np.asarray(image, np.float32).mean(2) / 255 for image in load_sample_images().images]
    rng = np.random.default_rng(0)
    corners = [(int(rng.integers(2)), int(rng.integers(400)), int(rng.integers(600))) for _ in range(1200)]
    clean = np.stack([images[which][y : y + 8, x : x + 8] for which, y, x in corners])[:, None] - 0.5
    noisy = clean + rng.normal(0, 0.15, clean.shape)

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 1, 3, padding=1))

    return _rows(noisy), _rows(clean), make, _each(lambda output, target: (output - target).abs())


@final
class Recurrent(nn.Module):
    """Elman's network over (n, steps, 2) -> (n, 1)."""

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(size + 2, size), nn.Linear(size, 1)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.inner.out_features)
        for step in range(x.shape[1]):
            state = torch.tanh(self.inner(torch.cat([state, x[:, step]], 1)))
        y: Tensor = self.outer(state)
        return y


def _adding() -> _Task:
    """Hochreiter & Schmidhuber 1997: the sum of the two marked numbers out of ten; the loss grows as ln cosh."""
    rng = np.random.default_rng(0)
    numbers, marks = rng.uniform(-1, 1, (1200, 10)), np.zeros((1200, 10))
    for row in marks:
        row[rng.choice(10, 2, replace=False)] = 1
    x = torch.from_numpy(np.stack([numbers, marks], 2).astype(np.float32))
    return x, _rows((numbers * marks).sum(1))[:, None], Recurrent, _each(_log_cosh)


def _log_cosh(output: Tensor, target: Tensor) -> Tensor:
    off = (output - target).abs()
    return off + functional.softplus(-2 * off) - float(np.log(2.0))


_TASKS: Mapping[HeldOut, Callable[[], _Task]] = {
    "diabetes": _diabetes,
    "cancer": _cancer,
    "wine": _wine,
    "friedman": _friedman,
    "photographs": _photographs,
    "adding": _adding,
}
