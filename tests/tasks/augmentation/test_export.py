"""Exported policies: they run where this package is not, and draw and do there what they do here."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import albumentations as A  # noqa: N812
import cv2
import numpy as np
import pytest
from automl_ext.tasks.augmentation import compose, transforms
from automl_ext.tasks.augmentation.apply import Ground
from automl_ext.tasks.augmentation.compose import composed
from automl_ext.tasks.augmentation.export import write
from automl_ext.tasks.augmentation.operations import OPERATIONS, value_at
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, of

SIZE = (16, 20)
OWN = ("Sharpness", "SamplePairing")


def strong(name, probability=0.7, magnitude=1.0):
    return (name, probability, value_at(name, magnitude))


PLAIN = of([(strong(name), ("Rotate", 0.5, 10.0)) for name in OPERATIONS if name != "SamplePairing"])
"""Sharpness above 1, which albumentations has."""
OURS = of([(strong(name, 0.7, 0.1), strong("Invert", 0.3)) for name in OPERATIONS])
EARLY = Policy((Stage(((Step("Equalize"),), (Step("Invert"), Step("Brightness", 0.5, 0.4))), (0.75, 0.25)),) * 2)


def ground(channels, bank=300):
    images = np.random.default_rng(0).integers(0, 256, (bank, *SIZE, channels), dtype=np.uint8)
    return Ground((125, 122, 113)[:channels], images)


UNSAID = {"self", "seed", "strict", "mask_interpolation", "save_applied_params", "mask_params"}
"""What to_dict leaves out whatever it is: Compose's seed and checks, and what Equalize's mask would be made of."""

_PROGRAM = """
import sys
sys.modules["automl_ext"] = None
import albumentations as A, json, os, runpy
plain = A.from_dict(json.load(open("plain/policy.json")))
assert "policy_transforms" not in sys.modules
for folder, *image in json.loads(sys.argv[1]):
    sys.argv = ["example.py", *image]
    os.makedirs("ran/" + folder)
    os.chdir("ran/" + folder)
    runpy.run_path("../../" + folder + "/example.py", run_name="__main__")
    os.chdir("../..")
    assert ("policy_transforms" in sys.modules) == (folder == "ours")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Three exports: of albumentations' transforms alone, with our own, and a schedule for grey images."""
    made = tmp_path_factory.mktemp("exported")
    for folder, policies, channels in (("plain", [PLAIN], 3), ("grey", [EARLY, PLAIN], 1), ("ours", [OURS], 3)):
        (made / folder).mkdir()
        write(policies, ground(channels), SIZE, made / folder, 5, {"found_in": 3})
    return made


@pytest.mark.slow(seconds=4)
def test_the_examples_run_where_this_package_is_not_and_do_what_the_policies_do_here(exported, monkeypatch):
    monkeypatch.setattr(compose, "BANK", str(exported / "ours" / "bank.npz"))
    image = cv2.GaussianBlur(ground(3).bank[7], (3, 3), 1)
    file = exported / "given.png"
    cv2.imwrite(str(file), image[..., ::-1])
    runs = json.dumps([["plain", str(file)], ["grey"], ["ours", str(file)]])
    command = [sys.executable, "-I", "-W", "error", "-c", _PROGRAM, runs]
    done = subprocess.run(command, capture_output=True, text=True, cwd=exported)
    assert done.returncode == 0, done.stderr
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 1), dtype=np.uint8)
    for folder, policies, shown in (
        ("plain", [PLAIN], image),
        ("grey", [EARLY, PLAIN], noise),
        ("ours", [OURS], image),
    ):
        rows = []
        for policy in policies:
            pipeline = composed(policy, ground(shown.shape[2]), SIZE, seed=5)
            rows.append(np.hstack([pipeline(image=shown.copy())["image"] for _ in range(8)]))
        got = cv2.imread(str(exported / "ran" / folder / "augmented.png"))[..., ::-1]
        assert np.array_equal(got[..., : shown.shape[2]], np.vstack(rows)), folder
        assert len({row.tobytes() for row in np.hsplit(rows[-1], 8)}) > 3


def nodes(tree):
    """All transforms and their groups in what to_dict made."""
    yield tree
    for part in tree.get("transforms", ()):
        yield from nodes(part)


def test_policy_json_is_what_to_dict_makes_with_every_argument_said(exported):
    tree = json.loads((exported / "plain" / "policy.json").read_text())
    assert tree == json.loads(json.dumps(A.to_dict(composed(PLAIN, ground(3), SIZE))))
    again = A.from_dict(tree)
    assert isinstance(again, A.Compose) and json.loads(json.dumps(A.to_dict(again))) == tree
    found = {node["__class_fullname__"] for node in nodes(tree["transform"])}
    assert {"Affine", "AutoContrast", "Equalize", "Sharpen", "CoarseDropout", "OneOf", "Sequential"} <= found
    for node in nodes(tree["transform"]):
        wanted = set(inspect.signature(getattr(A, node["__class_fullname__"]).__init__).parameters)
        assert wanted - UNSAID <= node.keys(), node


def test_only_what_is_needed_lies_beside_it(exported):
    always = {"policy.json", "facts.json", "example.py"}
    assert {file.name for file in (exported / "plain").iterdir()} == always
    assert {file.name for file in (exported / "ours").iterdir()} == {*always, "policy_transforms.py", "bank.npz"}
    assert {file.name for file in (exported / "grey").iterdir()} == {"policy-1.json", "policy-2.json", *always} - {
        "policy.json"
    }
    tree = json.loads((exported / "ours" / "policy.json").read_text())
    found = {node["__class_fullname__"] for node in nodes(tree["transform"])}
    assert {f"policy_transforms.{name}" for name in OWN} <= found and "automl_ext" not in json.dumps(tree)
    assert (exported / "ours" / "policy_transforms.py").read_text() == Path(transforms.__file__).read_text()
    with np.load(exported / "ours" / "bank.npz") as arrays:
        bank = arrays["image"]
    whole = {image.tobytes() for image in ground(3).bank}
    assert bank.shape == (256, *SIZE, 3) and len({image.tobytes() for image in bank} & whole) == 256
    assert np.array_equal(bank[[0, -1]], ground(3).bank[[0, -1]])


def test_sharpness_alone_needs_no_bank(tmp_path):
    write([of([(("Sharpness", 1.0, 0.3),)])], Ground((9,)), SIZE, tmp_path, 0, {})
    assert (tmp_path / "policy_transforms.py").exists() and not (tmp_path / "bank.npz").exists()


def test_facts_say_seed_sizes_sub_policies_shares_and_files(exported, tmp_path):
    plain, grey, ours = (
        json.loads((exported / folder / "facts.json").read_text()) for folder in ("plain", "grey", "ours")
    )
    assert plain["seed"] == 5 and plain["found_in"] == 3 and plain["albumentations"] == A.__version__
    assert plain["made_for"] == {"height": 16, "width": 20, "channels": 3, "dtype": "uint8"}
    assert plain["policies"][0]["file"] == "policy.json" and plain["policies"][0]["needs"] == []
    assert "policy_transforms" not in plain["load"] and "copies" not in plain and "set_random_seed" in plain["seeding"]
    assert ours["policies"][0]["needs"] == ["policy_transforms.py", "bank.npz"]
    assert ours["load"].startswith("import policy_transforms") and "in place" in grey["copies"]
    assert [(row["file"], row["share"]) for row in grey["policies"]] == [("policy-1.json", 0.5), ("policy-2.json", 0.5)]
    stage = [{"chance": 0.75, "does": "Equalize"}, {"chance": 0.25, "does": "Invert, then Brightness 0.4 with 50%"}]
    assert grey["policies"][0]["stages"] == [stage, stage]
    write([EARLY, EARLY], Ground((9,)), SIZE, tmp_path, 0, {}, shares=(0.25, 0.75))
    said = json.loads((tmp_path / "facts.json").read_text())
    assert [row["share"] for row in said["policies"]] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("policies", "bank", "shares", "said"),
    [
        ([], None, (), "0 policies need as many shares"),
        ([PLAIN, PLAIN], None, (0.5,), "2 policies need as many shares"),
        ([PLAIN, PLAIN], None, (0.5, 0.6), "sum to 1"),
        ([OURS], None, (), r"bank of images of \(16, 20, 3\), there are none"),
        ([OURS], np.zeros((3, 8, 8, 3), np.uint8), (), r"there are some of \(8, 8, 3\)"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_written(tmp_path, policies, bank, shares, said):
    with pytest.raises(ValueError, match=said):
        write(policies, Ground((1, 2, 3), bank), SIZE, tmp_path, 0, {}, shares)
    assert list(tmp_path.iterdir()) == []
