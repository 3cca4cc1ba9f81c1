"""Networks with channels last in memory: the same function and gradients, and everything as it was behind it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_ext.channels_last import channels_last, laid_out


def network(width, stride=2):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 8, 1, stride=stride),
        nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def gradients(model, images):
    model.zero_grad()
    output = model(images)
    output.square().mean().backward()
    return [output.detach(), *(weight.grad.clone() for weight in model.parameters())]


@pytest.mark.parametrize("width", [3, 4, 15, 16, 24])
def test_outputs_and_gradients_are_the_same(width):
    images = torch.rand(5, 3, 8, 8)
    plain, turned = network(width), network(width)
    expected = gradients(plain, images)
    before = [id(weight) for weight in turned.parameters()]
    with channels_last(turned):
        assert turned[0].weight.is_contiguous(memory_format=torch.channels_last)
        for one, other in zip(gradients(turned, images), expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    assert [id(weight) for weight in turned.parameters()] == before
    assert all(weight.is_contiguous() for weight in turned.parameters())
    assert all(torch.equal(one, other) for one, other in zip(turned.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize(("width", "strided"), [(4, False), (15, False), (16, True)])
def test_no_narrow_convolution_is_strided(width, strided):
    """oneDNN issue 6035: their gradient writes past a buffer."""
    model, seen = network(width), []
    with channels_last(model):
        model[3].register_forward_hook(lambda module, given, out: seen.append((module.stride, given[0].shape[-1])))
        model(torch.rand(2, 3, 8, 8))
    assert seen == [((2, 2), 8) if strided else ((1, 1), 4)]
    assert model[3].stride == (2, 2) and not model[3]._forward_pre_hooks
    assert torch.equal(model(torch.zeros(1, 3, 8, 8)), network(width)(torch.zeros(1, 3, 8, 8)))


def test_a_narrow_convolution_may_be_called_by_name():
    layer, images = nn.Conv2d(3, 8, 1, stride=2), torch.rand(2, 3, 8, 8)
    with channels_last(layer):
        assert torch.allclose(layer(input=images), layer(images))


def test_what_breaks_within_leaves_the_network_as_it_was():
    model = network(4)
    model[0].weight.data = model[0].weight.data.contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="stop"), channels_last(model):
        raise RuntimeError("stop")
    assert model[3].stride == (2, 2) and model[4].weight.is_contiguous()
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last), "it was so before"


@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (4, 1, 6, 5), (4, 3, 1, 1), (1, 1, 4, 4)])
def test_images_laid_out_are_the_same_images(shape):
    images = torch.rand(shape)
    turned = laid_out(images)
    assert torch.equal(turned, images) and turned.stride(1) == 1
    assert turned.stride() == laid_out(turned).stride()


def test_grey_images_stay_channels_last_and_gradients_are_the_same():
    """Behind one channel 1x1 and depthwise layers would keep the plain order."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 24, 1),
    )  # fmt: skip
    images = torch.rand(5, 1, 8, 8)
    expected = gradients(model, images)
    with channels_last(model):
        assert model(laid_out(images)).is_contiguous(memory_format=torch.channels_last)
        for one, other in zip(gradients(model, laid_out(images)), expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
