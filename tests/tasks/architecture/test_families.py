"""Every space: whatever can be drawn from it builds and runs, on images of any size; its pictures; its references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture.families import FAMILIES, family_of
from automl_ext.tasks.architecture.picture import Graph, layout
from automl_ext.tasks.architecture.reference import build_handmade, handmade, params_of

from automl_ext.artefact.source import source
from automl_ext.mistakes import ConfigError

TINY = {
    "cell": {"width": 2, "blocks": 3, "join": "both"},
    "hierarchical": {"width": 2, "cell_nodes": 3},
    "mobile": {"blocks": [[2, 1, 1], [3, 2, 2]], "divisor": 1},
    "branch": {"layers": 4, "filters": [2, 3], "strides": [1, 2, 3]},
    "chain": {"filters": [2, 3], "dense": [4, 3]},
    "nasbench201": {"width": 2},
    "phases": {"width": 2},
    "training": {"width": 2},
}
"""Options that make building quick; a space that is not named here has small defaults."""
SMALL = (1, 4, 5)
"""Of an image: one halving is left."""


def tiny(name, shape=SMALL):
    return family_of(name, shape, 3, TINY.get(name, {}))


@pytest.mark.slow(seconds=5)
@pytest.mark.parametrize("name", FAMILIES)
def test_500_random_candidates_build_and_run(name):
    family, rng, image = tiny(name), np.random.default_rng(0), torch.randn(2, *SMALL)
    for _ in range(500):
        candidate = family.space.sample(rng)
        with torch.inference_mode():
            logits = family.build(candidate).eval()(image)
        assert logits.shape == (2, 3) and torch.isfinite(logits).all(), candidate


VARIANTS = [
    ("cell", {"operations": "nasnet", "output": "all", "reduction": "shared"}),
    ("cell", {"operations": "amoebanet"}),
    ("cell", {"operations": "pnas", "reduction": "shared", "grow": True}),
    ("cell", {"operations": "nao", "repeats": 2}),
    ("cell", {"operations": "darts", "output": "all"}),
    ("cell", {"operations": ["min_pool_3x3", "max_pool_7x7", "conv_1x3_3x1"]}),
    ("modular", {"network": "deepconv"}),
    ("modular", {"network": "tutorial"}),
    ("phases", {"nodes": 6, "join": "add", "growth": 1}),
    ("hierarchical", {"motifs": 6, "nodes": 4, "cell_nodes": 5}),
    ("branch", {"pools": [1, 2], "strides": [1]}),
    ("chain", {"depth": 12, "norm": False, "dropout": False}),
    ("mobile", {"blocks": None, "width": 0.25}),
    ("training", {"network": "plain", "tune": ["rate"]}),
]
"""Every option that changes what is built, beside the defaults."""


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_candidates_of_other_options_build_and_run(name, options):
    family = family_of(name, SMALL, 3, {**TINY.get(name, {}), **options})
    rng, image = np.random.default_rng(3), torch.randn(2, *SMALL)
    for _ in range(100):
        candidate = family.space.sample(rng)
        with torch.inference_mode():
            logits = family.build(candidate).eval()(image)
        assert logits.shape == (2, 3) and torch.isfinite(logits).all(), candidate


@pytest.mark.slow(seconds=2)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_size_of_image(name):
    rng = np.random.default_rng(1)
    for shape in ((1, 8, 8), (3, 7, 9), (1, 28, 28), (3, 3, 3), (3, 70, 65)):
        family = tiny(name, shape)
        chosen = [*family.references.values(), family.space.sample(rng)]
        for candidate in chosen:
            with torch.inference_mode():
                assert family.build(candidate).eval()(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_learns(name):
    """What the logits do not depend on is not built: it would be counted for nothing."""
    family, rng = tiny(name, (1, 8, 8)), np.random.default_rng(2)
    for _ in range(5):
        candidate = family.space.sample(rng)
        network = family.build(candidate).train()
        network(torch.randn(4, 1, 8, 8)).sum().backward()
        idle = [path for path, parameter in network.named_parameters() if parameter.grad is None]
        assert not idle, (idle, candidate)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_is_written_as_source(name):
    family = tiny(name, (1, 8, 8))
    candidate = family.space.sample(np.random.default_rng(4))
    text = source(family.build(candidate), (1, 8, 8), ((0.5,), (0.5,)))
    assert "automl_ext" not in text and "class Network" in text


@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_show_everything_in_one_place_each(name, tmp_path):
    family, rng = tiny(name), np.random.default_rng(5)
    for number, candidate in enumerate([*family.references.values(), family.space.sample(rng)][:3]):
        family.draw(candidate, tmp_path / f"{number}.svg")
        text = (tmp_path / f"{number}.svg").read_text()
        assert text.lstrip().startswith("<?xml") and "http" not in text.split("</metadata>")[-1].replace(
            "www.w3.org", ""
        )


def test_layers_lie_behind_their_inputs_and_nothing_on_something_else():
    graph = Graph("test")
    nodes = [graph.add("in", "state")]
    rng = np.random.default_rng(0)
    for number in range(12):
        sources = sorted({int(each) for each in rng.integers(0, len(nodes), size=2)})
        nodes.append(graph.add(str(number), "conv", sources))
    where = layout(graph)
    assert len(set(where.places)) == len(nodes)
    assert all(where.places[source][0] < where.places[target][0] for source, target in graph.edges)
    assert [(route[0], route[-1]) for route in where.routes] == [
        (where.places[source], where.places[target]) for source, target in graph.edges
    ]
    bends = [point for route in where.routes for point in route[1:-1]]
    assert not set(bends) & set(where.places) and len(set(bends)) == len(bends)


@pytest.mark.parametrize("wanted", [1000, 20_000, 300_000])
def test_handmade_networks_have_the_wanted_size(wanted):
    for name, candidate in handmade(wanted).items():
        network = build_handmade(candidate, (1, 8, 8), 10)
        assert abs(params_of(network) / wanted - 1) < 0.5 / np.sqrt(wanted / 1000) + 0.05, name
        assert network.eval()(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    residual, plain = (build_handmade(each, (1, 8, 8), 10) for each in handmade(20_000).values())
    assert sum("shortcut" in path for path, _ in residual.named_modules()) > 0
    assert sum("shortcut" in path for path, _ in plain.named_modules()) == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cell", {"blocks": 0}, r"env\.space_options\.blocks"),
        ("cell", {"block": 3}, r"env\.space_options\.block.*blocks"),
        ("cell", {"operations": ["sep_conv_9x9"]}, r"env\.space_options\.operations"),
        ("cell", {"operations": []}, "operations: at least one"),
        ("chain", {"kernels": [2]}, "odd kernels"),
        ("branch", {"kernels": [2]}, "odd kernels"),
        ("branch", {"pools": [9]}, "pools: layers from 1 to 6"),
        ("mobile", {"blocks": [[8, 0, 1]]}, r"env\.space_options\.blocks"),
        ("hierarchical", {"nodes": 1}, r"env\.space_options\.nodes"),
    ],
)
def test_options_that_cannot_work_are_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        family_of(name, (1, 8, 8), 10, options)
    assert "\n" not in str(error.value)


def test_only_the_spaces_that_can_be_trained_are_families():
    with pytest.raises(ValueError, match="space: nowhere cannot be trained; legal: "):
        family_of("nowhere", (1, 8, 8), 10, {})
    assert issubclass(ConfigError, ValueError)
