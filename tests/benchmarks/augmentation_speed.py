"""Images a second of the search's fast form of a policy beside albumentations, which it equals pixel by pixel.

    python tests/benchmarks/augmentation_speed.py [--side 32] [--channels 3] [--images 1000]
        [--write tasks/augmentation/README.md]

Policies: the fast form beside albumentations' own Compose of the same policy. Operations at their strongest: the fast
form, draws and grouping included, beside the bare transform. Medians of turns in which both run, on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from automl_ext.tasks.augmentation import compose
from automl_ext.tasks.augmentation.apply import Applier, Ground
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RANGES, value_at
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, of
from pruning_table import write

# The policy for CIFAR-10 of Cubuk et al. 2018 (arXiv 1805.09501), table 7: operation, tenths of probability, level.
AUTOAUGMENT = """
Invert 1 7 Contrast 2 6; Rotate 7 2 TranslateX 3 9; Sharpness 8 1 Sharpness 9 3; ShearY 5 8 TranslateY 7 9;
AutoContrast 5 8 Equalize 9 2; ShearY 2 7 Posterize 3 7; Color 4 3 Brightness 6 7; Sharpness 3 9 Brightness 7 9;
Equalize 6 5 Equalize 5 1; Contrast 6 7 Sharpness 6 5; Color 7 7 TranslateX 5 8; Equalize 3 7 AutoContrast 4 8;
TranslateY 4 3 Sharpness 2 6; Brightness 9 6 Color 2 8; Solarize 5 2 Invert 0 3; Equalize 2 0 AutoContrast 6 0;
Equalize 2 8 Equalize 6 4; Color 9 9 Equalize 6 6; AutoContrast 8 4 Solarize 2 8; Brightness 1 3 Color 7 0;
Solarize 4 5 AutoContrast 9 3; TranslateY 9 9 TranslateY 7 9; AutoContrast 9 2 Solarize 8 3; Equalize 8 8 Invert 1 3;
TranslateY 7 9 AutoContrast 9 1
"""


def autoaugment() -> Policy:
    pairs = [part.split() for part in AUTOAUGMENT.split(";")]
    steps = [[(p[i], int(p[i + 1]) / 10, value_at(p[i], int(p[i + 2]) / 9)) for i in (0, 3)] for p in pairs]
    return of(steps)


def trivialaugment() -> Policy:
    """One of 14 operations at one of 31 strengths, always (Müller and Hutter 2021, arXiv 2103.10158)."""
    names = (IDENTITY, "AutoContrast", "Equalize", *RANGES["wide"])
    steps = [(Step(name, 1.0, value_at(name, part / 30, "wide")),) for name in names for part in range(31)]
    return Policy((Stage(tuple(steps)),))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def beside(ours: Callable[[], object], theirs: Callable[[], object], turns: int) -> tuple[float, float]:
    """Median seconds of both, who goes first changing every turn, after one turn that does not count."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for who in (0, 1) if turn % 2 else (1, 0):
            taken[who].append(seconds((ours, theirs)[who]))
    return statistics.median(taken[0][1:]), statistics.median(taken[1][1:])


def row(name: str, policy: Policy, theirs: Callable[..., object], images: np.ndarray, options) -> str:
    """A line of the table. theirs: albumentations' pipeline or transform; it gets a tenth of the images."""
    applier = Applier(policy, Ground((125, 122, 113)[: images.shape[3]], images))
    rng = np.random.default_rng(0)
    few = images[: max(len(images) // 10, 20)].copy()

    def fast() -> None:
        for start in range(0, len(images), options.batch):
            applier(images[start : start + options.batch], rng)

    def slow() -> None:
        for image in few:
            theirs(image=image)

    mine, other = beside(fast, slow, options.turns)
    mine, other = 1e6 * mine / len(images), 1e6 * other / len(few)
    rates = f"{1e6 / mine:,.0f} | {1e6 / other:,.0f}"
    return f"| {name} | {mine:.1f} | {other:.1f} | {rates} | {other / mine:.1f} | {100 * (mine / other - 1):+.0f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32, help="pixels along both sides (default 32)")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=128, help="images that the fast form gets at once (default 128)")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--write", type=Path, help="the Markdown file that gets the table")
    options = parser.parse_args()
    lines = []
    for line in table(options):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        write("\n".join(lines), options.write, ("<!-- speed: begin -->", "<!-- speed: end -->"))


def table(options: argparse.Namespace) -> Iterator[str]:
    """The table's lines, as they are measured."""
    shape = (options.images, options.side, options.side, options.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ground, size = Ground((125, 122, 113)[: options.channels], images), (options.side, options.side)
    yield f"{options.images} images of {options.side} x {options.side} x {options.channels}, one thread; batches of"
    yield f"{options.batch}, medians of {options.turns} paired turns:\n"
    yield "| | us an image | albumentations | images/s | albumentations | times as fast | over its cost |"
    yield "|---|---|---|---|---|---|---|"
    for name, policy in (("AutoAugment, 25 sub-policies", autoaugment()), ("TrivialAugment", trivialaugment())):
        yield row(name, policy, compose.composed(policy, ground, size, seed=0), images, options)
    with tempfile.TemporaryDirectory() as folder:
        compose.BANK = str(Path(folder) / "bank.npz")
        np.savez(compose.BANK, image=images[:256])
        for name in OPERATIONS:
            policy = of([((name, 1.0, value_at(name, 1.0)),)])
            yield row(name, policy, compose.form(policy.subpolicies[0][0], ground, size), images, options)


if __name__ == "__main__":
    main()
