"""The trainer beside loops written by hand: the same weights, the same bits for the same seed, nothing left behind."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from automl_ext.data import Data, Split, load, normalise
from automl_ext.training import Recipe, accuracy, augment, lent_seed, mode, resolve_device, train

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


def network(dropout: float = 0.0) -> nn.Module:
    with lent_seed(3):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(288, 10),
        )  # fmt: skip


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


def test_it_learns(digits):
    model = network()
    before = accuracy(model, digits.test, digits, CPU)
    trained = train(model, digits.train, digits, Recipe(epochs=8, smoothing=0.1), seed=0, device=CPU)
    assert trained.epochs == 8
    assert not trained.stopped
    assert accuracy(model, digits.test, digits, CPU) > 0.93 > 0.3 > before


def test_the_same_seed_gives_the_same_bits_dropout_and_augmentation_included(digits):
    def result(seed: int, disturb: int) -> torch.Tensor:
        torch.random.default_generator.manual_seed(disturb)
        model = network(dropout=0.3)
        train(model, digits.train, digits, Recipe(epochs=2, flip=True, shift=1), seed=seed, device=CPU)
        return weights(model)

    state = torch.get_rng_state()
    first = result(1, disturb=0)
    assert torch.equal(first, result(1, disturb=1))
    assert not torch.equal(first, result(2, disturb=0))
    torch.set_rng_state(state)


def test_global_generators_are_left_alone(digits):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    train(network(0.5), digits.train, digits, Recipe(epochs=1, flip=True, shift=1), seed=0, device=CPU)
    with contextlib.suppress(KeyError), lent_seed(5):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_it_is_nesterovs_sgd_with_decay_clipping_and_smoothing(digits):
    """One batch an epoch, so that shuffling changes no sum; the same steps by hand, in double precision."""
    split = digits.train[:100]
    recipe = Recipe(epochs=4, batch=100, rate=0.3, clip=0.2, weight_decay=0.01, smoothing=0.2, schedule="constant")
    with lent_seed(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    weight, bias = (value.detach().double() for value in model.parameters())
    inputs = normalise(split.image, digits.mean, digits.std).flatten(1).double()
    aim = functional.one_hot(split.label, 10).double() * 0.8 + 0.2 / 10
    momentum = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for rate in (0.3, 0.3, 0.3, 0.3 * (1 / 4) / 0.3):  # the last 30 % fall in a line: at 3 of 4 epochs, 0.25 is left
        wrong = (functional.softmax(inputs @ weight.T + bias, 1) - aim) / len(split)
        gradient = [wrong.T @ inputs, wrong.sum(0)]
        norm = float(torch.cat([part.flatten() for part in gradient]).norm())
        gradient = [part * min(1.0, 0.2 / (norm + 1e-6)) for part in gradient]
        gradient[0] = gradient[0] + 0.01 * weight
        momentum = [0.9 * speed + part for speed, part in zip(momentum, gradient, strict=True)]
        weight = weight - rate * (gradient[0] + 0.9 * momentum[0])
        bias = bias - rate * (gradient[1] + 0.9 * momentum[1])
    train(model, split, digits, recipe, seed=0, device=CPU)
    ours = [value.detach().double() for value in model.parameters()]
    assert torch.allclose(ours[0], weight, atol=1e-5)
    assert torch.allclose(ours[1], bias, atol=1e-5)


def test_one_cycle_climbs_to_the_peak_and_falls_to_zero():
    recipe = Recipe(rate=2.0, warmup=0.25)
    rates = [recipe.rate_at(progress) for progress in np.linspace(0, 1, 101)]
    assert max(rates) == rates[25] == 2.0
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_constant_then_decay():
    recipe = Recipe(rate=2.0, schedule="constant", decay=0.5)
    assert [recipe.rate_at(progress) for progress in (0, 0.5, 0.75, 1)] == [2.0, 2.0, 1.0, 0.0]
    assert Recipe(rate=2.0, schedule="constant", decay=0).rate_at(1.0) == 2.0


def test_a_continued_run_sees_the_batches_of_an_uninterrupted_one(digits):
    """Without momentum, which a continued run starts afresh, the weights are equal to the last bit."""

    steps: list[float] = []

    def further(model: nn.Module, epochs: int, start: int) -> int:
        recipe = Recipe(epochs=epochs, schedule="constant", decay=0, momentum=0.0, shift=1)
        report = lambda step, value: bool(steps.append(step))  # noqa: E731
        return train(model, digits.train, digits, recipe, seed=7, device=CPU, report=report, start=start).epochs

    whole, pieces = network(0.2), network(0.2)
    further(whole, 4, start=0)
    further(pieces, 1, start=0)
    assert further(pieces, 4, start=1) == 4
    assert torch.equal(weights(whole), weights(pieces))
    assert steps == [1, 2, 3, 4, 1, 2, 3, 4]


def test_an_epoch_sees_every_image_once_in_even_batches(digits):
    seen: list[torch.Tensor] = []

    def loss(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        seen.append(label)
        return functional.cross_entropy(output, label)

    train(network(), digits.train[:100], digits, Recipe(epochs=1, batch=30), seed=0, device=CPU, loss=loss)
    assert [len(label) for label in seen] == [25, 25, 25, 25]
    assert sorted(torch.cat(seen).tolist()) == sorted(digits.train[:100].label.tolist())


def test_a_report_hears_the_validation_accuracy_and_may_stop(digits):
    model, curve = network(), []

    def report(step: float, value: float) -> bool:
        assert value == accuracy(model, digits.val, digits, CPU)
        curve.append((step, value))
        return step == 2

    trained = train(model, digits.train, digits, Recipe(epochs=9), seed=0, device=CPU, report=report)
    assert [step for step, _ in curve] == [1, 2]
    assert (trained.epochs, trained.stopped) == (2, True)


def test_a_loss_that_is_not_finite_ends_it(digits):
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train(network(), digits.train, digits, Recipe(rate=math.inf), seed=0, device=CPU)


def test_every_module_is_back_in_its_own_mode(digits):
    model = network()
    model[1].eval()
    train(model, digits.train[:64], digits, Recipe(epochs=1), seed=0, device=CPU)
    accuracy(model, digits.val, digits, CPU)
    with pytest.raises(KeyError), mode(model, training=False):
        raise KeyError
    assert [module.training for module in model] == [True, False, True, True, True, True]


def masks(count: int) -> Data:
    """Images whose mask is: brighter than the middle."""
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 1, 6, 7), dtype=np.uint8))
    split = Split(image, (image[:, 0] > 127).long())
    return Data.of(split, split, split)


def test_accuracy_counts_labels_and_pixels():
    class Says(nn.Module):
        def forward(self, image):
            zero = torch.zeros_like(image)
            return torch.cat([zero, image * 0 + 1, zero], 1)

    data = masks(11)
    expected = float((data.test.label == 1).float().mean())
    assert accuracy(Says(), data.test, data, CPU, batch=4) == pytest.approx(expected)
    labels = Data.of(*[Split(data.test.image, torch.arange(11) % 3)] * 3)
    flat = nn.Sequential(Says(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert accuracy(flat, labels.test, labels, CPU, batch=4) == 4 / 11


def test_masks_train_with_the_same_loop():
    data = masks(40)
    with lent_seed(0):
        model = nn.Conv2d(1, 2, 1)
    train(model, data.train, data, Recipe(epochs=20, batch=10, rate=0.5), seed=0, device=CPU)
    assert accuracy(model, data.test, data, CPU) > 0.95


def test_augmented_images_are_shifts_and_mirrors_and_masks_move_along():
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 2, 5, 6), dtype=np.uint8))
    moved, mask = augment(image, image[:, 0].long(), torch.Generator().manual_seed(0), flip=True, shift=2)
    kinds = set()
    for before, after in zip(image.numpy(), moved.numpy(), strict=True):
        padded = np.pad(before, ((0, 0), (2, 2), (2, 2)), mode="edge")
        matches = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if np.array_equal((before_flip(padded, flip))[:, top : top + 5, left : left + 6], after)
        ]
        assert matches
        kinds.add(matches[0])
    assert torch.equal(mask, moved[:, 0].long())
    assert len({top for top, _, _ in kinds}) == len({left for _, left, _ in kinds}) == 5
    assert len({flip for _, _, flip in kinds}) == 2


def before_flip(image: np.ndarray, flip: bool) -> np.ndarray:
    return image[:, :, ::-1] if flip else image


def test_a_device_has_a_name():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no usable GPU"):
            resolve_device("cuda")


def test_a_transform_sees_the_progress_and_draws_the_same_after_an_interruption(digits):
    def seen(start, epochs):
        calls = []

        def transform(image, label, progress, rng):
            calls.append((round(progress, 6), float(rng.random()), len(image)))
            return 255 - image, label

        recipe = Recipe(epochs=epochs, batch=50, schedule="constant", decay=0.0)
        train(network(), digits.train[:100], digits, recipe, seed=1, device=CPU, transform=transform, start=start)
        return calls

    whole = seen(0, 3)
    assert [call[0] for call in whole] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6], abs=1e-6)
    assert seen(2, 3) == whole[4:] and len({call[1] for call in whole}) == 6
