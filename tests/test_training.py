"""The trainer: learns digits, the same seed gives the same bits, reports may stop it, global generators stay alone."""

from __future__ import annotations

import torch
from torch import nn

from automl_ext.data import load
from automl_ext.training import Recipe, accuracy, lent_seed, resolve_device, train

CPU = torch.device("cpu")


def network() -> nn.Module:
    with lent_seed(3):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def trained(seed: int, report=None, epochs: int = 6) -> nn.Module:
    data, model = load("digits"), network()
    extra = {} if report is None else {"report": report}
    train(model, data.train, data, Recipe(epochs=epochs, rate=0.1), seed=seed, device=CPU, **extra)
    return model


def test_it_learns():
    data = load("digits")
    assert accuracy(trained(0), data.test, data, CPU) > 0.93 > 0.3 > accuracy(network(), data.test, data, CPU)


def test_the_same_seed_gives_the_same_bits():
    first, again, other = trained(1), trained(1), trained(2)
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(left, right) for left, right in pairs)
    assert any(not torch.equal(left, right) for left, right in zip(first.parameters(), other.parameters(), strict=True))


def test_a_report_may_stop_it():
    steps: list[float] = []

    def report(step: float, value: float) -> bool:
        steps.append(step)
        return len(steps) == 2

    trained(0, report)
    assert len(steps) == 2


def test_global_generators_are_left_alone():
    before = torch.random.get_rng_state()
    trained(0, epochs=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_device_has_a_name():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
