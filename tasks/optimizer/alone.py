"""Training lane by lane with any optimizer of torch: for Muon, which is no rule of ours, and as an oracle of the rest.

Jordan et al. 2024 made Muon; torch.optim.Muon takes matrices only, and AdamW steps what is none, as is usual.

Differs from the authors' code: weights of convolutions are left to AdamW; they flatten these to matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from automl_ext.tasks.optimizer.children import Child
from automl_ext.tasks.optimizer.population import Outcome, Plan, batches, factor, generator_of
from torch import Tensor

Make = Callable[[Sequence[Tensor], float, float], Sequence[torch.optim.Optimizer]]
"""make(parameters, learning rate, weight decay)"""

HAS_MUON = hasattr(torch.optim, "Muon")


def muon(parameters: Sequence[Tensor], rate: float, decay: float) -> list[torch.optim.Optimizer]:
    """Muon for matrices at `rate`, AdamW at a tenth of it for all else."""
    matrices = [each for each in parameters if each.ndim == 2]
    others = [each for each in parameters if each.ndim != 2]
    made: list[torch.optim.Optimizer] = []
    if matrices:
        made.append(torch.optim.Muon(matrices, lr=rate, weight_decay=decay))
    if others:
        made.append(torch.optim.AdamW(others, lr=rate / 10, weight_decay=decay))
    return made


def trained_alone(make: Make, child: Child, plan: Plan, seed: int) -> Outcome | None:
    """As population.trained for one optimizer; None where it diverges."""
    scores = []
    for rate, decay in plan.settings:
        weights = _run(make, child, plan, seed, 0, rate, decay, plan.sweep)
        loss = float(child.judged(weights, child.val)[0][0])
        scores.append(loss if math.isfinite(loss) else math.inf)
    if math.isinf(min(scores)):
        return None
    rate, decay = plan.settings[scores.index(min(scores))]
    found = []
    for repeat in range(plan.repeats):
        weights = _run(make, child, plan, seed, 1 + repeat, rate, decay, plan.steps)
        mean, right = child.judged(weights, child.reported)
        found.append((float(mean[0]), float(right[0])))
    losses = tuple(loss for loss, _ in found)
    if not all(map(math.isfinite, losses)):
        return None
    return Outcome(rate, decay, sum(losses) / len(losses), sum(share for _, share in found) / len(found), losses)


def _run(
    make: Make, child: Child, plan: Plan, seed: int, start: int, rate: float, decay: float, steps: int
) -> list[Tensor]:
    """The weights (1, *shape) after a training."""
    row = child.fresh(generator_of(seed, "start", start))[None]
    parameters = [part[0].clone().requires_grad_() for part in child.split(row)]
    optimizers = make(parameters, rate, decay)
    for step, index in enumerate(batches(len(child.train[1]), plan.batch, steps, seed), 1):
        inputs, labels = child.train
        loss = child.losses([each[None] for each in parameters], inputs[index], labels[index]).sum()
        gradients = torch.autograd.grad(loss, parameters)
        for each, gradient in zip(parameters, gradients, strict=True):
            each.grad = gradient
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group.setdefault("first", group["lr"])
                group["lr"] = group["first"] * factor(plan.schedule, step, steps)
            optimizer.step()
    return [each.detach()[None] for each in parameters]
