"""Least-squares reconstruction: weights of a pruned network that give the dense network's feature maps back.

sequential: one pass over calibration images. Where it reaches a layer, the layer's weights and bias are solved from
the inputs that the pruned network really has there and the dense network's outputs, at a few random points of each
map (He, Zhang, Sun: "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, arXiv 1707.06168).
gram: the same from the dense network's inputs, whose Gram matrices were made beforehand: no pass at all.

Weights are pulled towards the pruned ones by a little ridge, so that the squared error on the calibration points is
never larger than without reconstruction. Grouped and depthwise convolutions stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from automl_ext.tasks.pruning.calibration import Dense, Grams
from automl_ext.tasks.pruning.flow import Flow
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.prune import Indices
from automl_ext.tasks.pruning.rows import parts_of, points_of, rows_of, weight_columns, weight_shaped
from automl_ext.tasks.pruning.segments import Values, pass_by
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["fit", "reconstruct", "reconstruct_by_gram", "reestimate_norms", "solve"]


ENOUGH = 0.01
"""With a ridge of at least this, single precision solves as well as double does."""


def solve(gram: Tensor, right: Tensor, ridge: float) -> Tensor:
    """Change of weights (f, o) that minimises the squared error plus ridge x mean input power x squared change.

    gram: (f, f) of centred inputs; right: (f, o) products of centred inputs and what is missing from the outputs.
    """
    if ridge < ENOUGH:
        gram, right = gram.double(), right.double()
    power = ridge * gram.diagonal().mean() + torch.finfo(torch.float32).tiny
    strong = gram.clone()
    strong.diagonal().add_(power)
    factor, failed = torch.linalg.cholesky_ex(strong)
    if not int(failed):
        return torch.cholesky_solve(right, factor)
    if gram.dtype != torch.float64:
        return solve(gram.double(), right.double(), ridge)
    change: Tensor = torch.linalg.pinv(gram, hermitian=True) @ right  # no ridge, dependent inputs: least change
    return change


def fit(rows: Tensor, missing: Tensor, ridge: float) -> Tensor:
    """`solve` for centred inputs `rows` (m, f) and what is missing (m, o), by the smaller of both Gram matrices."""
    count, inputs = rows.shape
    if count >= inputs:
        return solve(_gram(rows.T), rows.T @ missing, ridge)
    solved = solve(_gram(rows), missing, ridge * count / inputs)
    return rows.T.to(solved) @ solved


def _gram(rows: Tensor) -> Tensor:
    """rows @ rows.T: (m, m), products of a pair computed once (but for pairs within a block)."""
    count = len(rows)
    size = max(128, -(-count // 6))
    gram = rows.new_empty(count, count)
    for first in range(0, count, size):
        block = rows[first:] @ rows[first : first + size].T
        gram[first:, first : first + size] = block
        gram[first : first + size, first:] = block.T
    return gram


@dataclass
class _Sequence:
    """Solves layer after layer in the order of the pass. changed: whether anything differs from the dense one yet."""

    modules: Mapping[str, nn.Module]
    flow: Flow
    plan: Plan
    keep: Indices
    dense: Dense
    ridge: float
    refit: bool
    changed: bool = False

    def __call__(self, name: str, module: nn.Module, inputs: fx.Node, values: Values) -> None:
        layer = self.plan.layer(name)
        cut = len(layer.kept_inputs(self.keep)) < layer.inputs
        if name not in self.dense.outputs or not (cut or (self.refit and self.changed)):
            self.changed |= cut
            return
        self.changed = True
        outputs = layer.kept_outputs(self.keep)
        wanted = self.dense.outputs[name][:, outputs] + self._owed(name, outputs, values)
        own: Any = module.weight
        weight = weight_columns(own)
        rows = rows_of(parts_of(values, inputs), module, self.dense.places[name])
        mean_in, mean_out = rows.mean(0), wanted.mean(0)
        rows -= mean_in
        missing = torch.addmm(wanted - mean_out, rows, weight.T, alpha=-1)
        fitted = weight + fit(rows, missing, self.ridge).T.to(weight)
        put(module, weight_shaped(fitted, own), mean_out - fitted @ mean_in)

    def _owed(self, name: str, outputs: list[int], values: Values) -> Tensor | float:
        """What the other side of the sum that the layer ends in has lost, in units of the layer's output: (m, o)."""
        if name not in self.dense.partners:
            return 0.0
        end = self.flow.sums[name]
        now = points_of(parts_of(values, end.partner), self.dense.places[name])
        lost = self.dense.partners[name][:, outputs] - now
        if end.norm is None:
            return lost
        norm: Any = self.modules[end.norm]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        usable = scale.abs() > 1e-2  # a channel that the norm all but silences cannot make up for anything
        return torch.where(usable, lost / torch.where(usable, scale, 1.0), 0.0)


def reconstruct(
    smaller: nn.Module, flow: Flow, plan: Plan, keep: Indices, dense: Dense, *, ridge: float, refit: bool
) -> None:
    """Sequential reconstruction of `smaller`, the dense network with only `keep` left, in place.

    ridge: in shares of the mean input power. refit: solve the layers that keep all their inputs, too, once something
    before them has changed: those ahead of the cut ones, and the classifier. Solved layers have a bias afterwards.
    """
    solver = _Sequence(dict(smaller.named_modules()), flow, plan, keep, dense, ridge, refit)
    pass_by(smaller, flow, dense.images, solver)


def reconstruct_by_gram(
    smaller: nn.Module, plan: Plan, keep: Indices, grams: Mapping[str, Grams], *, ridge: float
) -> None:
    """Reconstruction of the layers of `smaller` that lost inputs, from what the dense network sees, in place."""
    modules = dict(smaller.named_modules())
    for name, known in grams.items():
        layer = plan.layer(name)
        inputs, outputs = layer.kept_inputs(keep), layer.kept_outputs(keep)
        if len(inputs) == layer.inputs:
            continue
        taps = len(known.gram) // layer.inputs
        columns = (torch.tensor(inputs)[:, None] * taps + torch.arange(taps)).flatten().to(known.gram.device)
        module: Any = modules[name]
        weight = module.weight.detach().flatten(1).double()
        among = known.gram[columns]
        missing = among @ known.weight[outputs].T - among[:, columns] @ weight.T
        fitted = weight + solve(among[:, columns], missing, ridge).T
        bias = known.bias[outputs] + known.weight[outputs] @ known.mean - fitted @ known.mean[columns]
        put(module, fitted, bias)


def put(module: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Give a layer new weights (o, f) and a bias (o,), which it need not have had."""
    old: Any = module.weight
    module.weight = nn.Parameter(weight.detach().to(old).view_as(old).contiguous())
    module.bias = nn.Parameter(bias.detach().to(old))


def reestimate_norms(network: nn.Module, images: Tensor, batch: int = 100) -> None:
    """Batch-norm statistics of `network` anew, as the average over batches of `images` (n, c, h, w), in place.

    No batch is a single image, which has no variance where maps are 1x1, unless there is only one.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        parts = list(images.split(batch))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        for part in parts:
            network(part)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
