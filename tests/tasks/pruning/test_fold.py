"""Biases in batch norms: the same network with fewer parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from automl_ext.tasks.pruning.evaluate import slim
from automl_ext.tasks.pruning.flow import read
from automl_ext.tasks.pruning.fold import fold_biases
from automl_ext.tasks.pruning.params import total_params, with_params
from torch import nn

from automl_ext.env import Job


class Three(nn.Module):
    """A convolution and a norm; a convolution with a bias and a norm; a convolution that two read; one alone."""

    def __init__(self):
        super().__init__()
        self.plain = nn.Conv2d(1, 4, 3, bias=False)
        self.own = nn.Conv2d(4, 4, 3, bias=True)
        self.shared = nn.Conv2d(4, 4, 1, bias=False)
        self.alone = nn.Conv2d(4, 4, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x):
        x = self.norms[1](self.own(self.norms[0](self.plain(x)).relu())).relu()
        x = self.shared(x)
        return self.alone(x + self.norms[2](x))


def test_the_network_computes_the_same_without_the_new_biases():
    torch.manual_seed(0)
    dense = Three().eval()
    for norm in dense.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    smaller = copy.deepcopy(dense)
    for name in ("plain", "shared", "alone"):
        getattr(smaller, name).bias = nn.Parameter(torch.randn(4))
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        before = smaller(images)
        fold_biases(smaller, dense, read(dense))
        assert torch.allclose(smaller(images), before, atol=1e-5)
        assert not torch.allclose(dense(images), before, atol=1e-2)
    kept = [name for name in ("plain", "own", "shared", "alone") if getattr(smaller, name).bias is not None]
    assert kept == ["own", "shared", "alone"]
    assert torch.equal(smaller.own.bias, dense.own.bias)


@pytest.mark.slow
@pytest.mark.parametrize("reconstruction", ["sequential", "none"])
def test_a_reconstructed_network_has_the_parameters_that_the_plan_counts(env, folder, reconstruction):
    from dataclasses import replace

    prepared = env._prepared(Job(0, {}, shared=str(folder)))
    plan = with_params(env.plan, env._dense(), torch.zeros(1, 1, 8, 8))
    counts = env.references["uniform"]
    network = slim(prepared, counts, replace(env.recovery, reconstruction=reconstruction))
    assert sum(parameter.numel() for parameter in network.parameters()) == total_params(plan, counts)
