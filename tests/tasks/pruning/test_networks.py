"""The networks by name: sizes as published, any small image, and the whole way from groups to the exported source."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from automl_ext.tasks.pruning.evaluate import Recovery, restore, slim
from automl_ext.tasks.pruning.export import write
from automl_ext.tasks.pruning.groups import inspect
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.mobilenet import MobileNetV1, MobileNetV2
from automl_ext.tasks.pruning.network import NETWORKS, PruningError, build
from automl_ext.tasks.pruning.prepared import make
from automl_ext.tasks.pruning.prune import mask, remaining, remove
from automl_ext.tasks.pruning.resnet import BottleneckResNet, ResNet
from automl_ext.tasks.pruning.soundness import lively
from automl_ext.tasks.pruning.vgg import VGG16
from torch import nn

from automl_ext.artefact.tensors import tensors
from automl_ext.training import lent_seed


class DenseNet(nn.Module):
    """Huang, Liu, van der Maaten, Weinberger, CVPR 2017, arXiv 1608.06993, tiny: concatenations of concatenations."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * index) for index in range(3))
        self.layers = nn.ModuleList(nn.Conv2d(6 + 4 * index, 4, 3, 1, 1, bias=False) for index in range(3))
        self.between = nn.Sequential(nn.BatchNorm2d(18), nn.ReLU(), nn.Conv2d(18, 9, 1, bias=False), nn.AvgPool2d(2))
        self.last = nn.Sequential(nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 4, 3, 1, 1, bias=False))
        self.norm = nn.BatchNorm2d(13)
        self.linear = nn.Linear(13, 10)

    def forward(self, x):
        x = self.conv(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = torch.cat([x, layer(torch.relu(norm(x)))], 1)
        x = self.between(x)
        x = torch.cat([x, self.last(x)], 1)
        return self.linear(torch.relu(self.norm(x)).mean((2, 3)))


MADE = {
    "vgg": lambda: VGG16(1, 10, 1 / 16),
    "mobilenet-v1": lambda: MobileNetV1(1, 10, 0.25),
    "mobilenet-v2": lambda: MobileNetV2(1, 10, 0.25),
    "bottleneck": lambda: BottleneckResNet(1, 10, 1),
    "resnet": lambda: ResNet(1, 10, 2),
    "densenet": DenseNet,
}


@pytest.fixture(
    scope="module", params=[name if name == "densenet" else pytest.param(name, marks=pytest.mark.slow) for name in MADE]
)
def case(request):
    """What `make` prepares from a narrow network with norms that are not trivial."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((24, 1, 8, 8), generator=generator)
    with lent_seed(0):
        network = lively(MADE[request.param](), images, generator)
    plan = inspect(network, images[:1])
    labels = torch.zeros(len(images), dtype=torch.long)
    return make(network, plan, images, labels, importance="magnitude", points=4, ridge=0.1, generator=generator)


def policies(plan):
    rng = np.random.default_rng(0)
    drawn = [{group.name: int(rng.integers(1, group.channels + 1)) for group in plan.groups} for _ in range(2)]
    return [*drawn, {group.name: 1 for group in plan.groups}]


def hooked_macs(network, example):
    """Multiply-accumulates of one image by what really goes in and out of each convolution and linear layer."""
    counted = []

    def note(module, inputs, output):
        counted.append(output[0].numel() * module.weight[0].numel())

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_hook(note) for module in layers]
    with torch.no_grad():
        network(example)
    for hook in hooks:
        hook.remove()
    assert len(counted) == len(layers)
    return sum(counted)


@pytest.mark.parametrize("size", [(1, 8), (1, 28), (3, 32)])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_every_small_image(name, size):
    channels, side = size
    with torch.no_grad():
        assert build(name, channels, 7).eval()(torch.zeros(2, channels, side, side)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet20", 269_722),  # the paper's 0.27 M
        ("resnet56", 853_018),  # the paper's 0.85 M
        ("vgg16-bn", 14_724_042),  # Li et al.: 15.0 M with a hidden linear layer
        ("mobilenet-v1", 4_231_976 - 1_025_000 + 10_250),  # the paper's 4.2 M, with 10 classes for 1,000
        ("mobilenet-v2", 3_504_872 - 1_281_000 + 12_810),  # torchvision's count, with 10 classes for 1,000
    ],
)
def test_sizes_are_the_published_ones(name, parameters):
    assert sum(parameter.numel() for parameter in build(name, 3, 10).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "first"),  # channels of the first convolution at widths 0.1, 0.3 and 1.5
    [(name, (8, 8, 48)) for name in ("mobilenet-v1", "mobilenet-v2")]
    + [(name, (2, 4, 24)) for name in ("resnet20", "resnet29-bottleneck", "resnet56", "small")]
    + [("vgg16-bn", (6, 19, 96))],
)
def test_every_network_by_name_has_a_width(name, first):
    sizes = [sum(parameter.numel() for parameter in build(name, 1, 10, width).parameters()) for width in (0.1, 0.3)]
    assert sizes[0] < sizes[1] < sum(parameter.numel() for parameter in build(name, 1, 10).parameters())
    for width, wanted in zip((0.1, 0.3, 1.5), first, strict=True):
        made = build(name, 1, 10, width).eval()
        assert len(next(made.parameters())) == wanted
    with torch.no_grad():
        assert build(name, 1, 10, 0.3).eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_network_of_ones_own_has_no_width():
    with pytest.raises(PruningError, match=r"width 0\.5 is for mobilenet-v1, .*; your own network 'm:f' has"):
        build("m:f", 1, 10, 0.5)


def test_the_names_of_stored_weights_stay():
    names = set(build("resnet20", 3, 10).state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer3.2.conv2.weight", "layer2.0.bn1.bias", "linear.bias"} <= names
    assert len(names) == 19 + 19 * 5 + 2 and not [name for name in names if "shortcut" in name]


@pytest.mark.slow
def test_what_is_coupled_and_what_is_not_pruned():
    example = torch.zeros(1, 1, 8, 8)
    plan = inspect(MADE["mobilenet-v2"]().eval(), example)
    assert set(plan.skipped) == {"linear"} and "output" in plan.skipped["linear"]
    inside = plan.group("blocks.2.layers.0")
    assert inside.writers == ("blocks.2.layers.0", "blocks.2.layers.3") and inside.readers == ("blocks.2.layers.6",)
    stream = plan.group("blocks.3.layers.6")  # the thin side of linear bottlenecks, summed over three blocks
    assert stream.writers == ("blocks.3.layers.6", "blocks.4.layers.6", "blocks.5.layers.6")
    plan = inspect(MADE["bottleneck"]().eval(), example)
    assert plan.group("layer2.0.conv3").writers == ("layer2.0.conv3", "layer2.0.shortcut.0")
    plan = inspect(MADE["resnet"]().eval(), example)
    assert set(plan.skipped) == {"conv1", "linear", *(f"layer{s}.{b}.conv2" for s in (1, 2, 3) for b in (0, 1))}
    assert len(plan.groups) == 6
    plan = inspect(DenseNet().eval(), example)
    assert [group.name for group in plan.groups] == ["conv", "layers.0", "layers.1", "layers.2", "between.2", "last.2"]
    assert plan.group("conv").readers == ("layers.0", "layers.1", "layers.2", "between.2")


def test_every_layer_is_pruned_or_left_alone_with_a_reason(case):
    pruned = {writer for group in case.plan.groups for writer in group.writers}
    names = {layer.name for layer in case.plan.layers}
    assert not pruned & case.plan.skipped.keys() and pruned | case.plan.skipped.keys() == names


def test_masked_and_removed_agree_and_no_layer_ends_with_nothing(case):
    images = case.dense.images
    for counts in policies(case.plan):
        keep = remaining(case.ranking, counts)
        smaller = remove(case.network, case.example, keep)
        with torch.no_grad():
            pruned, masked = smaller(images), mask(case.network, case.example, keep)(images)
        assert torch.allclose(pruned, masked, atol=1e-5, rtol=1e-5)
        assert all(min(module.weight.shape) > 0 for module in smaller.modules() if hasattr(module, "weight"))
        sizes = {name: len(module.weight) for name, module in smaller.named_modules() if hasattr(module, "weight")}
        assert all(sizes[writer] == counts[group.name] for group in case.plan.groups for writer in group.writers)
        assert total_macs(case.plan, counts) == hooked_macs(smaller, case.example)


@pytest.mark.parametrize("reconstruction", ["sequential", "gram"])
def test_recovery_brings_the_outputs_nearer_to_the_dense_ones(case, reconstruction):
    counts = {group.name: max(1, group.channels * 3 // 4) for group in case.plan.groups}
    with torch.no_grad():
        wanted = case.network(case.dense.images)
        errors = []
        for kind in (reconstruction, "none"):
            smaller = slim(case, counts, Recovery(kind, True, 0.1, False))
            errors.append(float((smaller(case.dense.images) - wanted).square().mean()))
    assert errors[0] < errors[1]


def test_a_single_channel_left_everywhere_is_still_recovered(case):
    """A depthwise convolution of one channel looks like a plain one then."""
    counts = {group.name: 1 for group in case.plan.groups}
    smaller = slim(case, counts, Recovery("sequential", True, 0.1, True))
    with torch.no_grad():
        assert torch.isfinite(smaller(case.dense.images)).all()
    assert total_macs(case.plan, counts) == hooked_macs(smaller, case.example)


def test_the_exported_source_gives_the_same_logits(case, tmp_path):
    counts = policies(case.plan)[0]
    smaller = slim(case, counts, Recovery("sequential", True, 0.1, False))
    write(smaller, case, counts, {}, ((0.5,), (0.25,)), tmp_path)
    found = importlib.util.spec_from_file_location("exported_model", tmp_path / "model.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    exported = module.load()
    images = torch.randn((16, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(exported(images), smaller(images), atol=1e-5)
        assert torch.equal(restore(case, counts, tensors(smaller))(images), smaller(images))
    assert hooked_macs(exported, case.example) == total_macs(case.plan, counts)
