"""The interpreter: references step like torch.optim's classes or their formulas, and neighbours change nothing."""

from __future__ import annotations

import pytest
import torch
from automl_ext.tasks.optimizer.graph import graph, statements
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.reference import REFERENCES

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
        torch.testing.assert_close(weights, ORACLES[name]().expand(2, -1), atol=1e-6, rtol=1e-6, msg=lambda m: f"{name}: {m}")
