"""Cells as networks: sizes, where taps fall, what pooling gives, fast gradients, and what cells cost."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from automl_ext.tasks.segmentation.cell import CellNetwork, operation
from automl_ext.tasks.segmentation.depthwise import depthwise
from automl_ext.tasks.segmentation.fields import field_of, reach
from automl_ext.tasks.segmentation.illustrate import draw_fields
from automl_ext.tasks.segmentation.network import Shape, fresh
from automl_ext.tasks.segmentation.objectives import costs
from automl_ext.tasks.segmentation.operations import PAPER_RATES, Op
from automl_ext.tasks.segmentation.reference import references
from automl_ext.tasks.segmentation.space import Branch, CellSpace, cell_of
from torch import nn

from automl_ext.artefact.agreement import counted_macs
from automl_ext.training import lent_seed

CELLS = CellSpace(5, (1, 2, 3), (1, 2, 4))


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rate", "size"),
    [((1, 3), (7, 9)), ((4, 2), (8, 8)), ((6, 5), (6, 5)), ((9, 1), (6, 4)), ((1, 6), (9, 8)), ((2, 9), (5, 4))],
)
@pytest.mark.parametrize("needs_input", [True, False])
def test_fast_gradients_are_torchs(rate, size, needs_input):
    layer = nn.Conv2d(3, 3, 3, 1, rate, rate, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(noise(3, 1, 3, 3))
    x, towards = noise(2, 3, *size, seed=1).requires_grad_(needs_input), noise(2, 3, *size, seed=2)
    wanted = [layer.weight, *([x] if needs_input else [])]
    plain = layer(x)
    fast = depthwise(layer.train(), x)
    assert fast.grad_fn.name() != plain.grad_fn.name() and torch.allclose(fast, plain, atol=1e-5)
    for own, torchs in zip(
        torch.autograd.grad(fast, wanted, towards), torch.autograd.grad(plain, wanted, towards), strict=True
    ):
        assert torch.allclose(own, torchs, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_every_operation_keeps_the_size(size):
    for op in (*CELLS.ops, Op("dense", 2, 3)):
        assert operation(op, 4, 6, size).eval()(noise(2, 4, *size)).shape == (2, 6, *size)
    cell = cell_of(CELLS.space().sample(np.random.default_rng(0)))
    network = CellNetwork(cell, 4, 6, size, 0.1)
    assert sum(output.shape[1] for output in network.outputs(noise(2, 4, *size))) == 5 * 6
    assert network(noise(2, 4, *size)).shape == (2, 6, *size)


def test_rates_are_rows_and_columns():
    layer = operation(Op("3x3", 2, 3), 1, 1, (9, 9)).eval()
    nn.init.ones_(layer.depthwise.weight)
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1
    seen = layer.depthwise(image)[0, 0] - layer.depthwise(torch.zeros(1, 1, 9, 9))[0, 0]
    assert {(int(r), int(c)) for r, c in torch.nonzero(seen)} == {(r, c) for r in (2, 4, 6) for c in (1, 4, 7)}


def test_pooling_into_one_is_constant_and_grids_turn_with_the_image():
    with lent_seed(0):
        one, four = (operation(Op("pool", grid, grid), 2, 3, (8, 8)).eval() for grid in (1, 4))
    x = noise(1, 2, 8, 8)
    assert (one(x).amax((2, 3)) - one(x).amin((2, 3))).max() < 1e-6
    assert torch.allclose(four(x.rot90(1, (2, 3))), four(x).rot90(1, (2, 3)), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_fields_are_what_gradients_reach(seed):
    """Beside the network itself, all its weights positive."""
    size = (8, 10)
    cell = cell_of(CELLS.space().sample(np.random.default_rng(seed)))
    network = CellNetwork(cell, 2, 2, size, 0.0).eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.5)
    x = torch.ones(1, 2, *size, requires_grad=True)
    for number, output in enumerate(network.outputs(x), 1):
        (gradient,) = torch.autograd.grad(output[0, 0, size[0] // 2, size[1] // 2], x, retain_graph=True)
        own, field = gradient[0, 0].numpy() / float(gradient[0, 0].sum()), field_of(cell, number, size)
        assert np.allclose(own, field, atol=1e-6)
        assert reach(field) == reach(own)


def test_the_published_cell_costs_less_than_aspp_on_wide_features_and_more_on_narrow_ones():
    cells = references(CellSpace(5, PAPER_RATES, (1, 2, 4, 8)), 49)

    def weights(name, wide):
        return sum(each.numel() for each in CellNetwork(cells[name], wide, 64, (49, 49), 0.1).parameters())

    assert weights("dpc", 512) < weights("aspp", 512) and weights("dpc", 64) > weights("aspp", 64)


@pytest.mark.parametrize(("stride", "decoder"), [(4, 2), (8, 4), (8, 2), (4, 0), (16, 0)])
def test_logits_are_as_large_as_images(stride, decoder):
    shape = Shape((3, 50, 36), 4, stride, decoder, 0.25, 16, 8)
    network = fresh((Branch(0, Op("1x1")), Branch(1, Op("pool", 1, 2))), shape, 0).eval()
    features, fine = network.backbone(noise(2, 3, 50, 36))
    assert features.shape == (2, 16, *shape.map) and network(noise(2, 3, 50, 36)).shape == (2, 4, 50, 36)
    if decoder:
        assert fine.shape[2:] == (-(-50 // decoder), -(-36 // decoder))


def test_multiply_accumulates_are_those_of_a_count_by_hand():
    shape = Shape((3, 50, 36), 4, 8, 2, 0.25, 24, 8)
    rows, columns = shape.map
    assert (rows, columns) == (7, 5)
    texts = ((0, "1x1"), (0, "3x3 2x3"), (2, "pool 2x4"), (0, "dense 2x2"), (0, "as-is"), (1, "3x3 1x1"))
    network = fresh(tuple(Branch(source, Op.of(text)) for source, text in texts), shape, 0).eval()
    places = rows * columns
    branches = [24 * 8, 24 * 9 + 24 * 8, None, 24 * 9 * 8, 0, 8 * 9 + 8 * 8]
    cell = sum(each * places for each in branches if each is not None) + 2 * 4 * 8 * 8
    cell += (5 * 8 + 24) * 8 * places  # the projection
    found = costs(network, shape)
    assert found["cell_macs_m"] * 1e6 == pytest.approx(cell)
    fine = 25 * 18
    decoder = fine * (8 * 12 + (8 + 12) * 9 + (8 + 12) * 8 + 8 * 4)
    backbone = 25 * 18 * (3 * 9 * 8 + 8 * 9 + 8 * 8)  # stem, and a block without expansion
    backbone += 25 * 18 * 8 * 32 + 13 * 9 * (32 * 9 + 32 * 8)
    backbone += 13 * 9 * 8 * 32 + places * (32 * 9 + 32 * 16)
    backbone += places * (16 * 96 + 96 * 9 + 96 * 32) + places * (32 * 192 + 192 * 9 + 192 * 32)
    backbone += places * 32 * 24
    assert found["macs_m"] * 1e6 == pytest.approx(cell + decoder + backbone)
    assert found["params_k"] * 1e3 == sum(each.numel() for each in network.parameters())


def test_the_picture_of_fields_says_no_more_pixels_than_the_image_has(tmp_path):
    shape = Shape((3, 50, 36), 4, 8, 2, 0.25, 16, 8)
    draw_fields(
        (Branch(0, Op("pool", 1, 1)), Branch(0, Op("3x3", 1, 2)), Branch(0, Op("1x1"))), shape, tmp_path / "f.svg"
    )
    words = [text.text for text in ElementTree.parse(tmp_path / "f.svg").iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert [each for each in words if each.endswith("pixels")] == ["50 x 36 pixels", "24 x 36 pixels", "8 x 8 pixels"]


def test_backbones_of_one_seed_are_the_same_whatever_the_cell():
    shape = Shape((1, 32, 32), 3, 4, 2, 0.25, 16, 8)
    one, other = (fresh((Branch(0, Op(kind)),), shape, 3).backbone.state_dict() for kind in ("1x1", "3x3"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_backbone_is_ten_times_the_head():
    shape = Shape((1, 64, 64), 11)
    network = fresh(references(CellSpace(5, tuple(range(1, 9)), (1, 2, 4, 8)), 16)["dpc"], shape, 0).eval()
    image = torch.zeros(1, 1, 64, 64)
    backbone = counted_macs(network.backbone, image)
    assert backbone > 10 * (counted_macs(network, image) - backbone)
