"""Pictures of policies: every space and reference draws, what stands in them, how large they may get."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from automl_ext.tasks.augmentation import frequencies, illustrate, picture
from automl_ext.tasks.augmentation.apply import Applier, Ground
from automl_ext.tasks.augmentation.encoding import end_of
from automl_ext.tasks.augmentation.operations import OPERATIONS
from automl_ext.tasks.augmentation.policy import Policy, Stage, Step, of
from automl_ext.tasks.augmentation.reference import published_cifar
from automl_ext.tasks.augmentation.space import SPACES, encode
from automl_ext.tasks.augmentation.strengths import FOURTEEN, randaugment, trivialaugment

from automl_ext import make

SVG = "{http://www.w3.org/2000/svg}"


def parsed(file):
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314
    assert root.tag == f"{SVG}svg"
    return root, ["".join(text.itertext()) for text in root.iter(f"{SVG}text")], list(root.iter(f"{SVG}image"))


def pixels(image):
    coded = image.get("href").removeprefix("data:image/png;base64,")
    return cv2.imdecode(np.frombuffer(base64.b64decode(coded), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture(scope="module")
def ground():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    return Ground((100,), images)


@pytest.mark.slow
def test_an_environment_illustrates_candidates_and_references(tmp_path):
    env = make("automl_ext/Augmentation-v0", images=60, shift=1, cutout=0.25).unwrapped
    for name, each in {"found": env.space.sample(np.random.default_rng(0)), **env.references}.items():
        if name in ("found", "none", "trivialaugment"):
            env.illustrate(each, tmp_path)
            parsed(tmp_path / "operations.svg")
        else:
            remark = "crops come ahead"
            illustrate.draw(
                env.pipeline(each).schedule,
                env.ground.bank,
                env.ground,
                "standard",
                tmp_path / "subpolicies.svg",
                remark,
            )
        _, texts, images = parsed(tmp_path / "subpolicies.svg")
        assert ("nothing is changed" in texts) == (name in ("none", "crop")) and images
        assert any("crops come ahead" in text for text in texts) == (name != "none")
        assert ("Cutout 0.25" in texts) == (name == "found")


@pytest.mark.parametrize("space", SPACES)
def test_every_space_draws(ground, tmp_path, space):
    encoding, left_out = encode(space, None, None, (1, 8, 8), segments=3, epochs=3)
    schedule = encoding.schedule(encoding.space.sample(np.random.default_rng(0)))
    illustrate.draw(schedule, ground.bank, ground, encoding.ranges, tmp_path / "a.svg")
    frequencies.draw(schedule, encoding.operations, encoding.ranges, tmp_path / "b.svg", left_out)
    _, texts, images = parsed(tmp_path / "a.svg")
    lines = [text for text in texts if "per 100 images" in text]
    columns = len({"original", "as found", *illustrate.SHARES} & {*texts})
    assert len(images) == 2 * columns * len(lines) and columns == 5 - (space in ("trivialaugment", "selective"))
    parsed(tmp_path / "b.svg")
    said = (tmp_path / "b.svg").read_text(encoding="utf-8")  # words are comments beside their glyphs
    assert ("Parts of the training, 3 alike" in said) == (space == "schedule") and "<!-- Rotate" in said
    assert ("Color is left out: it changes colours only" in said) and "<!-- Color -->" not in said


def test_rows_are_what_is_likeliest():
    alike = of([[("Invert", 0.5, None)], [("Rotate", 0.2, 9.0), ("Invert", 0.0, None)], [("ShearX", 1.0, 0.0)]])
    assert [row.label for row in illustrate.rows([alike])] == ["Invert with 50%", "Rotate 9 with 20%"]
    parts = [Policy((Stage(alike.stages[0].choices, (0.1, 0.9, 0.0)),)), Policy((Stage(((),)),))]
    assert [(row.label[:6], row.chance) for row in illustrate.rows(parts)] == [("Rotate", 0.45), ("Invert", 0.05)]


def test_single_operations_have_a_row_each():
    found = illustrate.rows([randaugment(3, 10, FOURTEEN)])
    assert [row.label.partition(" ")[0] for row in found] == [name for name in OPERATIONS if name in FOURTEEN]
    assert {round(row.chance, 9) for row in found} == {round(3 / 14, 9)} and all(row.found for row in found)
    levels = {row.label: row for row in illustrate.rows([trivialaugment(FOURTEEN)])}
    assert levels["Solarize 0 to 256"].steps[0].value == 0 and not levels["Rotate 0 to 30"].found
    assert len(levels) == 13 and levels["Rotate 0 to 30"].chance == pytest.approx(1 / 14)


def test_what_stands_in_a_row_is_what_the_search_applies(ground, tmp_path):
    illustrate.draw(
        [of([[("Brightness", 0.0, 0.4), ("Rotate", 0.3, 12.0)]])],
        ground.bank,
        ground,
        "autoaugment",
        file := tmp_path / "a.svg",
    )
    _, texts, images = parsed(file)
    assert {"Rotate 12 with 30%", "12", "10", "20", "30", "100 per 100 images"} <= {*texts}
    for place, value in enumerate((0.0, 12.0, 10.0, 20.0, 30.0)):
        policy = of([[("Rotate", 1.0, value)]])
        made, _ = Applier(policy, ground)(ground.bank[:2], np.random.default_rng(0))
        for image, shown in zip(made, images[2 * place : 2 * place + 2], strict=True):
            assert shown.get("style") == "image-rendering:pixelated"
            assert (pixels(shown)[::5, ::5, 0] == image[..., 0]).all() and pixels(shown).shape == (40, 40, 3)


def test_shares_go_to_the_end_on_the_own_side():
    steps = {("Contrast", 0.55): 0.1, ("Contrast", 1.2): 1.9, ("Posterize", 6.0): 4.0, ("Cutout", 0.5): 0.5}
    for (name, value), end in steps.items():
        step = Step(name, 0.2, value)
        assert end_of(step, "standard") == pytest.approx(end)
        assert illustrate.at_share(step, 1.0, "standard") == Step(name, 1.0, pytest.approx(end))
        assert illustrate.at_share(step, 0.0, "standard").idle
    assert illustrate.at_share(Step("Posterize", 1.0, 4.0), 1 / 3, "standard").value == 7


def test_more_rows_than_fit_are_counted(ground, tmp_path):
    illustrate.draw([published_cifar()], ground.bank, ground, "standard", tmp_path / "a.svg")
    _, texts, images = parsed(tmp_path / "a.svg")
    assert len(images) == 10 * 5 * 2 and "15 more sub-policies are not shown." in " ".join(texts)


def test_words_are_escaped_and_shortened(tmp_path, ground):
    words = '<script>alert("&")</script>'
    line = picture.Line(words + " and so on" * 20, words, [picture.Cell(ground.bank[:1], words), None])
    picture.write([words], [line], words, 48, tmp_path / "a.svg")
    root, texts, _ = parsed(tmp_path / "a.svg")
    assert texts.count(words) == 4 and not [tag for tag in root.iter() if "script" in tag.tag]
    assert max(map(len, texts)) <= picture.CAPTION_LETTERS


def test_large_images_stay_within_the_limit(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 64, 3), dtype=np.uint8)
    illustrate.draw([published_cifar()], images, Ground((1, 2, 3), images), "standard", tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size <= illustrate.MOST_BYTES
    first = parsed(tmp_path / "a.svg")[2][0]
    assert float(first.get("height")) == pytest.approx(1.5 * float(first.get("width")), rel=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_is_shown(tmp_path, channels):
    image = np.arange(64 * channels, dtype=np.uint8).reshape(1, 8, 8, channels)
    picture.write(["a"], [picture.Line("a", "b", [picture.Cell(image)])], "", 48, tmp_path / "a.svg")
    (shown,) = parsed(tmp_path / "a.svg")[2]
    kept = image[0, ..., :3] if channels >= 3 else image[0, ..., :1].repeat(3, axis=-1)
    assert (pixels(shown)[:: 60 // 8, :: 60 // 8] == kept).all()
