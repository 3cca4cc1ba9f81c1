"""Networks of several inputs, made of the images by a function of the user's: pruned and exported with their names."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from automl_ext.tasks.pruning.env import PruningEnv
from automl_ext.tasks.pruning.evaluate import slim
from automl_ext.tasks.pruning.inputs import fed
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.weight_env import WeightPruningEnv
from safetensors.torch import load_file, save_file

from automl_ext.data import normalise
from automl_ext.env import Job, never_stop
from automl_ext.training import lent_seed

_USERS = """
import torch
from torch import nn
class Pair(nn.Module):
    "Two inputs at two sizes, concatenated as in a DenseNet."
    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(1, 6, 3, 2, 1, bias=False)
        self.coarse = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU())
        self.norm = nn.BatchNorm2d(10)
        self.grow = nn.Conv2d(10, 5, 3, 1, 1, bias=False)
        self.last = nn.Conv2d(15, 8, 1)
        self.linear = nn.Linear(8, 10)
        self.scale = nn.Parameter(torch.ones(1))
    def forward(self, image, small):
        x = torch.cat([self.fine(image), self.coarse(small) * self.scale], 1)
        x = torch.cat([x, self.grow(torch.relu(self.norm(x)))], 1)
        x = nn.functional.dropout(torch.relu(self.last(x)), 0.5, self.training)
        return self.linear(x.mean((2, 3)))
class Named(Pair):
    def forward(self, *, small, image, double=False):
        return super().forward(image * 2 if double else image, small)
def pair():
    return Pair()
def named():
    return Named()
def both(images):
    return images, nn.functional.avg_pool2d(images, 2)
def by_name(images):
    return {"image": images, "small": nn.functional.avg_pool2d(images, 2), "double": True}
def twice(images):
    return images * 2
def text(images):
    return "images"
def failing(images):
    raise RuntimeError("no such\\ncolour")
def numbered(images):
    return {0: images}
def fixed(images):
    return torch.zeros(1, 1, 8, 8)
three = 3
"""


@pytest.fixture
def users(tmp_path, monkeypatch):
    (tmp_path / "users_inputs.py").write_text(_USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    importlib.sys.modules.pop("users_inputs", None)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "inputs"), [("pair", "both"), ("named", "by_name")])
def test_a_network_of_two_inputs_is_pruned_and_exported(users, tmp_path, name, inputs, with_programs):
    with lent_seed(1):
        dense = getattr(importlib.import_module("users_inputs"), name)().eval()
    weights = tmp_path / "w.safetensors"
    save_file(dense.state_dict(), weights)
    options = {"calibration_images": 20, "reward_images": 20, "importance": "reconstruction"}
    env = PruningEnv(f"users_inputs:{name}", str(weights), inputs=f"users_inputs:{inputs}", **options)
    assert [slot.path for slot in env.space.slots] == ["fine", "coarse.0", "grow", "last"]
    assert env.plan.group("fine").readers == ("grow", "last") and set(env.plan.skipped) == {"linear"}
    shared, best, trial = (tmp_path / folder for folder in ("shared", "best", "trial"))
    for folder in (shared, best, trial):
        folder.mkdir()
    env.prepare(shared)
    counts = {"fine": 3, "coarse.0": 2, "grow": 1, "last": 5}
    job = Job(0, counts, shared=str(shared), folder=str(trial))
    assert env.evaluate(job, never_stop)["macs_kept"] < 0.5
    stored = load_file(trial / "weights.safetensors").keys()
    assert stored == dense.state_dict().keys() | {"grow.bias"}  # the bias comes from reconstruction
    env.export(Job(0, counts, shared=str(shared), parent=str(trial)), best)
    images = normalise(env.data.val.image[:8], env.data.mean, env.data.std)
    whole = getattr(importlib.import_module("users_inputs"), inputs)(images)
    found = importlib.util.spec_from_file_location("exported_model", best / "model.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    with torch.no_grad():
        wanted = slim(env._prepared(job), counts, env.recovery)(images)
        given = dense(*whole) if isinstance(whole, tuple) else dense(**whole)
        assert torch.equal(env._prepared(job).network(images), given) and not torch.allclose(wanted, given, atol=1e-2)
        assert torch.allclose(module.load()(images), wanted, atol=1e-5)
        program = torch.export.load(best / "model.pt2").module()
        assert torch.allclose(program(images), wanted, atol=1e-5)
    assert list(json.loads((best / "recipe.json").read_text())["groups"]) == list(counts)


@pytest.mark.slow
def test_single_weights_of_a_network_of_two_inputs_are_pruned(users, tmp_path):
    env = WeightPruningEnv("users_inputs:pair", inputs="users_inputs:both", epochs=1, reward_images=20)
    assert [slot.path for slot in env.space.slots] == ["fine", "coarse.0", "grow", "last", "linear"]
    env.prepare(tmp_path)
    metrics = env.evaluate(Job(0, dict(env.references["uniform"]), shared=str(tmp_path)), never_stop)
    assert 0.45 < metrics["weights_kept"] <= 0.5 and 0 <= metrics["accuracy"] <= 1
    assert len(WeightPruningEnv(width=0.5).parts) == 11


def test_a_fed_network_keeps_its_names_mode_and_copies(users):
    module = importlib.import_module("users_inputs")
    network, images = module.pair(), torch.randn((2, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    before = [name for name, _ in network.named_modules()], list(network.state_dict())
    assert fed(network, None) is network and type(network) is module.Pair
    assert fed(network, "users_inputs:both") is network and isinstance(network, module.Pair)
    assert ([name for name, _ in network.named_modules()], list(network.state_dict())) == before
    twin = importlib.import_module("copy").deepcopy(network).eval()
    with torch.no_grad():
        twin.linear.bias += 1
        assert torch.allclose(twin(images), network.eval()(images) + 1, atol=1e-5)
        first = network.train()(images)
        assert not torch.equal(first, network(images))  # dropout follows the mode


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("both", r"inputs 'both' must be package.module:function"),
        ("users_inputs:none", "inputs 'users_inputs:none' cannot be imported: module 'users_inputs' has no"),
        ("users_none:both", "inputs 'users_none:both' cannot be imported: No module named 'users_none'"),
        ("users_inputs:three", "inputs 'users_inputs:three' is a int, not a function"),
        ("users_inputs:failing", r"inputs 'users_inputs:failing' fails on images \(1, 1, 8, 8\): no such$"),
        ("users_inputs:text", "inputs 'users_inputs:text' gave a str, not a tensor, a tuple or a dict"),
        ("users_inputs:numbered", r"gave a dict whose keys are not all names of arguments: \[0\]"),
        (
            "users_inputs:twice",
            "does not run on an image of 'digits' that inputs 'users_inputs:twice' prep.*small",
        ),
        ("users_inputs:by_name", "does not run on an image of 'digits' that .* 'double'"),
        (None, "does not run on an image of 'digits': .*'small'"),
    ],
)
def test_inputs_that_do_not_fit_are_one_line(users, inputs, message):
    with pytest.raises(PruningError, match=message) as caught:
        PruningEnv("users_inputs:pair", inputs=inputs)
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_follow_the_number_of_images_are_refused(users):
    with pytest.raises(PruningError, match=r"gives \(1, 10\) for two images, 'digits' needs \(2, 10\)"):
        PruningEnv("small", inputs="users_inputs:fixed")
