"""The rows of segmentation.py as Markdown."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from automl_ext.tasks.segmentation.depthwise import depthwise
from automl_ext.tasks.segmentation.env import SegmentationEnv
from automl_ext.tasks.segmentation.network import fresh
from automl_ext.tasks.segmentation.objectives import costs
from scipy.stats import spearmanr, t
from torch import Tensor, nn
from torch.nn import functional

Rows = Sequence[dict[str, Any]]
Heads = Mapping[str, Mapping[int, dict[str, Any]]]
"""Rows by head and seed."""


def of(task: str, rows: Rows, proxy: int, full: int, trials: int, few: int) -> str:
    """The table of one task. trials, few: of a search, on nuclei."""
    made = {
        "cells": lambda: cells(rows, proxy, full), "search": lambda: searched(rows, trials),
        "cost": lambda: cost(rows), "nuclei": lambda: nuclei(rows, few),
    }  # fmt: skip
    return made[task]()


def half_of_aspp(env: SegmentationEnv) -> float:
    """Half of the millions of multiply-accumulates of separable ASPP."""
    return costs(fresh(env.cell(env.references["aspp"]), env.shape, 0).eval(), env.shape)["cell_macs_m"] / 2


def cells(rows: Rows, proxy: int, full: int) -> str:
    """Spreads and rank correlation, then the references by the proxy."""
    scored = [row for row in rows if row["kind"] == "proxy"]
    names = [name for name in dict.fromkeys(row["cell"] for row in scored) if name.startswith("cell")]
    by = {name: [100 * row["miou"] for row in scored if row["cell"] == name] for name in names}
    repeated = [values for values in by.values() if len(values) > 1]
    parts = [f"{len(names)} random cells, {proxy} epochs on cached features, {max(map(len, by.values()))} seeds."]
    between = statistics.stdev(statistics.mean(values) for values in by.values())
    within = (sum(statistics.variance(values) for values in repeated) / len(repeated)) ** 0.5 if repeated else np.nan
    ordered = sorted(statistics.mean(values) for values in by.values())
    low, high = min(map(statistics.mean, by.values())), max(map(statistics.mean, by.values()))
    lines = [
        "| | validation mIoU, points |",
        "|---|---|",
        f"| lowest and highest cell, mean over seeds | {low:.1f}, {high:.1f} |",
        f"| standard deviation between cells (of means over seeds) | {between:.2f} |",
        f"| the same without the lowest cell | {statistics.stdev(ordered[1:]):.2f} |",
        f"| standard deviation between seeds (pooled over {len(repeated)} cells) | {within:.2f} |",
        f"| ratio | {between / within:.1f} |",
    ]
    both = [
        (statistics.mean(by[row["cell"]]), by[row["cell"]][0], 100 * row["miou"])
        for row in rows if row["kind"] == "full" and row["cell"] in by
    ]  # fmt: skip
    if len(both) > 2:
        mean, first, whole = zip(*both, strict=True)
        lines.append(
            f"| Spearman, proxy (mean over seeds) against {full} epochs end to end, {len(both)} cells | "
            f"{spearmanr(mean, whole).statistic:.2f} |"
        )
        lines.append(f"| the same, proxy of one seed | {spearmanr(first, whole).statistic:.2f} |")
    lines += _sizes(rows, proxy, full)
    beside = [name for name in dict.fromkeys(row["cell"] for row in scored) if not name.startswith("cell")]
    table = ["| head by the proxy | mIoU | MACs of the cell, millions |", "|---|---|---|"]
    for name in beside:
        some = [row for row in scored if row["cell"] == name]
        miou = statistics.mean(100 * row["miou"] for row in some)
        table.append(f"| {name} | {miou:.1f} | {some[0]['cell_macs_m']:.2f} |")
    seconds = statistics.mean(row["seconds"] for row in scored if row["cell"] in by)
    whole = [row["seconds"] for row in rows if row["kind"] == "full"]
    took = f"A random cell's trial took {seconds:.1f} s of one core"
    took += f", trained end to end {statistics.mean(whole):.1f} s ({full} epochs)" if whole else ""
    took += f"; 100 trials keep two cores that do nothing else busy for {seconds * 50 / 60:.0f} minutes."
    parts += ["\n".join(lines), "\n".join(table), took]
    return "\n\n".join(parts)


def _sizes(rows: Rows, proxy: int, full: int) -> list[str]:
    """Of random cells: the rest of the network over the cell in MACs, and what a cached epoch costs beside a whole."""
    some = [row for row in rows if row["cell"].startswith("cell")]
    first = {row["cell"]: row for row in some if row["kind"] == "proxy" and row["seed"] == 0}
    whole = {row["cell"]: row for row in some if row["kind"] == "full"}
    beside = [row["macs_m"] / row["cell_macs_m"] - 1 for row in first.values()]
    shares = [first[name]["seconds"] / proxy / (row["seconds"] / full) for name, row in whole.items()]
    made = {
        "MACs of all but the cell, times the cell's": beside,
        "an epoch on cached features, of one end to end": shares,
    }
    return [f"| {said}, median (from to) | {_middle(values)} |" for said, values in made.items() if values]


def searched(rows: Rows, trials: int) -> str:
    """Test mIoU a head, differences that are paired by seed, and whether each criterion holds."""
    by = {head: {row["seed"]: row for row in rows if row["head"] == head}
          for head in dict.fromkeys(row["head"] for row in rows)}  # fmt: skip
    rivals = [rival for rival in ("aspp", "random search") if rival in by]
    lines = [
        f"{trials} trials, {len({row['seed'] for row in rows})} seeds, cells at most at half of separable ASPP's MACs"
        " in both searches; all heads trained end to end alike. Test mIoU in points; mean ± standard deviation over"
        " seeds (from to), of differences by seed, too.\n",
        f"| head | test mIoU | MACs of the cell, millions | {' | '.join(f'minus {rival}' for rival in rivals)} |",
        "|---" * (3 + len(rivals)) + "|",
    ]
    for head in sorted(by, key=lambda head: -statistics.mean(_points(by[head]))):
        size = statistics.mean(row["cell_macs_m"] for row in by[head].values())
        apart = ["" if rival == head else _spread(_apart(by[head], by[rival]), "+") for rival in rivals]
        lines.append(f"| {head} | {_spread(_points(by[head]))} | {size:.2f} | {' | '.join(apart)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in criteria(by))])


def criteria(by: Heads) -> list[str]:
    """A line each: whether the searched cells are as good as ASPP at half its MACs, better than it, than random."""
    if not {"searched", "aspp", "random search"} <= set(by):
        return ["Criteria: heads are missing."]
    own, aspp = by["searched"], by["aspp"]
    mean, bar = statistics.mean(_points(own)), statistics.mean(_points(aspp))
    deviation = statistics.stdev(_points(aspp)) if len(aspp) > 1 else 0.0
    most, whole = max(row["cell_macs_m"] for row in own.values()), min(row["cell_macs_m"] for row in aspp.values())
    fits = mean >= bar - deviation and most <= whole / 2
    lines = [
        f"Not below ASPP minus one standard deviation, at no more than half of its MACs: {_holds(fits)} ({mean:.1f},"
        f" ASPP {bar:.1f} - {deviation:.1f}; at most {most:.2f} of {whole:.2f} million MACs)."
    ]
    for said, other in (("ASPP of 32 filters (`aspp`)", aspp), ("random search", by["random search"])):
        pairs = _apart(own, other)
        better = sum(pair > 0 for pair in pairs)
        holds = bool(pairs) and statistics.mean(pairs) > 0
        facts = f"{_spread(pairs, '+')}; {better} of {len(pairs)} seeds{_apart_at_all(pairs)}"
        lines.append(f"Above {said}: {_holds(holds)} ({facts}).")
    return lines


def _apart_at_all(pairs: Sequence[float]) -> str:
    """The 95 % interval of the mean difference, by Student's t, and whether it leaves out 0."""
    if len(pairs) < 2:
        return ""
    reach = t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
    low, high = statistics.mean(pairs) - reach, statistics.mean(pairs) + reach
    word = "" if low > 0 or high < 0 else ": not told apart by so few seeds"
    return f"; 95 % interval {low:+.1f} to {high:+.1f}{word}"


def _holds(it: bool) -> str:
    return "holds" if it else "does not hold"


def _points(seeds: Mapping[int, dict[str, Any]]) -> list[float]:
    return [100 * row["test_miou"] for row in seeds.values()]


def _apart(own: Mapping[int, dict[str, Any]], other: Mapping[int, dict[str, Any]]) -> list[float]:
    """By seed, where both have it."""
    return [100 * (own[seed]["test_miou"] - other[seed]["test_miou"]) for seed in own if seed in other]


def _spread(values: Sequence[float], sign: str = "") -> str:
    """Mean ± standard deviation (from to); nothing of no value."""
    if len(values) < 2:
        return "".join(f"{value:{sign}.1f}" for value in values)
    low, high = min(values), max(values)
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    return f"{mean:{sign}.1f} ± {deviation:.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def cost(rows: Rows) -> str:
    """Seconds of trials, medians over seeds, and milliseconds of depthwise convolutions."""
    lines = ["| 2 epochs, s of one core, median (from to) | cached | end to end | share |", "|---|---|---|---|"]
    for head in dict.fromkeys(row["head"] for row in rows if row["kind"] == "cached"):
        times = {kind: {row["seed"]: row["seconds"] for row in rows if row["kind"] == kind and row["head"] == head}
                 for kind in ("cached", "end to end")}  # fmt: skip
        cached, whole = times.values()
        shares = [cached[seed] / whole[seed] for seed in cached if seed in whole]
        if shares:
            parts = [_middle(list(values)) for values in (cached.values(), whole.values(), shares)]
            lines.append(f"| {head} | {' | '.join(parts)} |")
    lines += [
        "", "| depthwise 3x3, 16 maps of 16x16, training, ms | torch, rate 1 | torch | space-to-batch | here |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        if row["kind"] == "depthwise":
            cells_ = [f"{row[name]:.2f}" for name in ("undilated", "torch", "batches", "here")]
            lines.append(f"| {row['channels']} channels, rate {row['rate']} | {' | '.join(cells_)} |")
    return "\n".join(lines)


def nuclei(rows: Rows, few: int) -> str:
    """Pooled IoU a head, mean over seeds."""
    seeds = len({row["seed"] for row in rows})
    lines = [f"{seeds} seeds; `searched`: of {few} cells a seed.\n"]
    lines += ["| head | pooled IoU of nuclei, % |", "|---|---|"]
    for head in dict.fromkeys(row["head"] for row in rows):
        lines.append(f"| {head} | {_span([100 * row['nucleus_iou'] for row in rows if row['head'] == head])} |")
    return "\n".join(lines)


def depthwise_seconds() -> list[dict[str, Any]]:
    """Milliseconds of one training step through a depthwise convolution: torch's, by space-to-batch, and ours."""
    found = []
    for channels in (32, 192):
        for rate in ((1, 3), (3, 3), (5, 7), (8, 8)):
            x = torch.randn((16, channels, 16, 16), generator=torch.Generator().manual_seed(0)).requires_grad_()
            layer = nn.Conv2d(channels, channels, 3, 1, rate, rate, channels, bias=False)
            plain = nn.Conv2d(channels, channels, 3, 1, 1, 1, channels, bias=False)
            ways = {
                "undilated": lambda y, plain=plain: plain(y), "torch": lambda y, layer=layer: layer(y),
                "batches": lambda y, layer=layer, rate=rate: space_to_batch(layer.weight, rate, y),
                "here": lambda y, layer=layer: depthwise(layer.train(), y),
            }  # fmt: skip
            if not torch.allclose(ways["batches"](x), layer(x), atol=1e-5):
                raise AssertionError("space-to-batch is not exact")
            times = {name: 1000 * _least(way, x) for name, way in ways.items()}
            found.append({"channels": channels, "rate": f"{rate[0]}x{rate[1]}", **times})
    return found


def space_to_batch(weight: Tensor, rate: tuple[int, int], x: Tensor) -> Tensor:
    """A dilated depthwise convolution as an undilated one of interleaved parts of the map."""
    count, channels, height, width = x.shape
    rows, columns = (-(-side // step) for side, step in zip((height, width), rate, strict=True))
    x = functional.pad(x, (0, columns * rate[1] - width, 0, rows * rate[0] - height))
    x = x.reshape(count, channels, rows, rate[0], columns, rate[1]).permute(0, 3, 5, 1, 2, 4)
    x = functional.conv2d(x.reshape(-1, channels, rows, columns), weight, None, 1, 1, 1, channels)
    x = x.reshape(count, *rate, channels, rows, columns).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(count, channels, rows * rate[0], columns * rate[1])[:, :, :height, :width]


def _least(way: Any, x: Tensor, repeats: int = 15) -> float:
    towards, times = torch.ones_like(x), []
    for _ in range(repeats):
        begin = time.perf_counter()
        way(x).backward(towards)
        times.append(time.perf_counter() - begin)
    return min(times)


def _middle(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _span(values: Sequence[float], sign: str = "") -> str:
    mean, low, high = statistics.mean(values), min(values), max(values)
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"
