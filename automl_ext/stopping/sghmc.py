"""Stochastic gradient Hamiltonian Monte Carlo with adaptive preconditioning, as in BOHAMIANN.

J. T. Springenberg, A. Klein, S. Falkner, F. Hutter, "Bayesian Optimization with Robust Bayesian Neural Networks",
NIPS 2016; T. Chen, E. Fox, C. Guestrin, 2014, arXiv 1402.4102.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
"""energy(theta (k, p)) -> (k,): the negative log posterior of each chain up to a constant, or an estimate of it."""


def sghmc(
    energy: Energy,
    start: Tensor,
    generator: torch.Generator,
    *,
    steps: int,
    burn: int,
    every: int,
    rate: float = 1e-2,
    decay: float = 0.05,
    noise: bool = True,
) -> Tensor:
    """(kept, k, p) samples of k chains that start at `start` (k, p) and never meet.

    steps: in all, the first `burn` of them adapt the preconditioner and are dropped; of the rest every `every`th is
    kept. rate: the step size epsilon. decay: the friction alpha. noise: off makes it preconditioned descent.
    """
    theta = start.detach().clone()
    tau, mean, square = torch.ones_like(theta), torch.zeros_like(theta), torch.ones_like(theta)
    momentum, kept = torch.zeros_like(theta), []
    for step in range(1, steps + 1):
        here = theta.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(energy(here).sum(), here)
        if step <= burn:
            share = 1 / (tau + 1)
            tau = tau * (1 - mean**2 / square) + 1
            mean = mean + (gradient - mean) * share
            square = square + (gradient**2 - square) * share
        scale = square.clamp(min=1e-16) ** -0.5
        momentum = momentum - rate**2 * scale * gradient - decay * momentum
        if noise:
            variance = (2 * rate**2 * decay * scale - rate**4).clamp(min=1e-16)
            momentum = momentum + variance.sqrt() * torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
        theta = theta + momentum
        if step > burn and (step - burn) % every == 0:
            kept.append(theta)
    return torch.stack(kept) if kept else theta.new_zeros((0, *theta.shape))
