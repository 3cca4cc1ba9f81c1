"""Which rules do the same: their updates on fixed random gradients and weights, rounded and hashed.

Real, Liang, So, Le: "AutoML-Zero", ICML 2020, arXiv 2003.03384, hash a short training for the same purpose; here no
child is needed. Two rules that differ only beyond the fifth digit are taken for one.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from automl_ext.tasks.optimizer.graph import Graph, RuleError
from automl_ext.tasks.optimizer.interpreter import Interpreter

STEPS, COUNT, DIGITS = 4, 64, 2.0**17


def fingerprint(graph: Graph) -> str:
    """32 hexadecimal digits. Raises RuleError for an update that is the same whatever the gradient is."""
    return _fingerprint(graph)


@lru_cache(maxsize=100_000)
def _fingerprint(graph: Graph) -> str:
    gradients, weights, uniform, normal = _probes()
    made = Interpreter([graph], 2, COUNT)
    made.rates.fill_(0.01)
    found = []
    for step in range(STEPS):
        made.gradient[0], made.weights[0] = gradients[step], weights[step]
        draws = [{"uniform": uniform[step, k], "normal": normal[step, k]} for k in range(made.streams)]
        found.append(made.updates(step + 1, STEPS, draws)[0].numpy())
    updates = np.stack(found)
    if np.array_equal(updates[:, 0], updates[:, 1], equal_nan=True):
        raise RuleError("the update never uses the gradient: it is the same for any")
    share, exponent = np.frexp(np.nan_to_num(updates, nan=1e30, posinf=1e31, neginf=-1e31))
    rounded = np.rint(share * DIGITS).astype(np.int64)
    digest = hashlib.blake2b(np.ascontiguousarray(rounded).tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(exponent).tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _probes() -> tuple[torch.Tensor, ...]:
    """Gradients that differ between the two lanes, weights that do not, and drawn numbers for up to 64 operations."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(STEPS, 2, COUNT, generator=generator) * torch.logspace(-3, 0, COUNT)
    weights = torch.randn(STEPS, 1, COUNT, generator=generator).expand(-1, 2, -1)
    uniform = torch.rand(STEPS, 64, COUNT, generator=generator)
    return gradients, weights, uniform, torch.randn(STEPS, 64, COUNT, generator=generator)
