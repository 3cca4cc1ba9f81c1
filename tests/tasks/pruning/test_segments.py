"""The pass over a few images at a time, and the points read from it, against the plain pass."""

from __future__ import annotations

import pytest
import torch
from automl_ext.tasks.pruning.calibration import Dense, patches, sampled
from automl_ext.tasks.pruning.flow import read, run
from automl_ext.tasks.pruning.rows import parts_of, points_of, rows_of, weight_columns, weight_shaped
from automl_ext.tasks.pruning.segments import pass_by


@pytest.mark.parametrize("name", ["small", pytest.param("resnet20", marks=pytest.mark.slow)])
def test_layers_get_the_same_inputs_as_in_a_plain_pass(name, small, resnet20):
    network, example = {"small": small, "resnet20": resnet20}[name]
    images = torch.randn((7, *example.shape[1:]), generator=torch.Generator().manual_seed(0))
    flow, plain, seen = read(network), {}, []
    run(network, flow, images, lambda layer, module, inputs, values: plain.update({layer: inputs}))

    def before(layer, module, node, values):
        parts = parts_of(values, node)
        assert [len(part) for part in parts] == [3, 3, 1]
        assert torch.allclose(torch.cat(parts), plain[layer], atol=1e-5)
        if layer in flow.sums:
            assert all(flow.sums[layer].partner in alive for alive in values)
        seen.append(layer)

    pass_by(network, flow, images, before, part=3)
    assert seen == list(plain)


def test_a_layer_may_change_before_it_runs(small):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.Conv2d(2, 1, 1)).eval()
    got = []

    def before(layer, module, node, values):
        if layer == "0":
            torch.nn.init.constant_(module.weight, 2.0)
            torch.nn.init.constant_(module.bias, 1.0)
        else:
            got.append(torch.cat(parts_of(values, node)))

    pass_by(network, read(network), torch.full((4, 1, 3, 3), 3.0), before, part=2)
    assert torch.allclose(got[0], torch.full((4, 2, 3, 3), 7.0), atol=1e-3)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (1, 2, 0, 1), (3, 2, 1, 2)])
def test_rows_are_patches_with_the_channels_of_a_tap_together(kernel, stride, padding, dilation):
    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Conv2d(5, 7, kernel, stride, padding, dilation)
    inputs = torch.randn(4, 5, 9, 11, generator=generator)
    with torch.no_grad():
        maps = module(inputs)
        places = torch.randint(maps[0, 0].numel(), (4, 6), generator=generator)
        rows = rows_of(inputs.contiguous(memory_format=torch.channels_last).split(3), module, places)
        columns = weight_columns(module.weight)
        assert torch.allclose(rows @ columns.T + module.bias, sampled(maps, places), atol=1e-5)
        assert torch.equal(points_of(maps.split(3), places), sampled(maps, places))
    assert torch.equal(weight_shaped(columns, module.weight), module.weight.flatten(1))
    plain = patches(inputs, module, places).view(24, 5, -1).transpose(1, 2).flatten(1)
    assert torch.equal(rows, plain)


def test_the_first_images_of_what_the_dense_network_does():
    rows = torch.arange(12.0)[:, None]
    whole = Dense(torch.zeros(4, 1, 2, 2), {"a": torch.zeros(4, 3)}, {"a": rows, "b": rows[:4]}, {"a": rows})
    part = whole.first(2)
    assert len(part.images) == 2 and part.places["a"].shape == (2, 3)
    assert torch.equal(part.outputs["a"], rows[:6]) and torch.equal(part.outputs["b"], rows[:2])
    assert torch.equal(part.partners["a"], rows[:6]) and len(whole.first(9).images) == 4
