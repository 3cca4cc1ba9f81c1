"""The interpreter: references step like torch.optim's classes or their formulas, and neighbours change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from automl_ext.tasks.optimizer.graph import RuleError, graph, statements
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.reference import REFERENCES
from automl_ext.tasks.optimizer.rules import RuleSpace

GRAPHS = {name: graph(program) for name, program in REFERENCES.items()}
RATE, STEPS, COUNT = 0.03, 50, 40


def pull(w, step):
    """A gradient that depends on the weights, changes sign, and is other at every step."""
    return torch.sin(w + step) + 0.3 * w


def start():
    return torch.linspace(-2, 2, COUNT)


def by_torch(make):
    """Fifty steps of an optimizer of torch."""
    w = start().requires_grad_()
    optimizer = make([w])
    for step in range(1, STEPS + 1):
        w.grad = pull(w.detach(), step)
        optimizer.step()
    return w.detach()


def by_formula(update):
    """Fifty steps of update(g, m, w) -> (update, new m)."""
    w, m = start(), torch.zeros(COUNT)
    for step in range(1, STEPS + 1):
        change, m = update(pull(w, step), m, w)
        w = w - RATE * change
    return w


def lion(g, m, w):
    return torch.sign(0.9 * m + 0.1 * g) + 0.1 * w, 0.99 * m + 0.01 * g


def powersign(g, m, w):
    m = 0.9 * m + 0.1 * g
    return torch.exp(torch.sign(g) * torch.sign(m)) * g, m


def addsign(g, m, w):
    m = 0.9 * m + 0.1 * g
    return (1 + torch.sign(g) * torch.sign(m)) * g, m


ORACLES = {
    "sgd": lambda: by_torch(lambda p: torch.optim.SGD(p, RATE)),
    "momentum": lambda: by_torch(lambda p: torch.optim.SGD(p, RATE, momentum=0.9)),
    "nesterov": lambda: by_torch(lambda p: torch.optim.SGD(p, RATE, momentum=0.9, nesterov=True)),
    "rmsprop": lambda: by_torch(lambda p: torch.optim.RMSprop(p, RATE)),
    "adam": lambda: by_torch(lambda p: torch.optim.Adam(p, RATE)),
    "adamw": lambda: by_torch(lambda p: torch.optim.AdamW(p, RATE)),
    "lion": lambda: by_formula(lion),
    "powersign": lambda: by_formula(powersign),
    "addsign": lambda: by_formula(addsign),
}


def stepped(graphs, lanes=2, narrow=4096, steps=STEPS, rates=RATE):
    """(rules, lanes, COUNT) weights after some steps, all rules together."""
    made = Interpreter(graphs, lanes, COUNT, narrow)
    made.rates.fill_(1.0).mul_(rates)
    made.weights[..., :COUNT] = start()
    for step in range(1, steps + 1):
        made.gradient[..., :COUNT] = pull(made.weights[..., :COUNT], step)
        made.step(step, steps)
    return made.weights[..., :COUNT].clone()


@pytest.mark.parametrize("narrow", [0, 4096], ids=["row by row", "gathered"])
def test_every_reference_steps_like_torch_or_its_formula(narrow):
    assert list(ORACLES) == list(REFERENCES)
    found = stepped(list(GRAPHS.values()), narrow=narrow)
    for name, weights in zip(GRAPHS, found, strict=True):
        off = float((weights - ORACLES[name]()).abs().max())
        assert off <= 1e-6, f"{name}: {off}"


@pytest.fixture(scope="module")
def crowd():
    """Forty random rules, some of which overflow or divide by zero."""
    own, rng, found = RuleSpace(2), np.random.default_rng(0), []
    while len(found) < 40:
        try:
            found.append(graph(own.program(own.space.sample(rng))))
        except RuleError:
            continue
    return found


def drawn(size, steps, streams=8):
    generator = torch.Generator().manual_seed(0)
    return [
        [{"uniform": torch.rand(size, generator=generator), "normal": torch.randn(size, generator=generator)}
         for _ in range(streams)] for _ in range(steps)
    ]  # fmt: skip


def walked(graphs, lanes, narrow, keep=None):
    made = Interpreter(graphs, lanes, COUNT, narrow)
    made.rates = torch.logspace(-3, 0, lanes)[:, None].expand(len(graphs), lanes, 1).contiguous()
    made.weights[..., :COUNT] = start()
    for step, draws in enumerate(drawn(made.size, 12), 1):
        made.gradient[..., :COUNT] = pull(made.weights[..., :COUNT], step)
        made.step(step, 12, 1.0, draws)
        if keep and step == 6:
            made = made.keep(keep)
    return made.weights.clone()


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_rule_gets_the_same_bits_alone_and_in_a_crowd_gathered_or_not(crowd, lanes):
    together = walked(crowd, lanes, 10**9)
    assert not torch.isfinite(together).all()  # some do diverge
    for other in (walked(crowd, lanes, 0), torch.cat([walked([one], lanes, 10**9) for one in crowd])):
        torch.testing.assert_close(other, together, rtol=0, atol=0, equal_nan=True)


def test_rules_that_stay_go_on_as_they_were(crowd):
    places = [3, 11, 12, 30]
    torch.testing.assert_close(
        walked(crowd, 2, 4096, places), walked(crowd, 2, 4096)[places], rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("narrow", [0, 4096])
def test_an_average_that_two_read_is_updated_once_a_step_and_old_memory_stays_readable(narrow):
    """x holds what m1 was before; the update is the difference of both, which is what the average gained."""
    rule = graph(statements([
        ["x1", "mul", ["m1", 1.0]], ["m1", "interp", ["m1", "g", 0.5]], ["m2", "mul", ["x1", 1.0]],
        ["x2", "sub", ["m1", "x1"]], ["update", "add", ["x2", "m2"]],
    ]))  # fmt: skip
    made = Interpreter([rule], 1, COUNT, narrow)
    average = torch.zeros(COUNT)
    for step in range(1, 5):
        made.gradient[..., :COUNT] = pull(start(), step)
        average = 0.5 * average + 0.5 * pull(start(), step)
        torch.testing.assert_close(made.updates(step, 4)[0, 0, :COUNT], average)


def test_norms_are_of_what_means_something_only():
    rule = graph(statements([["x1", "exp", ["g"]], ["s1", "norm", ["x1"]], ["update", "mul", ["s1", "g"]]]))
    made = Interpreter([rule], 1, COUNT)
    made.gradient[..., :COUNT] = start()
    torch.testing.assert_close(made.updates(1, 1)[0, 0, :COUNT], start().exp().norm() * start())
