"""Distillation: the loss by hand, a teacher that stays as it is, and an evaluation with one."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.teacher import Taught, load_teacher, make_teacher, taught_loss
from torch import nn

from automl_ext.env import Job, never_stop
from automl_ext.training import Recipe, train


def test_the_loss_by_hand():
    """Hinton et al.: cross-entropies with softened targets, their gradients scaled by the temperature squared"""
    student, teacher = [2.0, 0.0, -1.0], [4.0, -4.0, 0.0]

    def softened(logits, by):
        powers = [math.exp(value / by) for value in logits]
        return [power / sum(powers) for power in powers]

    own, wanted = softened(student, 4), softened(teacher, 4)
    follow = sum(w * (math.log(w) - math.log(o)) for w, o in zip(wanted, own, strict=True))
    hand = 0.1 * -math.log(softened(student, 1)[2]) + 0.9 * 16 * follow
    assert float(taught_loss(torch.tensor([student + teacher]), torch.tensor([2]))) == pytest.approx(hand, rel=1e-5)


def test_whoever_agrees_with_the_teacher_is_left_with_the_labels():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1])
    alone = nn.functional.cross_entropy(logits, labels)
    assert float(taught_loss(torch.cat((logits, logits), 1), labels)) == pytest.approx(0.1 * float(alone), rel=1e-5)


def test_the_teacher_stays_as_it_is(env):
    student, teacher = env._dense(), env._dense()
    before = [value.clone() for value in teacher.state_dict().values()]
    pair = Taught(student, teacher)
    some = env.data.train[:128]
    train(pair, some, env.data, Recipe(epochs=1), seed=0, device=torch.device("cpu"), loss=taught_loss)
    assert all(torch.equal(was, now) for was, now in zip(before, teacher.state_dict().values(), strict=True))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert any(not torch.equal(was, now) for was, now in zip(before, student.state_dict().values(), strict=True))
    pair.eval()
    assert pair(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.slow
def test_an_evaluation_follows_the_tuned_dense_network(env, folder, tmp_path):
    taught = PruningEnv(epochs=3, calibration_images=100, teacher_epochs=1)
    network = copy.deepcopy(env._prepared(Job(0, {}, shared=str(folder))).network)
    make_teacher(network, taught.data, taught.tuning, 1, 0, taught.device, tmp_path)
    again = load_teacher(taught._dense(), taught.device, tmp_path)
    stored = again.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    job = Job(0, dict(env.references["uniform"]), budget=1, shared=str(tmp_path))
    with_teacher, once_more = (taught.evaluate(job, never_stop) for _ in range(2))
    without = env.evaluate(job, never_stop)
    assert with_teacher["accuracy"] == once_more["accuracy"] > 0.5
    assert with_teacher["accuracy_untuned"] == without["accuracy_untuned"]
