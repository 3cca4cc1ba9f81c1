"""The exported optimizer: it steps as the interpreter does, and is an optimizer of torch in every respect."""

from __future__ import annotations

import ast
import copy
import importlib.util
import math
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from automl_ext.tasks.optimizer.export import source, write
from automl_ext.tasks.optimizer.graph import RuleError, graph, statements
from automl_ext.tasks.optimizer.interpreter import Interpreter
from automl_ext.tasks.optimizer.mutations import ProgramVariation
from automl_ext.tasks.optimizer.programs import ADAMW, ProgramSpace
from automl_ext.tasks.optimizer.reference import REFERENCES
from automl_ext.tasks.optimizer.rules import RuleSpace

SPANS = (slice(0, 10), slice(10, 40))


def loaded(text, folder):
    file = folder / "optimizer.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("exported", file)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.FoundRule


def parameters():
    w = torch.linspace(-2, 2, 40)
    return [w[:10].clone().requires_grad_(), w[10:].clone().view(5, 6).requires_grad_()]


def pull(w, step):
    return torch.sin(w + step) + 0.3 * w


def programs():
    """References, rules and programs of all kinds, without drawn numbers."""
    own, rng = RuleSpace(2, ["drop 0.1", "drop 0.3", "drop 0.5", "noise", "log", "power"]), np.random.default_rng(0)
    found = dict(REFERENCES)
    while len(found) < 25:
        try:
            program = own.program(own.space.sample(rng))
            graph(program)
        except RuleError:
            continue
        found[f"rule {len(found)}"] = program
    space = ProgramSpace(12, 2)
    variation = ProgramVariation(space, ADAMW)
    for number in range(10):
        genes = variation.sample(np.random.default_rng(number))
        for _ in range(4):
            genes = variation.mutate(genes, np.random.default_rng(number))
        found[f"program {number}"] = space.program(space.space.from_genes(genes))
    return found


@pytest.mark.parametrize("foreach", [False, True])
def test_it_steps_as_the_interpreter_does(foreach, tmp_path):
    for name, program in programs().items():
        ours, theirs = Interpreter([graph(program)], 1, 40), parameters()
        optimizer = loaded(source(program, 0.01), tmp_path)(theirs, total_steps=10, foreach=foreach)
        ours.weights[..., :40] = torch.linspace(-2, 2, 40)
        ours.rates.fill_(0.01)
        for step in range(1, 11):
            before = ours.weights[0, 0, :40].clone()
            with torch.no_grad():
                for each, span in zip(theirs, SPANS, strict=True):
                    each.copy_(before[span].view(each.shape))
                    each.grad = pull(each.detach(), step)
            optimizer.step()
            ours.gradient[..., :40] = pull(before, step)
            ours.step(step, 10)
            found = torch.cat([each.detach().flatten() for each in theirs])
            close = torch.isclose(found, ours.weights[0, 0, :40], atol=1e-6, rtol=1e-5, equal_nan=True)
            assert close.all(), f"{name} at step {step}"


@pytest.mark.parametrize("name", ["linear", "cosine", "restart"])
def test_decays_stay_at_their_end_behind_the_last_step(name, tmp_path):
    rule = statements([["update", "mul", ["g", name]]])
    weight, ours = torch.zeros(1, requires_grad=True), Interpreter([graph(rule)], 1, 1)
    optimizer = loaded(source(rule, 1.0), tmp_path)([weight], total_steps=5)
    found = []
    for step in range(1, 12):
        weight.grad, before = torch.ones(1), weight.detach().clone()
        optimizer.step()
        ours.gradient.fill_(1.0)
        found.append(float(ours.updates(step, 5)[0, 0, 0]))
        assert float(before - weight.detach()) == pytest.approx(found[-1], abs=1e-6)
    assert min(found) >= 0 and (name == "restart" or found[5:] == [0.0] * 6)


@pytest.fixture(scope="module")
def adamw(tmp_path_factory):
    return loaded(source(REFERENCES["adamw"], 0.01), tmp_path_factory.mktemp("adamw"))


def run(optimizer, weights, steps, first=1):
    for step in range(first, first + steps):
        for each in weights:
            each.grad = pull(each.detach(), step)
        optimizer.step()


def test_its_state_goes_through_a_file_and_back(adamw, tmp_path):
    one, two = parameters(), parameters()
    run(straight := adamw(one), one, 8)
    run(half := adamw(two), two, 4)
    torch.save(half.state_dict(), tmp_path / "state.pt")
    resumed = adamw(two)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    run(resumed, two, 4, first=5)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert straight.state_dict()["param_groups"][0]["t"] == 8


@pytest.mark.parametrize("again", ["state", "copy", "pickle"])
def test_drawn_numbers_go_on_where_they_were(again, tmp_path, monkeypatch):
    rule = statements([["m1", "interp", ["m1", "g", 0.1]], ["x1", "drop", ["m1", 0.5]], ["x2", "noise", [0.01]],
                       ["update", "add", ["x1", "x2"]]])  # fmt: skip
    made = loaded(source(rule, 0.1), tmp_path)
    one, two = parameters(), parameters()
    run(made(one, seed=3), one, 8)
    run(half := made(two, seed=3), two, 4)
    if again == "state":
        torch.save(half.state_dict(), tmp_path / "state.pt")
        resumed = made(two)
        resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    else:
        monkeypatch.setitem(sys.modules, "exported", SimpleNamespace(FoundRule=made))
        resumed = copy.deepcopy(half) if again == "copy" else pickle.loads(pickle.dumps(half))  # noqa: S301
        two = resumed.param_groups[0]["params"]
        run(half, half.param_groups[0]["params"], 1)  # the copy draws for itself
    run(resumed, two, 4, first=5)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("foreach", [False, True])
def test_norms_and_products_are_over_the_parameters_of_all_groups(foreach, tmp_path):
    rule = statements([
        ["m1", "interp", ["m1", "g", 0.5]], ["s1", "norm", ["m1"]], ["s2", "dot", ["g", "w"]],
        ["s2", "mul", ["s1", "s2"]], ["s1", "cosine", ["m1", "w"]], ["s2", "add", ["s1", "s2"]],
        ["update", "mul", ["m1", "s2"]],
    ])  # fmt: skip
    ours = Interpreter([graph(rule)], 1, 2)
    theirs = [torch.full((1,), value, requires_grad=True) for value in (3.0, 4.0)]
    groups = [{"params": [each]} for each in theirs]
    optimizer = loaded(source(rule, 0.01), tmp_path)(groups, foreach=foreach)
    ours.weights[..., :2] = torch.tensor([3.0, 4.0])
    ours.rates.fill_(0.01)
    for step in range(1, 6):
        run(optimizer, theirs, 1, step)
        ours.gradient[..., :2] = pull(ours.weights[..., :2], step)
        ours.step(step, 10)
        torch.testing.assert_close(torch.cat(theirs).detach(), ours.weights[0, 0, :2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("foreach", [False, True])
def test_a_parameter_whose_gradient_comes_late_steps_as_with_adam_of_torch(foreach, tmp_path):
    ours, theirs = parameters(), parameters()
    optimizer = loaded(source(REFERENCES["adam"], 0.03), tmp_path)(ours, foreach=foreach)
    adam = torch.optim.Adam(theirs, 0.03)
    for step in range(1, 9):
        run(optimizer, ours[: 1 if step < 5 else 2], 1, step)
        run(adam, theirs[: 1 if step < 5 else 2], 1, step)
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_groups_closure_schedule_decay_and_parameters_without_gradient(adamw):
    kept, fixed, idle = (torch.ones(3, requires_grad=True) for _ in range(3))
    optimizer = adamw([{"params": [kept, idle]}, {"params": [fixed], "lr": 0.0}], lr=0.1, weight_decay=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)

    def closure():
        optimizer.zero_grad()
        loss = (kept**2).sum() + (fixed**2).sum()
        loss.backward()
        return loss.detach()

    assert float(optimizer.step(closure)) == 6.0
    schedule.step()
    assert torch.equal(fixed, torch.ones(3)) and torch.equal(idle, torch.ones(3)) and idle not in optimizer.state
    expected = (1 - 0.1 * 0.5) - 0.1 * (1 + 0.01)  # Adam's first step is one; a hundredth of the weights beside
    torch.testing.assert_close(kept.detach(), torch.full((3,), expected))
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.0]
    for bad in ({"total_steps": 0}, {"lr": math.nan}, {"weight_decay": -1.0}, {"weight_decay": math.nan}):
        with pytest.raises(ValueError, match="total_steps from 1"):
            adamw([kept], **bad)


def test_drawn_numbers_follow_the_seed_and_their_distribution(tmp_path):
    rule = statements([["x1", "drop", ["g", 0.3]], ["x2", "noise", [0.01]], ["update", "add", ["x1", "x2"]]])
    made = loaded(source(rule, 1.0), tmp_path)
    found = []
    for seed in (0, 0, 1):
        weight = torch.zeros(20_000, requires_grad=True)
        weight.grad = torch.ones_like(weight)
        made([weight], seed=seed).step()
        found.append(-weight.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    dropped = found[0][found[0] < 0.5]
    assert len(dropped) / 20_000 == pytest.approx(0.3, abs=0.02) and float(dropped.std()) == pytest.approx(
        0.01, rel=0.1
    )


@pytest.mark.slow
def test_it_loads_without_this_package(tmp_path):
    write(REFERENCES["lion"], tmp_path, 0.01)
    assert {file.name for file in tmp_path.iterdir()} == {"optimizer.py", "formula.tex", "formula.txt", "rule.json"}
    tree = ast.parse((tmp_path / "optimizer.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"torch"}
    code = (
        "import sys, torch, optimizer; w = torch.ones(2, requires_grad=True); o = optimizer.FoundRule([w]); "
        "w.sum().backward(); o.step(); print(w.tolist(), 'automl_ext' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[0.9890000224113464, 0.9890000224113464] False"
