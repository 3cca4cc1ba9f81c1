"""Which rules do the same: their updates on fixed random gradients and weights, rounded and hashed.

Real, Liang, So, Le: "AutoML-Zero", ICML 2020, arXiv 2003.03384, hash a short training for the same purpose; here no
child is needed. Two rules that differ only beyond the fifth digit are taken for one.

The probes hold what trainings hold: decay factors at the first, some middle and the last step, parameters whose
gradient or weight is exactly zero, and a learning rate that is no constant of a rule.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from automl_ext.tasks.optimizer.graph import Graph, RuleError
from automl_ext.tasks.optimizer.interpreter import Interpreter

STEPS, TOTAL, RATE = (1, 2, 4, 53, 100), 100, 0.0173
"""The steps probed, of how many: every decay factor takes five values there, the restarts' too."""
COUNT, DIGITS = 64, 2.0**17


def fingerprint(graph: Graph) -> str:
    """32 hexadecimal digits. Raises RuleError for an update that is the same whatever the gradient is.

    An update that is finite nowhere is no such: it diverges.
    """
    return _fingerprint(graph)


@lru_cache(maxsize=100_000)
def _fingerprint(graph: Graph) -> str:
    gradients, weights, uniform, normal = _probes()
    made = Interpreter([graph], 2, COUNT)
    made.rates.fill_(RATE)
    found = []
    for place, step in enumerate(STEPS):
        made.gradient[0], made.weights[0] = gradients[place], weights[place]
        draws = [{"uniform": uniform[place, k], "normal": normal[place, k]} for k in range(made.streams)]
        found.append(made.updates(step, TOTAL, draws)[0].numpy())
    updates = np.stack(found)
    finite = np.isfinite(updates)
    if finite.any() and np.array_equal(updates[:, 0], updates[:, 1], equal_nan=True):
        raise RuleError("the update never uses the gradient: it is the same for any")
    kinds = np.where(finite, 0, np.where(np.isnan(updates), 2, np.sign(updates))).astype(np.int8)
    share, exponent = np.frexp(np.where(finite, updates, 0))
    digest = hashlib.blake2b(kinds.tobytes(), digest_size=16)
    digest.update(np.rint(share * DIGITS).astype(np.int64).tobytes())
    digest.update(exponent.tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _probes() -> tuple[torch.Tensor, ...]:
    """Gradients that differ between the two lanes, weights that do not, and drawn numbers for up to 64 operations.

    Of sixteen parameters two never have a gradient, one has none at two of the steps, and two weigh nothing.
    """
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(len(STEPS), 2, COUNT, generator=generator) * torch.logspace(-3, 0, COUNT)
    weights = torch.randn(len(STEPS), 1, COUNT, generator=generator).expand(-1, 2, -1).clone()
    gradients[..., 0::8] = gradients[1::2, :, 1::16] = 0
    weights[..., 0::16] = weights[..., 2::16] = 0
    uniform = torch.rand(len(STEPS), 64, COUNT, generator=generator)
    return gradients, weights, uniform, torch.randn(len(STEPS), 64, COUNT, generator=generator)
