"""Networks as plain source: the same outputs, and nothing kept in memory longer than it is needed."""

from __future__ import annotations

import ast
import builtins
import weakref
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch
from torch import nn
from torch.nn import functional

from automl_ext.artefact.source import source

MOMENTS = ((0.5,), (0.5,))


class Branched(nn.Module):
    """Sums, concats, chunks, sizes, a value that is needed late, and one that nothing needs."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(4), nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.tensor([0.5]))

    def forward(self, images):
        early = functional.relu(self.norm(self.one(images)))
        left, right = torch.chunk(self.two(early), 2, dim=1)
        early.neg()
        joined = torch.cat([right, left], 1) * self.scale + early
        pooled = functional.adaptive_avg_pool2d(joined, 1).flatten(1)[:, : early.size(1)]
        return self.last(pooled) + images.mean((1, 2, 3))[:, None]


@pytest.fixture
def written(tmp_path):
    """What the source of a network builds, with its weights; and the forward method."""

    def made(network, shape=(1, 6, 6)):
        file = tmp_path / "model.py"
        file.write_text(source(network, shape, MOMENTS))
        module = module_from_spec(spec := spec_from_file_location("written", file))
        spec.loader.exec_module(module)
        again = module.Network()
        again.load_state_dict(network.state_dict())
        (forward,) = (node for node in ast.walk(ast.parse(file.read_text())) if getattr(node, "name", "") == "forward")
        return again.eval(), forward

    return made


@pytest.mark.parametrize("chain", [False, True])
def test_the_same_outputs(chain, written):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)) if chain else Branched()
    images = torch.randn(3, 1, 6, 6)
    made, _ = written(network.eval())
    with torch.inference_mode():
        assert torch.equal(made(images), network(images))


def test_a_chain_has_one_name_and_branches_have_few(written):
    def names(forward):
        own = {node.id for node in ast.walk(forward) if isinstance(node, ast.Name)}
        return own - {"self", "torch"} - set(dir(builtins))

    layers = [layer for _ in range(9) for layer in (nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())]
    assert len(names(written(nn.Sequential(*layers))[1])) == 1
    assert len(names(written(Branched())[1])) <= 5


def test_values_are_let_go_as_soon_as_nothing_needs_them(written):
    seen, alive = [], []

    def look(layer, inputs, output):
        seen.append(weakref.ref(output))
        alive.append(sum(each() is not None for each in seen))

    made, _ = written(nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(8))))
    for layer in made.children():
        layer.register_forward_hook(look)
    with torch.inference_mode():
        made(torch.zeros(2, 1, 6, 6))
    assert alive == [1] + [2] * 7  # what a layer gets and what it gives
