"""The benchmark's search: what random search gets, and what its table says of the criteria."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import segmentation as bench
import segmentation_tables as tables


def rows(**heads):
    """heads: name -> (test mIoU by seed, MACs)."""
    return [
        {"head": head.replace("_", " "), "seed": seed, "test_miou": value / 100, "cell_macs_m": macs}
        for head, (values, macs) in heads.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_random_search_differs_by_its_searcher_alone():
    one, other = bench.searches(Namespace(trials=7), 2, 4.5).values()
    assert one.pop("searcher")["name"] == "regularized-evolution" and other.pop("searcher") == "random"
    assert one == other and one["limits"] == {"cell_macs_m": 4.5} and one["trials"] == 7


def test_a_prepared_folder_belongs_to_its_options(tmp_path):
    given = Namespace(rows=tmp_path / "rows", work=tmp_path, task="cells")
    some, same, others = (bench.Bench(given, images=32, val_images=4, width=width).shared for width in (1, 1, 0.5))
    assert some == same != others


def test_the_table_says_whether_each_criterion_holds():
    text = tables.searched(rows(searched=([61, 63, 62], 4), aspp=([62, 62, 65], 9), random_search=([60, 61, 63], 4)), 9)
    assert "| searched | 62.0 ± 1.0 (61.0 to 63.0) | 4.00 | -1.0 ± 2.0 (-3.0 to +1.0) | +0.7 ± 1.5 (-1.0 to" in text
    assert "half of its MACs: holds (62.0, ASPP 63.0 - 1.7; at most 4.00 of 9.00 million MACs)" in text
    assert "ASPP of 32 filters (`aspp`): does not hold (-1.0 ± 2.0 (-3.0 to +1.0); 1 of 3 seeds; 95 %" in text
    words = (
        "2 of 3 seeds; 95 % interval -3.1 to +4.5: not told apart by so few seeds)"  # 0.667 -+ 4.303 * 1.528 / 3 ** 0.5
    )
    assert f"random search: holds (+0.7 ± 1.5 (-1.0 to +2.0); {words}" in text
    clear = tables.searched(rows(searched=([61, 62.1], 4), aspp=([60, 61], 9), random_search=([59, 60], 4)), 9)
    assert (
        "ASPP of 32 filters (`aspp`): holds (+1.1 ± 0.1 (+1.0 to +1.1); 2 of 2 seeds; 95 % interval +0.4 to +1.7)"
        in clear
    )
    dear = tables.searched(rows(searched=([61, 63], 5), aspp=([60, 61], 9), random_search=([60, 61], 4)), 9)
    assert "half of its MACs: does not hold (62.0" in dear


def test_cells_are_compared_with_the_rest_of_their_network_and_with_whole_trainings():
    macs = {"macs_m": 44.0, "cell_macs_m": 4.0}
    trained = [
        {"kind": kind, "cell": f"cell {place}", "seed": seed, "miou": (place + seed) / 10, "seconds": seconds, **macs}
        for kind, seconds in (("proxy", 6.0), ("full", 40.0)) for place in range(4) for seed in (0, 1)
    ]  # fmt: skip
    trained.append({**trained[0], "cell": "plain", "cell_macs_m": 1.0})
    text = tables.cells(trained, 6, 8)
    assert "| MACs of all but the cell, times the cell's, median (from to) | 10.00 (10.00 to 10.00) |" in text
    assert "of one end to end, median (from to) | 0.20 (0.20 to 0.20) |" in text
    assert "8 epochs end to end, 8 cells | " in text


def test_the_share_of_a_cached_trial_is_of_the_same_seed():
    times = {"cached": (2.0, 3.0, 3.0), "end to end": (8.0, 10.0, 6.0)}
    rows = [
        {"kind": kind, "head": "aspp", "seed": seed, "seconds": value}
        for kind, values in times.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    assert "| aspp | 3.00 (2.00 to 3.00) | 8.00 (6.00 to 10.00) | 0.30 (0.25 to 0.50) |" in tables.cost(rows)


def test_nuclei_are_compared_by_their_mean_over_seeds():
    rows = [{"head": "Otsu", "seed": 0, "nucleus_iou": 0.7}]
    rows += [{"head": "searched", "seed": seed, "nucleus_iou": 0.7 + seed / 10} for seed in range(3)]
    text = tables.nuclei(rows, 20)
    assert "3 seeds; `searched`: of 20 cells a seed." in text
    assert "| Otsu | 70.0 (70.0 to 70.0) |" in text and "| searched | 80.0 (70.0 to 90.0) |" in text
