"""A policy as files that albumentations reads where this package is not.

`policy.json` is what `albumentations.to_dict` makes of it; the pipeline is
`albumentations.from_dict(json.load(open("policy.json")))`. `facts.json` says the rest: the seed, the images it is made
for, its sub-policies in words, and what else it needs. Sharpness below 1 and SamplePairing are no transforms of
albumentations: only where a policy uses one, `policy_transforms.py` (transforms.py as it stands) and `bank.npz` are
beside it. `example.py` loads and applies it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812
import numpy as np
from automl_ext.tasks.augmentation import transforms
from automl_ext.tasks.augmentation.apply import Ground
from automl_ext.tasks.augmentation.compose import BANK, composed
from automl_ext.tasks.augmentation.policy import Policy, described
from automl_ext.tasks.augmentation.transforms import SamplePairing

__all__ = ["write"]

CLASSES = "policy_transforms"
"""The module's name that policy.json gives our own transforms."""

MOST_IN_BANK = 256

_SEEDING = (
    "pipeline.set_random_state(numpy.random.default_rng(seed), random.Random(seed)); not set_random_seed(seed), which "
    "gives every transform the same numbers, so that their chances hang together"
)
_COPIES = "Equalize of albumentations 2.0.8 changes grey images in place: give it copies"

_EXAMPLE = '''"""The policy on an image file, or on noise, 8 times, to augmented.png: python example.py [IMAGE]"""
import json, random, sys
from pathlib import Path
import albumentations as A, cv2, numpy as np
{classes}
here, rows = Path(__file__).resolve().parent, []
image = np.random.default_rng(0).integers(0, 256, {size}, dtype=np.uint8)
if len(sys.argv) > 1:
    image = cv2.resize({read}, {wide}).reshape({size})
for name in {names}:
    policy = A.from_dict(json.loads((here / name).read_text()))
    policy.set_random_state(np.random.default_rng({seed}), random.Random({seed}))  # see facts.json
    rows.append(np.hstack([policy(image=image.copy())["image"] for _ in range(8)]))
cv2.imwrite("augmented.png", {written})
'''
_IMPORT = "sys.path.insert(0, str(Path(__file__).resolve().parent))\nimport policy_transforms  # before from_dict\n"
_COLOUR = ("cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)", "np.vstack(rows)[..., ::-1]")
_GREY = ("cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)", "np.vstack(rows)")


def write(
    policies: Sequence[Policy],
    ground: Ground,
    shape: tuple[int, int],
    folder: Path,
    seed: int,
    facts: Mapping[str, Any],
    shares: Sequence[float] = (),
) -> None:
    """Write one policy as `policy.json`, or those of a schedule as `policy-1.json` and on, and what they need.

    shape: (height, width) of the images. facts: more of them for `facts.json`. shares: what part of the training each
    policy of a schedule is for, in order, summing to 1; empty for equal parts. Raises ValueError for no policies, for
    shares that do not fit, and for SamplePairing without a bank of images of `shape`; nothing is written then.
    """
    shares = tuple(shares) or (1 / max(len(policies), 1),) * len(policies)
    if not policies or len(shares) != len(policies) or abs(sum(shares) - 1) > 1e-6 or min(shares) < 0:
        raise ValueError(f"{len(policies)} policies need as many shares from 0 up that sum to 1, got {shares}")
    names = [f"policy-{place}.json" for place in range(1, len(policies) + 1)] if len(policies) > 1 else ["policy.json"]
    trees = [_renamed(A.to_dict(composed(policy, ground, shape))) for policy in policies]
    needs = [_needs(json.dumps(tree)) for tree in trees]
    bank = _bank(ground, shape) if any(BANK in need for need in needs) else None
    rows = [
        {"file": name, "share": share, "needs": need, "stages": _words(policy)}
        for name, share, need, policy in zip(names, shares, needs, policies, strict=True)
    ]
    size = (*shape, len(ground.fill))
    told = {**_facts(rows, size, seed), **facts}
    for name, tree in zip(names, trees, strict=True):
        _save(folder / name, tree)
    if any(needs):
        shutil.copyfile(transforms.__file__, folder / f"{CLASSES}.py")
    if bank is not None:
        np.savez_compressed(folder / BANK, image=bank)
    _save(folder / "facts.json", told)
    (folder / "example.py").write_text(_example(names, size, seed, classes=any(needs)), encoding="utf-8")


def _save(file: Path, tree: Any) -> None:
    file.write_text(json.dumps(tree, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _renamed(tree: Any) -> Any:
    """The tree with our own transforms under the name of the module that is beside it."""
    if isinstance(tree, dict):
        return {key: _renamed(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_renamed(value) for value in tree]
    return tree.replace(transforms.__name__, CLASSES) if isinstance(tree, str) else tree


def _needs(text: str) -> list[str]:
    """The files that have to be beside a policy of this JSON, the one to import first."""
    files = {f"{CLASSES}.": f"{CLASSES}.py", f"{CLASSES}.{SamplePairing.__name__}": BANK}
    return [file for name, file in files.items() if name in text]


def _bank(ground: Ground, shape: tuple[int, int]) -> Any:
    """(at most 256, h, w, c) images of the ground's bank, from all over it."""
    bank = ground.bank
    if bank is None or bank.shape[1:] != (*shape, len(ground.fill)):
        got = "none" if bank is None else f"some of {bank.shape[1:]}"
        raise ValueError(f"SamplePairing needs a bank of images of {(*shape, len(ground.fill))}, there are {got}")
    return bank[np.linspace(0, len(bank) - 1, min(len(bank), MOST_IN_BANK)).round().astype(np.int64)]


def _words(policy: Policy) -> list[list[dict[str, Any]]]:
    """By stage, its sub-policies in words and how likely each is drawn."""
    return [
        [
            {"chance": stage.weights[place] if stage.weights else 1 / len(stage.choices), "does": described(choice)}
            for place, choice in enumerate(stage.choices)
        ]
        for stage in policy.stages
    ]


def _facts(rows: Sequence[Mapping[str, Any]], size: tuple[int, int, int], seed: int) -> dict[str, Any]:
    first = (
        f"import {CLASSES}, albumentations, json"
        if any(row["needs"] for row in rows)
        else "import albumentations, json"
    )
    return {
        "load": f"{first}; pipeline = albumentations.from_dict(json.load(open({rows[0]['file']!r})))",
        "apply": "pipeline(image=image)['image'], an image at a time; masks move along: pipeline(image=..., mask=...)",
        "albumentations": A.__version__,
        "seed": seed,
        "seeding": _SEEDING,
        **({"copies": _COPIES} if size[2] == 1 else {}),
        "made_for": {**dict(zip(("height", "width", "channels"), size, strict=True)), "dtype": "uint8"},
        "policies": list(rows),
    }


def _example(names: Sequence[str], size: tuple[int, int, int], seed: int, classes: bool) -> str:
    read, written = _GREY if size[2] == 1 else _COLOUR
    return _EXAMPLE.format(
        classes=_IMPORT if classes else "", size=size, wide=(size[1], size[0]), read=read, written=written,
        names=list(names), seed=seed,
    )  # fmt: skip
