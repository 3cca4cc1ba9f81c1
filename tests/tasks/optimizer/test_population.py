"""Population training: neighbours change nothing, not to the bit; it does what a loop of torch does."""

from __future__ import annotations

import math

import pytest
import torch
from automl_ext.tasks.optimizer.alone import trained_alone
from automl_ext.tasks.optimizer.children import child
from automl_ext.tasks.optimizer.graph import graph, statements
from automl_ext.tasks.optimizer.heldout import held_out
from automl_ext.tasks.optimizer.population import Plan, trained
from automl_ext.tasks.optimizer.programs import ADAMW
from automl_ext.tasks.optimizer.reference import REFERENCES
from torch.nn import functional

from automl_ext.data import load

SMALL = Plan(rates=(1e-3, 0.03, 1.0), sweep=8, steps=24)
PLANTED = [
    [["x1", "sub", ["g", "g"]], ["update", "div", ["g", "x1"]]],  # divides by zero
    [["x1", "mul", ["g", 4.0]], ["x1", "exp", ["x1"]], ["x1", "exp", ["x1"]], ["update", "exp", ["x1"]]],  # overflows
    [["m1", "add", ["m1", "w"]], ["x1", "exp", ["m1"]], ["update", "add", ["x1", "g"]]],  # later
]


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.mark.parametrize("name", ["logistic", "mlp", pytest.param("convolution", marks=pytest.mark.slow),
                                  pytest.param("attention", marks=pytest.mark.slow)])  # fmt: skip
def test_planted_rules_that_diverge_change_no_bit_of_their_neighbours(data, name):
    one = child(name, data)
    bad = [graph(statements(rows)) for rows in PLANTED]
    good = [graph(REFERENCES[each]) for each in ("adam", "lion", "powersign", "momentum")]
    mixed = [good[0], bad[0], good[1], bad[1], bad[2], good[2], good[3]]
    found = trained(mixed, one, SMALL, 0)
    assert found[1] is None and found[3] is None
    kept = [found[place] for place in (0, 2, 5, 6)]
    assert kept == [trained([rule], one, SMALL, 0)[0] for rule in good]
    assert all(outcome is not None and outcome.loss < (4.5 if name == "attention" else 2.3) for outcome in kept)


def test_it_is_what_a_loop_of_torch_does(data):
    one = child("mlp", data)

    def adam(parameters, rate, decay):
        return [torch.optim.AdamW(parameters, rate, weight_decay=decay)]

    plan = Plan(rates=(1e-3, 0.03, 1.0), decays=(0.0, 0.1), sweep=8, steps=24, repeats=2, schedule="cosine")
    loop, (population,) = trained_alone(adam, one, plan, 3), trained([graph(REFERENCES["adam"])], one, plan, 3)
    assert (loop.rate, loop.decay) == (population.rate, population.decay)
    assert population.losses == pytest.approx(loop.losses, rel=1e-3) and population.accuracy == loop.accuracy
    assert population.loss == pytest.approx(sum(population.losses) / 2) and population.losses[0] != population.losses[1]


def test_the_sweep_takes_the_best_rate(data):
    one, rule = child("logistic", data), graph(REFERENCES["sgd"])
    (swept,) = trained([rule], one, SMALL, 0)
    losses = {rate: trained([rule], one, Plan(rates=(rate,), sweep=1, steps=8), 0)[0].loss for rate in SMALL.rates}
    assert swept.rate == min(losses, key=losses.get) and swept.rate > 1e-3
    assert [step for step, _ in swept.curve] == [10, 20, 24]


def test_denormals_are_as_they_were_afterwards(data):
    tiny = torch.tensor([1e-38]) / 100
    trained([graph(REFERENCES["sgd"])], child("logistic", data), Plan(rates=(0.1,), sweep=1, steps=1), 0)
    assert float(tiny * 1) > 0


def test_stacked_layers_are_the_layers_of_torch(data):
    """The small convolution net beside torch's own convolutions, loss and gradients."""
    one = child("convolution", data)
    weights = [part.clone().requires_grad_() for part in one.split(one.fresh(torch.Generator().manual_seed(0))[None])]
    index = torch.arange(32)
    loss = one.losses(weights, one.train[0][index], one.train[1][index]).sum()
    images = child("mlp", data).train[0][index].view(-1, 1, 8, 8)
    own = [part[0].detach().clone().requires_grad_() for part in weights]
    first = own[0].view(3, 3, 1, 8).permute(3, 2, 0, 1)
    second = own[2].view(3, 3, 8, 16).permute(3, 2, 0, 1)
    y = torch.relu(functional.conv2d(images, first, own[1], 1, 1))
    y = torch.relu(functional.conv2d(y, second, own[3], 2, 1)).permute(0, 2, 3, 1).flatten(1)
    plain = functional.cross_entropy(y @ own[4] + own[5], one.train[1][index])
    torch.testing.assert_close(loss, plain)
    for mine, theirs in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(plain, own), strict=True):
        torch.testing.assert_close(mine[0], theirs, rtol=1e-4, atol=1e-6)


def test_attention_does_not_see_the_future(data):
    one = child("attention", data)
    weights = one.split(one.fresh(torch.Generator().manual_seed(0))[None])
    text = one.train[0][:1].clone()
    before = one.forward(weights, text).clone()
    text[0, 9] = (text[0, 9] + 1) % 64
    changed = (one.forward(weights, text) != before).any(2)[0]
    assert not changed[:9].any() and changed[9:].all()


def test_where_programs_start_learns(data):
    (found,) = trained([graph(ADAMW)], child("mlp", data), SMALL, 0)
    assert found is not None and found.loss < 1


@pytest.mark.parametrize("name", ["diabetes", "cancer", "wine", "friedman", "photographs", "adding"])
def test_held_out_tasks_can_be_learned_a_little(name):
    one = held_out(name)
    plan = Plan(rates=(0.01,), sweep=1, steps=25, batch=16)
    (found,) = trained([graph(REFERENCES["adam"])], one, plan, 0)
    (fresh,) = trained([graph(REFERENCES["adam"])], one, Plan(rates=(1e-9,), sweep=1, steps=1, batch=16), 0)
    assert math.isfinite(found.loss) and found.loss < fresh.loss
