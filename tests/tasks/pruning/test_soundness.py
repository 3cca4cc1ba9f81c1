"""Groups are tried on a network in which a signal arrives, and the network is left as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.resnet import ResNet
from automl_ext.tasks.pruning.soundness import lively, sound

from automl_ext.training import lent_seed


def faint():
    """A padded network whose norms let next to nothing through: whatever is cut, the output stays the same."""
    network = ResNet(1, 10, 1).eval()
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.weight.fill_(1e-6)
    return network


def test_a_faint_signal_hides_no_wrong_coupling():
    network, example = faint(), torch.zeros(1, 1, 8, 8)
    before = copy.deepcopy(network.state_dict())
    plan = inspect(network, example)
    assert set(plan.skipped) == {"conv1", "linear", *(f"layer{stage}.0.conv2" for stage in (1, 2, 3))}
    assert len(plan.groups) == 3
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Scaled(torch.nn.Module):
    """A residual branch behind a scale that begins with nothing, or next to nothing."""

    def __init__(self, scale):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = torch.nn.Conv2d(8, 8, 1)
        self.scale, self.linear = torch.nn.Parameter(scale), torch.nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = x + self.scale * self.conv3(torch.relu(self.conv2(x)))
        return self.linear(x.mean((2, 3)))


def test_a_head_of_zeros_hides_no_wrong_coupling():
    network, example = ResNet(1, 10, 1).eval(), torch.zeros(1, 1, 8, 8)
    torch.nn.init.zeros_(network.linear.weight)
    plan = inspect(network, example)
    assert set(plan.skipped) == {"conv1", "linear", *(f"layer{stage}.0.conv2" for stage in (1, 2, 3))}
    assert len(plan.groups) == 3 and not network.linear.weight.any()


@pytest.mark.parametrize("scale", [torch.zeros(()), torch.full((8, 1, 1), 1e-6)], ids=["none", "faint"])
def test_branches_that_begin_with_nothing_are_tried(scale):
    with lent_seed(0):
        network = lively(Scaled(scale), torch.zeros(2, 1, 8, 8), torch.Generator().manual_seed(0))
        assert network.scale.abs().min() >= 0.5
        good, reasons = sound(Scaled(scale), torch.zeros(1, 1, 8, 8), {"conv1": 8, "conv2": 8})
    assert good == ["conv1", "conv2"] and not reasons


def test_channels_without_effect_are_not_offered():
    """Half of conv2 is dead, and then all of it."""
    with lent_seed(0):
        network = Scaled(torch.ones(()))
        with torch.no_grad():
            network.conv2.bias[4:] = -100
            good, reasons = sound(network, torch.zeros(1, 1, 8, 8), {"conv2": 8})
            assert good == ["conv2"] and not reasons
            network.conv2.bias.fill_(-100)
            good, reasons = sound(network, torch.zeros(1, 1, 8, 8), {"conv1": 8, "conv2": 8})
    assert good == ["conv1"] and "no effect" in reasons["conv2"]


def test_reasons_name_what_is_wrong():
    good, reasons = sound(faint(), torch.zeros(1, 1, 8, 8), {"layer1.0.conv1": 16, "conv1": 16, "linear": 10})
    assert good == ["layer1.0.conv1"]
    assert "something else" in reasons["conv1"] and "output" in reasons["linear"]


def test_the_copy_has_statistics_of_the_probe():
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn((8, 1, 8, 8), generator=generator)
    twin = lively(faint(), probe, generator)
    with torch.no_grad():
        assert torch.allclose(twin.bn1.running_mean, twin.conv1(probe).mean((0, 2, 3)), atol=1e-5)
        assert twin(probe).std() > 0.1
    assert not twin.training and twin.bn1.weight.min() >= 0.5 and twin.bn1.weight.max() <= 1.5
