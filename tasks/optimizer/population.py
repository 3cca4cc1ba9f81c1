"""Population training: many update rules train a child task at once, a learning rate each found by a short sweep.

Sweep: every rule trains at all learning rates (and weight decays) side by side, from the same start, a lane each; the
lane with the smallest validation loss names its setting. Main training: every rule anew at its setting, `repeats`
lanes from different starts. Rules whose lanes have all left the finite numbers are dropped where that is seen.

All lanes see the same batches, starts and drawn numbers, which come from the seed alone. A rule's result is the same
to the bit whatever rules are trained beside it: nothing of one lane enters another, and every kernel treats its rows
alike (interpreter.py; batched matrix products are one for each lane).

Differs from the papers: denormal numbers count as zero while a population trains, since rules with high powers of the
gradient would make them by the million, each a hundred times as slow as other numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from automl_ext.tasks.optimizer.children import Child, Examples
from automl_ext.tasks.optimizer.graph import SCALARS, Graph
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.stacked import EXAMPLES
from torch import Tensor

Schedule = Literal["constant", "linear", "cosine"]
CHECK = 10
"""Steps between looks for lanes that have diverged."""


@dataclass(frozen=True)
class Plan:
    """rates, decays: of the sweep, all pairs of them. sweep, steps: of both parts. repeats: starts of the main part.

    schedule: what the learning rate is multiplied by over a training; decay: weights <- (1 - rate * decay) * weights.
    """

    rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0)
    decays: tuple[float, ...] = (0.0,)
    sweep: int = 20
    steps: int = 100
    batch: int = 32
    repeats: int = 1
    schedule: Schedule = "constant"

    @property
    def settings(self) -> list[tuple[float, float]]:
        return [(rate, decay) for decay in self.decays for rate in self.rates]


@dataclass(frozen=True)
class Outcome:
    """Of one rule on one child. loss, accuracy: the means over repeats. losses: of each. curve: (step, training loss).

    Measured on validation examples, or on test examples where validation chose the setting and the child has some.
    """

    rate: float
    decay: float
    loss: float
    accuracy: float
    losses: tuple[float, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()


def trained(graphs: Sequence[Graph], child: Child, plan: Plan, seed: int) -> list[Outcome | None]:
    """What becomes of each rule; None for one that diverges at every setting, or at its best one later."""
    found: list[Outcome | None] = [None] * len(graphs)
    with _no_denormals():
        settings: dict[int, tuple[float, float]] = {}
        for rules in _chunks(range(len(graphs)), child.lanes // len(plan.settings)):
            settings |= _swept([graphs[rule] for rule in rules], rules, child, plan, seed)
        for rules in _chunks(list(settings), child.lanes // plan.repeats):
            chosen = [settings[rule] for rule in rules]
            for rule, outcome in _finished([graphs[rule] for rule in rules], rules, chosen, child, plan, seed).items():
                found[rule] = outcome
    return found


def _chunks(rules: Sequence[int], most: int) -> Iterator[list[int]]:
    for start in range(0, len(rules), max(1, most)):
        yield list(rules[start : start + max(1, most)])


def _swept(
    graphs: Sequence[Graph], rules: Sequence[int], child: Child, plan: Plan, seed: int
) -> dict[int, tuple[float, float]]:
    """Rule -> its best (rate, decay), of those that have any."""
    settings = plan.settings
    rates = torch.tensor([rate for rate, _ in settings]).expand(len(graphs), -1)
    decays = torch.tensor([decay for _, decay in settings]).expand(len(graphs), -1)
    start = child.fresh(generator_of(seed, "start", 0)).expand(len(settings), -1)
    part = Training(graphs, child, plan, seed, start, rates, decays, plan.sweep)
    alive = part.run()
    losses, _ = part.judged(child.val)
    best = {}
    for place, rule in enumerate(alive):
        own = torch.nan_to_num(losses[place], nan=torch.inf)
        if torch.isfinite(own).any():
            best[rules[rule]] = settings[int(own.argmin())]
    return best


def _finished(
    graphs: Sequence[Graph],
    rules: Sequence[int],
    settings: Sequence[tuple[float, float]],
    child: Child,
    plan: Plan,
    seed: int,
) -> dict[int, Outcome]:
    starts = torch.stack([child.fresh(generator_of(seed, "start", 1 + repeat)) for repeat in range(plan.repeats)])
    rates, decays = (torch.tensor(values)[:, None].expand(-1, plan.repeats) for values in zip(*settings, strict=True))
    part = Training(graphs, child, plan, seed, starts, rates, decays, plan.steps)
    alive = part.run()
    losses, accuracies = part.judged(child.reported)
    found = {}
    for place, rule in enumerate(alive):
        if torch.isfinite(losses[place]).all():
            rate, decay = settings[rule]
            curve = tuple((step, float(mean[place])) for step, mean in part.curve)
            found[rules[rule]] = Outcome(
                rate, decay, float(losses[place].mean()), float(accuracies[place].mean()),
                tuple(losses[place].tolist()), curve,
            )  # fmt: skip
    return found


@final
class Training:
    """Some rules on one child, for some steps. start: (lanes, count). rates, decays: (rules, lanes)."""

    def __init__(
        self,
        graphs: Sequence[Graph],
        child: Child,
        plan: Plan,
        seed: int,
        start: Tensor,
        rates: Tensor,
        decays: Tensor,
        steps: int,
    ) -> None:
        self.child, self.plan, self.steps = child, plan, steps
        self.rules = list(range(len(graphs)))
        self.run_by = Interpreter(graphs, len(start), child.count)
        self.run_by.weights[..., : child.count] = start
        self.run_by.rates = rates[..., None].contiguous()
        self.decays = decays[..., None].contiguous()
        self.order = batches(len(child.train[1]), plan.batch, steps, seed)
        self.drawing = [generator_of(seed, "drawn", stream) for stream in range(self.run_by.streams)]
        self.curve: list[tuple[int, Tensor]] = []
        self._views()

    def run(self) -> list[int]:
        """Train; the places of the rules that are left."""
        total = torch.zeros(())
        for step in range(1, self.steps + 1):
            if not self.rules:
                break
            losses = self._step(step)
            total = losses if step % CHECK == 1 else total + losses
            if step % CHECK == 0 or step == self.steps:
                self._look(step, (total / (1 + (step - 1) % CHECK)).view(len(self.rules), -1))
        return self.rules

    def judged(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """(rules, lanes) loss and accuracy of those that are left."""
        if not self.rules:
            return torch.zeros(0, self.run_by.lanes), torch.zeros(0, self.run_by.lanes)
        losses, accuracies = self.child.judged(self._weights, examples)
        return losses.view(len(self.rules), -1), accuracies.view(len(self.rules), -1)

    def _step(self, step: int) -> Tensor:
        index = self.order[step - 1]
        inputs, labels = self.child.train
        losses = self.child.losses(self._leaves, inputs[index], labels[index])
        gradients = torch.autograd.grad(losses.sum(), self._leaves)
        for target, gradient in zip(self._gradients, gradients, strict=True):
            target.copy_(gradient)
        scale = factor(self.plan.schedule, step, self.steps)
        draws = [self._drawn(generator) for generator in self.drawing]
        before = self.run_by.weights * (scale * self.run_by.rates * self.decays) if self.decays.any() else None
        self.run_by.step(step, self.steps, scale, draws)
        if before is not None:
            self.run_by.weights.sub_(before)
        return losses.detach()

    def _drawn(self, generator: torch.Generator) -> Mapping[str, Tensor]:
        size = self.run_by.size
        return {"uniform": torch.rand(size, generator=generator), "normal": torch.randn(size, generator=generator)}

    def _look(self, step: int, losses: Tensor) -> None:
        """Drop the rules that have no finite lane any more."""
        finite = torch.isfinite(losses).any(1).tolist()
        if not all(finite):
            kept = [place for place, good in enumerate(finite) if good]
            self.rules = [self.rules[place] for place in kept]
            self.curve = [(at, mean[kept]) for at, mean in self.curve]
            if kept:
                self.run_by, self.decays, losses = self.run_by.keep(kept), self.decays[kept], losses[kept]
                self._views()
        if self.rules:
            self.curve.append((step, losses.mean(1)))

    def _views(self) -> None:
        size = self.run_by.size
        self._weights = self.child.split(self.run_by.weights.view(-1, size))
        self._leaves = [weight.detach().requires_grad_() for weight in self._weights]
        self._gradients = self.child.split(self.run_by.gradient.view(-1, size))


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step from 1 on."""
    return 1.0 if schedule == "constant" else SCALARS[schedule](step, steps)


def batches(count: int, batch: int, steps: int, seed: int) -> list[Tensor]:
    """The examples of each step, epoch by epoch, each epoch shuffled anew."""
    generator, batch = generator_of(seed, "order", 0), min(batch, count - count % EXAMPLES)
    a_pass = count // batch
    made: list[Tensor] = []
    while len(made) < steps:
        made += list(torch.randperm(count, generator=generator)[: a_pass * batch].view(a_pass, batch))
    return made[:steps]


def generator_of(seed: int, purpose: str, number: int) -> torch.Generator:
    rng = np.random.default_rng((seed, zlib.crc32(purpose.encode()), number))
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


@contextmanager
def _no_denormals() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
