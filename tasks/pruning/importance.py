"""Which channels of a group matter most. Ranked once, on the dense network; a policy keeps the first of the ranking.

magnitude: the L1 norm of a channel's weights, summed over all layers of the group (AMC).
reconstruction: backward elimination; the next channel to go is the one whose loss raises the readers' least-squares
error least when the channels that are left are refitted (the optimal brain surgeon on blocks, Hassibi and Stork,
NIPS 1992), from the Gram matrices of the dense network's inputs. Errors are in shares of each reader's output power.
More ways stand in criteria.py.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from automl_ext.tasks.pruning.calibration import Grams
from automl_ext.tasks.pruning.coupling import entries, full_group, trace
from automl_ext.tasks.pruning.groups import Group, Plan
from torch import Tensor, nn

__all__ = ["rank_by_magnitude", "rank_by_reconstruction"]


def rank_by_magnitude(network: nn.Module, example: Tensor, plan: Plan) -> dict[str, list[int]]:
    """Channels of each group, the most important first. Ties: the earlier channel first."""
    twin = copy.deepcopy(network).eval()
    graph = trace(twin, example)
    modules = dict(twin.named_modules())
    ranking = {}
    for group in plan.groups:
        score = torch.zeros(group.channels, dtype=torch.float64)
        for module, out, own, roots in entries(graph, full_group(graph, modules[group.name])):
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight.detach().double().cpu().abs()
                norm = weight.flatten(1).sum(1) if out else weight.transpose(0, 1).flatten(1).sum(1)
                score.index_add_(0, torch.tensor(roots), norm[own])
        ranking[group.name] = [int(index) for index in torch.argsort(score, descending=True, stable=True)]
    return ranking


@dataclass
class _Reader:
    """A layer in the course of elimination.

    inverse: of the Gram matrix of what is left, (f, f); weight: refitted (f, o); columns: (channels left, columns a
    channel) of both; power: of the dense layer's output.
    """

    inverse: Tensor
    weight: Tensor
    columns: Tensor
    power: float

    def costs(self) -> Tensor:
        """(channels left,): by how much the error grows when a channel goes, in shares of the output power."""
        blocks = self.inverse[self.columns[:, :, None], self.columns[:, None, :]]
        weight = self.weight[self.columns]
        growth: Tensor = (weight * torch.linalg.solve(blocks, weight)).sum((1, 2)) / self.power
        return growth

    def drop(self, place: int) -> None:
        """Take the channel at `place` out and refit the others."""
        gone = self.columns[place]
        stay = torch.ones(len(self.inverse), dtype=torch.bool)
        stay[gone] = False
        across = self.inverse[stay][:, gone]
        solved = torch.linalg.solve(self.inverse[gone][:, gone], torch.cat([self.weight[gone], across.T], 1))
        self.weight = self.weight[stay] - across @ solved[:, : self.weight.shape[1]]
        self.inverse = self.inverse[stay][:, stay] - across @ solved[:, self.weight.shape[1] :]
        renumbered = torch.cumsum(stay, 0) - 1
        left = torch.ones(len(self.columns), dtype=torch.bool)
        left[place] = False
        self.columns = renumbered[self.columns[left]]


def rank_by_reconstruction(
    plan: Plan, grams: Mapping[str, Grams], fallback: Mapping[str, list[int]], ridge: float
) -> dict[str, list[int]]:
    """Channels of each group, the most important first; by `fallback` where no reader of the group can be solved."""
    return {group.name: _eliminate(plan, group, grams, ridge) or fallback[group.name] for group in plan.groups}


def _eliminate(plan: Plan, group: Group, grams: Mapping[str, Grams], ridge: float) -> list[int]:
    readers = [_reader(plan, group, name, grams[name], ridge) for name in group.readers if name in grams]
    if not readers:
        return []
    left = list(range(group.channels))
    gone = []
    while len(left) > 1:
        cost = torch.stack([reader.costs() for reader in readers]).sum(0)
        place = int(cost.argmin())
        gone.append(left.pop(place))
        for reader in readers:
            reader.drop(place)
    return left + gone[::-1]


def _reader(plan: Plan, group: Group, name: str, known: Grams, ridge: float) -> _Reader:
    layer = plan.layer(name)
    taps = len(known.gram) // layer.inputs
    own = torch.tensor(layer.reads[group.name])
    columns = (own[:, :, None] * taps + torch.arange(taps)).flatten(1)
    gram = known.gram.cpu()
    weight = known.weight.cpu().T
    power = float((weight * (gram @ weight)).sum()) + torch.finfo(torch.float32).tiny
    strength = max(ridge, 1e-6) * float(gram.diagonal().mean()) + torch.finfo(torch.float32).tiny
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram + strength * torch.eye(len(gram), dtype=gram.dtype)))
    return _Reader(inverse, weight.clone(), columns, power)
