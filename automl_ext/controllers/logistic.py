"""The truncated logistic distribution: how a policy decides a number.

A logistic density with a centre and a width, cut to what is legal and renormalised. Its distribution function is a
sigmoid, so that masses, densities and draws have closed forms that stay exact far out in the tails.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

NARROWEST, WIDEST = 0.01, 1.0
BINS = 16


def shape(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Raw outputs (n, 2) -> centre (n,) in (-0.5, 1.5) and width (n,) in (0.01, 1); zeros give 0.5 and 0.5."""
    start = math.log(0.5 / NARROWEST) / math.log(WIDEST / NARROWEST)
    part = torch.sigmoid(raw[:, 1] + math.log(start / (1 - start)))
    return 0.5 + torch.tanh(raw[:, 0]), NARROWEST * (WIDEST / NARROWEST) ** part


def log_mass(centre: Tensor, width: Tensor, left: Tensor, size: Tensor) -> Tensor:
    """Logarithm of the uncut mass of [left, left + size]; all broadcast. size > 0."""
    low = (left - centre) / width
    far = size / width
    return logsigmoid(low + far) + logsigmoid(-low) + torch.log(-torch.expm1(-far))


def log_density(centre: Tensor, width: Tensor, at: Tensor) -> Tensor:
    """Logarithm of the uncut density."""
    place = (at - centre) / width
    return logsigmoid(place) + logsigmoid(-place) - torch.log(width)


def entropy(centre: Tensor, width: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """Entropy (n,) in nats over BINS equal bins of the legal range [low, low + span], from 0 to log(BINS)."""
    edges = torch.arange(BINS, dtype=low.dtype, device=low.device) / BINS
    left = low[:, None] + span[:, None] * edges
    log_p = log_mass(centre[:, None], width[:, None], left, span[:, None] / BINS)
    log_p = torch.log_softmax(log_p, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def quantile(centre: float, width: float, low: float, high: float, share: float) -> float:
    """The place in [low, high] below which `share` of the cut distribution lies."""
    if centre < low:
        mirrored = quantile(low + high - centre, width, low, high, 1.0 - share)
        return min(max(low + high - mirrored, low), high)
    below, above = _sigmoid((low - centre) / width), _sigmoid((high - centre) / width)
    mass = below + share * (above - below)
    if mass <= 0.0 or mass >= 1.0:
        return low if mass <= 0.0 else high
    return min(max(centre + width * math.log(mass / (1.0 - mass)), low), high)


def _sigmoid(x: float) -> float:
    if x < 0.0:
        return math.exp(x) / (1.0 + math.exp(x))
    return 1.0 / (1.0 + math.exp(-x))
