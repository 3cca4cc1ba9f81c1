"""The Bayesian curve network: samples of a network from a configuration's features to the parts of its curve.

Several chains run side by side. Each leaves out its share of the curves: what it predicts for those tells how far
curves of new configurations lie from the network's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_ext.stopping.layer import BASES, SIZE, THETA, curve
from automl_ext.stopping.sghmc import sghmc

Floats = NDArray[np.float64]

QUIET = math.log(1e-3)
"""Log variance of the noise at the start."""
PRIOR = math.log(1e-4)
"""Log variance of the noise that the prior prefers, with variance 1."""


@dataclass(frozen=True)
class Sizes:
    """hidden: units of each of three layers. chains, steps, burn, every: see `sghmc`. batch: points a step."""

    hidden: int = 32
    chains: int = 5
    steps: int = 1000
    burn: int = 500
    every: int = 100
    batch: int = 32
    rate: float = 0.015


class Network:
    """Three tanh layers and the heads of LC-Net for many weight vectors at once; a vector is flat, of length `size`."""

    def __init__(self, features: int, hidden: int) -> None:
        widths = [features, hidden, hidden, hidden, SIZE + 1]
        self.shapes = list(pairwise(widths))
        self.size = sum((inputs + 1) * outputs for inputs, outputs in self.shapes)

    def start(self, chains: int, generator: torch.Generator) -> Tensor:
        """(chains, size): He-normal weights, biases 0, and the noise small."""
        parts = []
        for inputs, outputs in self.shapes:
            weight = torch.randn(chains, inputs * outputs, generator=generator, dtype=torch.float64)
            parts += [weight * math.sqrt(2 / max(inputs, 1)), torch.zeros(chains, outputs, dtype=torch.float64)]
        parts[-2] = parts[-2] * 0.1
        parts[-1][:, -1] = -math.log(20 / (QUIET + 10) - 1)
        return torch.cat(parts, dim=1)

    def heads(self, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """(k, n, 19) parts of curves and (k, n) log variances, for weights (k, size) and features (k, n, d)."""
        hidden, parts = x, theta.split([size for i, o in self.shapes for size in (i * o, o)], dim=1)
        for index, (inputs, outputs) in enumerate(self.shapes):
            weight, bias = parts[2 * index].reshape(-1, inputs, outputs), parts[2 * index + 1]
            hidden = torch.baddbmm(bias[:, None], hidden, weight)
            if index < len(self.shapes) - 1:
                hidden = hidden.tanh()
        bounded, weights = hidden[..., :THETA].sigmoid(), hidden[..., THETA : THETA + BASES].softmax(-1)
        end, noise = hidden[..., -2:-1].sigmoid(), hidden[..., -1].sigmoid()
        return torch.cat([bounded, weights, end], dim=-1), 20 * noise - 10


@dataclass(frozen=True)
class Fitted:
    """Samples of the network. mean, spread: (d,) of the features. left_out: (n,) the chain that left out each curve."""

    network: Network
    samples: Tensor
    mean: Floats
    spread: Floats
    left_out: NDArray[np.int64]

    def parts(self, x: Floats) -> Floats:
        """(kept, chains, n, 19) parts of the curves of configurations with features x (n, d)."""
        kept, chains, size = self.samples.shape
        inputs = torch.from_numpy((x - self.mean) / self.spread).expand(kept * chains, *x.shape)
        with torch.no_grad():
            parts, _ = self.network.heads(self.samples.view(-1, size), inputs)
        return np.asarray(parts.view(kept, chains, len(x), SIZE).numpy())


def train(x: Floats, t: Floats, y: Floats, sizes: Sizes, rng: np.random.Generator) -> Fitted:
    """Samples given curves y (n, g) at times t (g,), NaN where a curve was not seen, of features x (n, d)."""
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    left_out = rng.permutation(len(x)) % sizes.chains
    rows, columns = np.nonzero(np.isfinite(y))
    inputs, times, values = ((x - mean) / spread)[rows], t[columns], y[rows, columns]
    data = [torch.from_numpy(np.ascontiguousarray(part)) for part in (inputs, times, values)]
    own = [torch.from_numpy(np.nonzero(left_out[rows] != chain)[0]) for chain in range(sizes.chains)]
    network = Network(x.shape[1], sizes.hidden)

    def energy(theta: Tensor) -> Tensor:
        draws = torch.rand(sizes.chains, sizes.batch, generator=generator, dtype=torch.float64)
        batch = torch.stack([rows[(draw * len(rows)).long()] for rows, draw in zip(own, draws, strict=True)])
        parts, log_variance = network.heads(theta, data[0][batch])
        predicted: Tensor = curve(data[1][batch][..., None], parts, torch)[..., 0]
        far = data[2][batch] - predicted
        likelihood = -0.5 * (far**2 * (-log_variance).exp() + log_variance)
        quiet = -0.5 * (log_variance - PRIOR) ** 2
        weights = -0.5 * (theta**2).sum(dim=1)
        return -(len(values) * likelihood.mean(dim=1) + len(x) * quiet.mean(dim=1) + weights)

    start = network.start(sizes.chains, generator)
    samples = sghmc(energy, start, generator, steps=sizes.steps, burn=sizes.burn, every=sizes.every, rate=sizes.rate)
    return Fitted(network, samples, mean, spread, left_out)
