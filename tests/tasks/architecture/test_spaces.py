"""What the papers say of chains, branches, motifs and mobile blocks."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from automl_ext.tasks.architecture import branch, mobile
from automl_ext.tasks.architecture.chain import ChainNetwork, layers_of
from automl_ext.tasks.architecture.families import family_of
from automl_ext.tasks.architecture.hierarchical_form import Graph, canonical, edge_name, motifs_of
from automl_ext.tasks.architecture.hierarchical_network import Assembled
from automl_ext.tasks.architecture.latency_table import looked_up, measure_pieces, read_latencies
from automl_ext.tasks.architecture.measure import size_of
from torch import nn

from automl_ext.artefact.agreement import counted_macs
from automl_ext.testing.spaces import check_space

SHAPE = (1, 8, 8)


def family(name, **options):
    return family_of(name, SHAPE, 10, options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("chain", {}), ("branch", {"layers": 3}), ("hierarchical", {}), ("mobile", {})],
)
def test_spaces_keep_their_contract(name, options):
    check_space(family(name, **options).space, 0)


# ---------------------------------------------------------------- chain


@pytest.mark.slow
def test_chains_follow_the_transition_rules():
    space, rng = family("chain", depth=8).space, np.random.default_rng(0)
    seen = Counter()
    for _ in range(2000):
        layers, side = layers_of(space.sample(rng)), 8
        kinds = [layer.kind for layer in layers]
        assert kinds[-1] in ("softmax", "average") and not {"softmax", "average"} & set(kinds[:-1])
        assert kinds[0] not in ("pool", "dense") and len(layers) <= 8 and kinds.count("dense") <= 2
        for before, layer in pairwise(layers):
            assert not before.kind == layer.kind == "pool"
            if before.kind == "dense":
                assert layer.kind == "softmax" or (layer.kind == "dense" and layer.size <= before.size)
        for layer in layers:
            if layer.kind in ("conv", "pool"):
                assert layer.kernel <= side
            if layer.kind == "dense":
                assert side < 8
            side = (side - layer.kernel) // layer.stride + 1 if layer.kind == "pool" else side
        seen.update(kinds)
    assert min(seen.values()) > 20 and set(seen) == {"conv", "pool", "dense", "softmax", "average"}


def test_both_ends_are_one_where_a_single_pixel_is_left():
    found = family("chain", depth=4, filters=[4], kernels=[1], pools=[[5, 3]], dense=[8])
    small, large = ["conv-4-k1", "pool-5-s3"], ["conv-4-k1"]

    def key(*layers):
        whole = [*layers, *["none"] * (4 - len(layers))]
        return found.space.key({f"layer_{index + 1}": layer for index, layer in enumerate(whole)})

    assert key(*large, "softmax") != key(*large, "average")
    assert key(*small, "softmax") != key(*small, "average")  # two pixels
    tiny = family_of("chain", (1, 5, 5), 10, {"depth": 4, "filters": [4], "kernels": [1], "pools": [[5, 3]]}).space
    ends = [{"layer_1": "conv-4-k1", "layer_2": "pool-5-s3", "layer_3": end, "layer_4": "none"} for end in
            ("softmax", "average")]  # fmt: skip
    assert tiny.key(ends[0]) == tiny.key(ends[1])


def test_every_short_chain_is_reached():
    """By brute force: all sequences of up to three layers that the rules allow."""
    space = family("chain", depth=3, filters=[4], kernels=[3], pools=[[2, 2]], dense=[8, 4]).space
    found = {tuple(value for value in each.values() if value != "none") for each in space.candidates(bins=2)}
    conv, pool, dense = "conv-4-k3", "pool-2-s2", ("dense-8", "dense-4")
    bodies = [(), (conv,), (conv, conv), (conv, pool)]
    expected = {(*body, end) for body in bodies for end in ("softmax", "average")}
    assert found == expected  # a dense layer needs a size below 8, so a pool, and then no place is left for it
    deeper = family("chain", depth=4, filters=[4], kernels=[3], pools=[[2, 2]], dense=[8, 4]).space
    chains = {tuple(value for value in each.values() if value != "none") for each in deeper.candidates(bins=2)}
    assert {(conv, pool, each, "softmax") for each in dense} <= chains
    assert not {(conv, pool, each, "average") for each in dense} & chains


def test_dropout_grows_with_depth():
    chain = [f"layer_{index + 1}" for index in range(7)]
    candidate = dict(zip(chain, ["conv-8-k3"] * 6 + ["softmax"], strict=True))
    network = ChainNetwork(layers_of(candidate), SHAPE, 10, norm=True, dropout=True)
    assert [each.p for each in network.modules() if isinstance(each, nn.Dropout)] == [1 / 6, 2 / 6, 3 / 6]


def test_agents_see_the_last_layer_and_the_bucket_not_the_way_there():
    target = family("chain")
    first = target.space.walk({"layer_1": "conv-8-k3", "layer_2": "conv-16-k1"})
    second = target.space.walk({"layer_1": "conv-32-k5", "layer_2": "conv-16-k1"})
    third = target.space.walk({"layer_1": "conv-32-k5", "layer_2": "pool-2-s2"})
    assert (target.observe(first) == target.observe(second)).all()
    assert (target.observe(first) != target.observe(third)).any()


# ---------------------------------------------------------------- branch


def branches(filters, **sources):
    """A candidate of 1x1 filters; sources: layer_3=(1, 2)."""
    made = {}
    for index, size in enumerate(filters):
        name = f"layer_{index + 1}"
        made |= {f"{name}_height": 1, f"{name}_width": 1, f"{name}_stride_down": 1, f"{name}_stride_right": 1}
        made[f"{name}_filters"] = size
        made |= {f"{name}_from_{earlier + 1}": earlier + 1 in sources.get(name, ()) for earlier in range(index)}
    return made


def test_the_papers_repairs():
    layers = branch.plan(branches([2, 3, 4], layer_3=(1,)))
    assert [layer.sources for layer in layers] == [(-1,), (-1,), (0,)]
    network = branch.BranchNetwork(layers, SHAPE, 10, ())
    assert network.outputs == (1, 2) and network.classifier.in_features == 3 + 4


def test_smaller_inputs_are_padded_with_zeros():
    candidate = branches([2, 3, 4], layer_3=(1, 2)) | {"layer_1_stride_down": 2, "layer_1_stride_right": 3}
    network = branch.BranchNetwork(branch.plan(candidate), SHAPE, 10, ()).eval()
    seen = []
    network.body[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(torch.randn(1, *SHAPE) + 5)
    assert seen[0].shape == (1, 5, 8, 8)
    assert not seen[0][:, :2, 4:].any() and not seen[0][:, :2, :, 3:].any()


def test_layers_in_another_order_are_one_candidate():
    one = branches([2, 3, 4], layer_3=(1, 2))
    two = branches([3, 2, 4], layer_3=(1, 2))
    other = branches([3, 2, 4], layer_3=(1,))
    assert branch.canonical(one) == branch.canonical(two) != branch.canonical(other)


def test_layers_in_front_of_a_pool_are_not_those_behind():
    found = family("branch", layers=3, pools=[1], kernels=[1], filters=[2, 3, 4])
    one, two = branches([2, 3, 4], layer_3=(1,)), branches([3, 2, 4], layer_3=(2,))
    assert branch.canonical(one) == branch.canonical(two)
    assert found.space.key(one) != found.space.key(two)
    assert size_of(found.build(one), SHAPE)["macs_m"] != size_of(found.build(two), SHAPE)["macs_m"]


def test_anchors_point_at_earlier_layers():
    slots = {slot.path: slot.decisions[0] for slot in family("branch", layers=3).space.slots}
    assert slots["layer_3_from_2"].refers == {True: "layer_2_filters"}
    assert len([path for path in slots if "from" in path]) == 3


# ---------------------------------------------------------------- hierarchical


def test_the_papers_space_has_46_edges():
    space = family("hierarchical", motifs=6, nodes=4, cell_nodes=5).space
    assert len(space.slots) == 46 and {len(slot.options) for slot in space.slots} == {7}


def test_identities_are_the_identity():
    start = family("hierarchical").references["identity"]
    found = motifs_of(start)
    image = torch.randn(2, 4, 5, 5)
    for graph in found.motifs.values():
        made = Assembled(graph, 4, lambda label: nn.Identity(), drops=False)
        assert torch.equal(made(image), image) and not list(made.parameters())
    assert torch.equal(Assembled(Graph(3, {(0, 1): "identity"}), 4, lambda label: nn.Identity(), False)(image), image)


def test_a_motif_has_weights_of_its_own_wherever_it_stands():
    network = family("hierarchical").build(family("hierarchical").references["separable"])
    cell = network.body[0]
    first, second = (cell.edges[edge][0].edges["0_1"][0].weight for edge in ("0_1", "1_2"))
    assert first.shape == second.shape and first is not second


def test_the_mutation_draws_level_motif_node_and_edge_uniformly():
    """Expected changes as counted by hand: an edge into node j of one of m motifs changes with
    1/2 * 1/m * 1/(nodes - 1) * 1/(j - 1) * (options - 1)/options.
    """
    target = family("hierarchical", motifs=2, nodes=3, cell_nodes=4)
    rng, genes, counts, draws = np.random.default_rng(0), target.references["identity"], Counter(), 8000
    for _ in range(draws):
        changed = target.variation.mutate(genes, rng)
        counts.update(path for path in genes if changed[path] != genes[path])
    for graph, motifs, nodes, options in (("motif_1", 2, 3, 7), ("motif_2", 2, 3, 7), ("cell", 1, 4, 3)):
        for end in range(1, nodes):
            for source in range(end):
                share = 1 / 2 / motifs / (nodes - 1) / end * (options - 1) / options
                wanted, spread = draws * share, math.sqrt(draws * share)
                assert abs(counts[edge_name(graph, (source, end))] - wanted) < 4.5 * spread


def test_motifs_have_no_names_and_dead_edges_no_meaning():
    space, rng = family("hierarchical", motifs=3).space, np.random.default_rng(0)
    swap = {"motif_1": "motif_3", "motif_3": "motif_1"}
    for _ in range(50):
        candidate = space.sample(rng)
        renamed = {}
        for path, value in candidate.items():
            graph, _, rest = path.partition("_from_")
            renamed[f"{swap.get(graph, graph)}_from_{rest}"] = swap.get(value, value)
        assert canonical(renamed) == canonical(candidate)
        unused = sorted(set(swap) - motifs_of(candidate).used)
        if unused:
            path = edge_name(unused[0], (0, 1))
            other = "none" if candidate[path] != "none" else "conv_1x1"
            assert canonical({**candidate, path: other}) == canonical(candidate)


def test_motifs_that_are_the_identity_are_one():
    space = family("hierarchical", motifs=1).space
    first = space.sample(np.random.default_rng(0))
    empty = {path: "none" if path.startswith("motif") else "motif_1" for path in first}
    direct, chain = empty | {"motif_1_from_1_to_3": "identity"}, empty | {"motif_1_from_1_to_2": "identity"}
    chain |= {"motif_1_from_2_to_3": "identity"}
    assert space.key(empty) == space.key(direct) == space.key(chain)
    conv = empty | {"motif_1_from_1_to_3": "conv_1x1"}
    around = empty | {"motif_1_from_1_to_2": "conv_1x1", "motif_1_from_2_to_3": "identity"}
    assert space.key(conv) == space.key(around) != space.key(direct)
    twice = around | {"motif_1_from_1_to_3": "identity"}
    assert space.key(twice) not in (space.key(conv), space.key(direct))


# ---------------------------------------------------------------- mobile


def test_filters_are_multiples_and_not_much_less():
    for filters in np.linspace(1, 100, 200):
        made = mobile.rounded(filters, 8)
        assert made % 8 == 0 and made >= 0.9 * filters and made <= max(8, filters + 8)


def test_layers_of_a_block_are_identical_but_for_the_first():
    rng, target = np.random.default_rng(0), family("mobile")
    for _ in range(100):
        candidate = target.space.sample(rng)
        found = mobile.blocks_of(candidate, mobile.SMALL, 1.0, 4, 8)
        for index, (block, base) in enumerate(zip(found, mobile.SMALL, strict=True)):
            assert len(block.layers) == base[1] + candidate[f"block_{index + 1}_layers"] >= 1
            assert [layer.stride for layer in block.layers] == [base[2], *[1] * (len(block.layers) - 1)]
            assert len({(layer.op, layer.kernel, layer.se, layer.outputs) for layer in block.layers}) == 1


def test_a_skip_that_cannot_be_is_none():
    target = family("mobile")
    single = {**target.references["mobilenetv2"], "block_4_layers": -1}
    none = {**single, "block_4_skip": "none"}
    assert target.space.key(single) == target.space.key(none)
    assert target.space.key({**single, "block_4_skip": "pool"}) != target.space.key(none)


@pytest.mark.slow
def test_the_table_of_latencies_has_every_part_and_parts_make_the_whole(tmp_path, monkeypatch):
    target, rng = family("mobile", blocks=[[4, 1, 2]]), np.random.default_rng(0)
    monkeypatch.setattr(
        "automl_ext.tasks.architecture.latency_table.measured_latency",
        lambda module, shape: float(counted_macs(module.eval(), torch.zeros(1, *shape))),
    )
    measure_pieces(target.pieces(None), tmp_path)
    table = read_latencies(str(tmp_path))
    for _ in range(10):
        candidate = target.space.sample(rng)
        whole = counted_macs(target.build(candidate).eval(), torch.zeros(1, *SHAPE))
        assert looked_up(target.pieces(candidate), table) == whole
    with pytest.raises(ValueError, match="is not there"):
        read_latencies(None)
