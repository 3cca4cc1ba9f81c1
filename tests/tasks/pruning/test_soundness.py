"""Groups are tried on a network in which a signal arrives, and the network is left as it was."""

from __future__ import annotations

import copy

import torch
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.resnet import ResNet
from automl_ext.tasks.pruning.soundness import lively, sound


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
