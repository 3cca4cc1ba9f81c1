"""Metrics of a candidate by training it.

A trial with a parent of the same candidate goes on from the parent's weights (ASHA); the learning rate is then where
a longer training has it.

Differs from the papers, all of them: candidates are trained by SGD with momentum (automl_ext/training.py), one cycle or
a constant rate, whatever optimizer and schedule a paper has (MetaQNN: Adam, begun anew at lower rates where it fails);
the accuracy is that behind the last epoch (NSGA-Net: the mean of the last three).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from automl_ext.tasks.architecture.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from automl_ext.tasks.architecture.family import Family
from automl_ext.tasks.architecture.latency_table import looked_up, read_latencies
from automl_ext.tasks.architecture.layers import DropPath
from automl_ext.tasks.architecture.measure import measured_latency, size_of
from automl_ext.tasks.architecture.reference import build_handmade, is_handmade
from automl_ext.tasks.architecture.regularise import Auxiliary, Regularise, auxiliary_loss, body_of
from torch import nn

from automl_ext.data import Data
from automl_ext.env import Job, Report
from automl_ext.objective import Metrics
from automl_ext.space import Candidate
from automl_ext.training import Loss, Recipe, accuracy, lent_seed, train

__all__ = ["Training", "direct", "summed"]


@dataclass(frozen=True)
class Training:
    """How candidates of `family` are trained on `data`, and judged.

    cutout: share of the side. drop_path: its rate at the end of a training. auxiliary: a second classifier learns
    along. latency: (candidate, network, folder of what was prepared) -> milliseconds, None where it is not asked for.
    """

    family: Family
    data: Data
    shape: tuple[int, int, int]
    recipe: Recipe
    device: torch.device
    cutout: float = 0.0
    drop_path: float = 0.0
    auxiliary: bool = False
    latency: Callable[[Candidate, nn.Module, str | None], float] | None = None

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """accuracy: of validation images, in [0, 1]; params_k, macs_m and, where asked for, latency_ms."""
        network, epochs = self.trained(job, report)
        if job.folder is not None:
            write_checkpoint(network, self._key(job.candidate), epochs, Path(job.folder))
        found = {"accuracy": accuracy(network, self.data.val, self.data, self.device)}
        found |= size_of(network, self.shape)
        if self.latency is not None:
            found["latency_ms"] = self.latency(job.candidate, network.to("cpu"), job.shared)
        return found

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy` of the network that the parent trained, or of a new one at the same budget."""
        network = self.stored(job)
        if network is None:
            network, _ = self.trained(job, report)
        return {"test_accuracy": accuracy(network, self.data.test, self.data, self.device)}

    def stored(self, job: Job) -> nn.Module | None:
        """The network that the parent trained, None where it trained no such one."""
        earlier = self._earlier(job)
        if earlier is None:
            return None
        network = self.fresh(job.candidate, job.seed)
        network.load_state_dict(dict(earlier.state))
        return network.to(self.device)

    def trained(self, job: Job, report: Report) -> tuple[nn.Module, int]:
        """The network after the job's budget, and its epochs."""
        network, recipe = self.fresh(job.candidate, job.seed), self.recipe_of(job)
        earlier = self._earlier(job) if job.stage == "search" else None
        if earlier is not None and earlier.epochs <= recipe.epochs:
            network.load_state_dict(dict(earlier.state))
        else:
            earlier = None
        with lent_seed(job.seed + 1):
            second = Auxiliary(network, self.shape, self.data.classes) if self.auxiliary and body_of(network) else None
        loss: Loss | None = partial(auxiliary_loss, smoothing=recipe.smoothing) if second else None
        done = train(
            second or network, self.data.train, self.data, recipe, seed=job.seed, device=self.device,
            report=report if job.stopping is not None else None, loss=loss, transform=self._transform(network),
            start=earlier.epochs if earlier else 0,
        )  # fmt: skip
        if second is not None:
            second.detach()
        return network, done.epochs

    def recipe_of(self, job: Job) -> Recipe:
        """How the job's candidate is trained: the recipe, what the candidate says of it, and the budget in epochs."""
        recipe = self.recipe
        if not is_handmade(job.candidate):
            recipe = self.family.recipe(job.candidate, recipe)
        return replace(recipe, epochs=max(1, round(job.budget)) if job.budget else recipe.epochs)

    def fresh(self, candidate: Candidate, seed: int) -> nn.Module:
        """The network of a candidate, its weights drawn from the seed."""
        with lent_seed(seed):
            if is_handmade(candidate):
                return build_handmade(candidate, self.shape, self.data.classes)
            return self.family.build(candidate)

    def check(self, candidates: Mapping[str, Candidate]) -> None:
        """ValueError, one line, where drop-path or an auxiliary classifier has nothing to work on."""
        own = [candidate for candidate in candidates.values() if not is_handmade(candidate)]
        own = own or [self.family.space.build(lambda walk: walk.decision.first)]
        networks = (self.fresh(candidate, 0) for candidate in own)
        if self.drop_path and not any(isinstance(module, DropPath) for each in networks for module in each.modules()):
            raise ValueError("drop_path: networks of this space have no paths that could be dropped")
        if self.auxiliary:
            Auxiliary(self.fresh(own[0], 0), self.shape, self.data.classes)

    def _transform(self, network: nn.Module) -> Regularise | None:
        fill = tuple(round(255 * mean) for mean in self.data.mean)
        made = Regularise(network, self.cutout, self.drop_path, fill)
        return made if self.cutout or (self.drop_path and made.drops) else None

    def _earlier(self, job: Job) -> Checkpoint | None:
        """What the parent left, if it is of this candidate."""
        found = read_checkpoint(job.parent)
        return found if found is not None and found.key == self._key(job.candidate) else None

    def _key(self, candidate: Candidate) -> str:
        """Of this very candidate: isomorphic ones have their weights under other names."""
        return repr(sorted(candidate.items()))


def direct(candidate: Candidate, network: nn.Module, shared: str | None, shape: tuple[int, int, int]) -> float:
    """The latency of the network itself."""
    return measured_latency(network, shape)


def summed(
    candidate: Candidate, network: nn.Module, shared: str | None, family: Family, shape: tuple[int, int, int]
) -> float:
    """The latencies of its parts together, from the table in `shared`; hand-made networks are measured whole."""
    if is_handmade(candidate) or family.pieces is None:
        return measured_latency(network, shape)
    return looked_up(family.pieces(candidate), read_latencies(shared))
