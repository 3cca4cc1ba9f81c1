"""The phases of NSGA-Net: bits, repairs, crossover, isomorphism."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture.phase_graph import INPUT, Phase, bits, canonical_phase, decode
from automl_ext.tasks.architecture.phase_variation import PhaseVariation
from automl_ext.tasks.architecture.phases import family, phase_space

from automl_ext.training import lent_seed

SPACE = phase_space(3, 4, (4, 8, 16))


def phase(edges, nodes=4, residual=0):
    """One phase with these edges."""
    names = bits(0, nodes)
    chosen = {f"phase_1_edge_{source}_{target}" for source, target in edges}
    return decode({name: int(name in chosen or (residual and name.endswith("residual"))) for name in names}, 1, nodes)[
        0
    ]


def ones(candidate):
    return {name for name, value in candidate.items() if value}


def test_bits_are_those_of_the_paper():
    assert len(phase_space(3, 6, (1, 1, 1)).slots) == 48
    assert len(phase_space(3, 4, (1, 1, 1)).slots) == 21
    names = [name.removeprefix("phase_1_") for name in bits(0, 4)]
    assert names == ["edge_1_2", "edge_1_3", "edge_2_3", "edge_1_4", "edge_2_4", "edge_3_4", "residual"]


def test_all_ones_is_the_dense_pattern():
    references = family((1, 8, 8), 10).references
    dense = decode(references["densenet"], 3, 4)[0]
    assert dense.sources == {1: (INPUT,), 2: (1,), 3: (1, 2), 4: (1, 2, 3)} and dense.outputs == (INPUT, 4)
    chain = decode(references["vgg"], 3, 4)[0]
    assert chain.sources == {1: (INPUT,), 2: (1,), 3: (2,), 4: (3,)} and chain.outputs == (4,)


def test_repairs():
    assert phase([(1, 3)]) == Phase({1: (INPUT,), 3: (1,)}, (3,))  # 2 and 4 do nothing
    assert phase([(1, 2), (3, 4)]) == Phase({1: (INPUT,), 2: (1,), 3: (INPUT,), 4: (3,)}, (2, 4))
    assert phase([], residual=1) == Phase({}, ())
    assert phase([(2, 4)], residual=1) == Phase({2: (INPUT,), 4: (2,)}, (INPUT, 4))


def test_a_phase_that_is_none_is_left_out_with_its_pooling():
    found = family((1, 8, 8), 10, width=4)
    none = {slot.path: 0 for slot in found.space.slots}
    middle = {**found.references["vgg"], **dict.fromkeys(bits(1, 4), 0)}
    with lent_seed(0):
        empty, two = found.build(none), found.build(middle)
    assert len(empty.body) == 0 and empty(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert [type(module).__name__ for module in two.body] == ["PhaseModule", "MaxPool2d", "PhaseModule"]
    assert two.classifier.in_features == 16


def test_phases_with_renamed_nodes_are_one():
    """Counted against all relabelings of four nodes."""

    def relabeled(graph):
        listings = []
        nodes = list(graph.sources)
        for order in itertools.permutations(range(len(nodes))):
            new = dict(zip(nodes, order, strict=True))
            listings.append(
                tuple(
                    sorted(
                        (new[node], tuple(sorted(-1 if s == INPUT else new[s] for s in sources)))
                        for node, sources in graph.sources.items()
                    )
                )
            )
        return (INPUT in graph.outputs, min(listings, default=()))

    pairs = [(source, target) for target in range(2, 5) for source in range(1, target)]
    found: dict = {}
    for chosen in itertools.product((0, 1), repeat=6):
        graph = phase([pair for pair, on in zip(pairs, chosen, strict=True) if on])
        found.setdefault(canonical_phase(graph), set()).add(relabeled(graph))
    assert all(len(names) == 1 for names in found.values())
    assert len(found) == len(set.union(*found.values()))


def test_equal_widths_make_equal_phases_equal_wherever_they_stand():
    space = phase_space(2, 3, (4, 4))
    first = {**dict.fromkeys((*bits(0, 3), *bits(1, 3)), 0), "phase_1_edge_1_2": 1}
    second = {**dict.fromkeys((*bits(0, 3), *bits(1, 3)), 0), "phase_2_edge_1_2": 1}
    assert space.key(first) == space.key(second)
    wider = phase_space(2, 3, (4, 8))
    assert wider.key(first) != wider.key(second)


@pytest.fixture(scope="module")
def variation():
    return PhaseVariation(SPACE, 3, 4)


def test_children_keep_what_their_parents_share_and_are_as_complex(variation):
    rng = np.random.default_rng(0)
    for _ in range(100):
        one, two = variation.sample(rng), variation.sample(rng)
        child = variation.crossover(one, two, rng)
        assert ones(one) & ones(two) <= ones(child) <= ones(one) | ones(two)
        low, high = sorted((len(ones(one)), len(ones(two))))
        assert low <= len(ones(child)) <= (high if low == high else high - 1)
        assert variation.crossover(one, one, rng) == one


def test_a_mutation_flips_a_bit_and_changes_the_network(variation):
    rng = np.random.default_rng(1)
    for _ in range(50):
        genes = variation.sample(rng)
        child = variation.mutate(genes, rng)
        assert SPACE.key(SPACE.from_genes(child)) != SPACE.key(SPACE.from_genes(genes))
        assert len(ones(genes) ^ ones(child)) in (1, 2)  # two where a phase that lost its last edge got its first
        assert all(part.live for part in decode(child, 3, 4))
