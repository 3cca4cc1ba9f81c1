"""A pruned network as files that load without this package, each checked against the searched network when written.

`model.py` and `model.safetensors`: plain source that needs torch and safetensors; it restates the traced operations of
the network, whoever wrote it, with the sizes of the pruned layers. `model.pt2`, `model.onnx`: see program.py.
`recipe.json`: what was kept, what the inputs are, and which of the files were left out and why.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_ext.tasks.pruning.agreement import Pattern, pattern
from automl_ext.tasks.pruning.macs import layer_macs, total_macs
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prepared import Prepared, tensors
from automl_ext.tasks.pruning.program import LEFT_OUT, write_programs
from automl_ext.tasks.pruning.prune import remaining
from safetensors.torch import save_file
from torch import fx, nn

__all__ = ["Moments", "recipe", "source", "write", "write_files"]

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std that inputs are normalised with, a number a channel, in units of [0, 1]."""
SCALE = "normalised before they go in, in all files: (x / 255 - mean) / std"

_HEAD = '''"""A pruned network: plain PyTorch, weights in model.safetensors beside this file.

    from model import load
    network = load()                      # eval mode
    logits = network(images)              # images {shape} float32, normalised: (x / 255 - mean) / std, with
                                          # mean = {mean}, std = {std}
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
{layers}

    def put(self, path, layer):
        *parents, name = path.split(".")
        here = self
        for parent in parents:
            if parent not in here._modules:
                here.add_module(parent, nn.Module())
            here = here._modules[parent]
        if isinstance(layer, nn.Module):
            here.add_module(name, layer)
        elif isinstance(layer, nn.Parameter):
            here.register_parameter(name, layer)
        else:
            here.register_buffer(name, layer)

'''
_TAIL = '''

def load(weights=Path(__file__).with_name("model.safetensors")):
    """The network with its weights, in eval mode."""
    network = Network()
    network.load_state_dict(load_file(weights))
    return network.eval()
'''


def write(
    network: nn.Module,
    prepared: Prepared,
    counts: Mapping[str, int],
    metrics: Mapping[str, float],
    moments: Moments,
    folder: Path,
) -> None:
    """Write the files of `network` (on the CPU), pruned to `counts`. Raises PruningError as `write_files` does."""
    wanted = pattern(network.eval(), prepared, counts)
    write_files(network, wanted, recipe(prepared, counts, metrics), moments, folder)


def write_files(network: nn.Module, wanted: Pattern, facts: Mapping[str, Any], moments: Moments, folder: Path) -> None:
    """Write the files of `network` (eval mode, on the CPU), each compared with `wanted`. facts: for `recipe.json`.

    moments: mean and std that inputs are normalised with. What cannot be written is left out, with the reason in the
    recipe. Raises PruningError, one line, where neither source nor program can be written, and where a file is not
    what was searched; then nothing is written.
    """
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name)
        files = {"model.py": _write_source(network, wanted, moments, draft), **write_programs(network, wanted, draft)}
        if all(text.startswith(LEFT_OUT) for text in files.values()):
            raise PruningError("; ".join(f"{file} {text}" for file, text in files.items()))
        shape = ["n", *wanted.images.shape[1:]]
        inputs = {"shape": shape, "dtype": "float32", "scale": SCALE, "mean": moments[0], "std": moments[1]}
        text = json.dumps({"files": files, "input": inputs, **facts}, indent=1)
        (draft / "recipe.json").write_text(text + "\n", encoding="utf-8")
        for file in draft.iterdir():
            if file.is_file():
                shutil.move(file, folder / file.name)


def _write_source(network: nn.Module, wanted: Pattern, moments: Moments, folder: Path) -> str:
    """Write `model.py` and `model.safetensors`, import the first and compare. What it is, or why it is left out."""
    try:
        text = source(network, tuple(wanted.images.shape[1:]), moments)
    except PruningError as error:
        return f"{LEFT_OUT}{error}"
    stored = tensors(network)
    (folder / "model.py").write_text(text, encoding="utf-8")
    save_file({name: stored[name] for name in sorted(stored)}, folder / "model.safetensors")
    found = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    if found is None or found.loader is None:
        raise PruningError("model.py cannot be imported")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    wanted.check("model.py", module.load())
    return "plain torch source beside model.safetensors: from model import load; network = load()"


def recipe(prepared: Prepared, counts: Mapping[str, int], metrics: Mapping[str, float]) -> dict[str, Any]:
    """What was kept, as JSON: counts by group, and by layer the kept input and output channels and the MACs."""
    plan = prepared.plan
    keep = remaining(prepared.ranking, counts)
    layers = {
        layer.name: {
            "inputs": layer.kept_inputs(keep),
            "outputs": layer.kept_outputs(keep),
            "macs": layer_macs(layer, counts),
            "macs_dense": layer_macs(layer, {}),
        }
        for layer in plan.layers
    }
    groups = {
        group.name: {"kept": counts[group.name], "channels": group.channels, "coupled": list(group.writers)}
        for group in plan.groups
    }
    macs = {"macs": total_macs(plan, counts), "macs_dense": total_macs(plan, {})}
    return {**macs, "metrics": dict(metrics), "groups": groups, "layers": layers, "not_pruned": dict(plan.skipped)}


def source(network: nn.Module, shape: tuple[int, ...], moments: Moments) -> str:
    """Python source of a module that builds `network` (eval mode) and loads its weights. shape: of one image."""
    graph = fx.Tracer().trace(network.eval())
    for node in graph.nodes:
        node.type = None
    modules = dict(network.named_modules())
    lines = []
    for path in dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module"):
        lines.append(f"self.put({path!r}, {_layer(path, modules[path])})")
    parameters = dict(network.named_parameters())
    for path in dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "get_attr"):
        value = parameters.get(path, dict(network.named_buffers()).get(path))
        if value is None:
            raise PruningError(f"{path}: a constant that is no parameter or buffer cannot be exported")
        empty = f"torch.empty({tuple(value.shape)}, dtype={value.dtype})"
        lines.append(f"self.put({path!r}, {f'nn.Parameter({empty})' if path in parameters else empty})")
    known = {line.split("'")[1] for line in lines}
    for name in network.state_dict():
        if name not in known and name.rpartition(".")[0] not in known:
            raise PruningError(f"{name}: the network's forward pass does not use it as a layer; it cannot be exported")
    mean, std = (tuple(round(value, 6) for value in values) for values in moments)
    wide = "(n, " + ", ".join(str(side) for side in shape) + ")"
    head = _HEAD.format(shape=wide, mean=mean, std=std, layers="\n".join(" " * 8 + line for line in lines))
    return head + _forward(graph) + _TAIL


def _forward(graph: fx.Graph) -> str:
    """The traced operations as a method, indented. Only functions of torch and operators may occur in it."""
    code = graph.python_code("self")
    body = code.src.strip()
    plain = {"torch", "inf", "nan", "NoneType", "device", "fx_pytree", "pytree"}
    for name in code.globals.keys() - plain:
        if re.search(rf"\b{re.escape(name)}\b", body):
            raise PruningError(f"the network calls {name}, which cannot be written as plain torch source")
    for name, meaning in (("device", "torch.device"), ("inf", 'float("inf")'), ("nan", 'float("nan")')):
        body = re.sub(rf"(?<![\w.]){name}\b(?=[(,)\s])(?!\s*=)", meaning, body)
    body = re.sub(r";  (\w+ = )+None", "", body)
    return "\n".join(" " * 4 + line if line.strip() else "" for line in body.splitlines()) + "\n"


def _layer(path: str, layer: nn.Module) -> str:
    """`nn.Conv2d(3, 16, ...)`. PruningError for a layer that is not torch's own, or does not say its arguments."""
    kind = type(layer)
    if getattr(nn, kind.__name__, None) is not kind or list(layer.children()):
        raise PruningError(f"{path}: a layer of type {kind.__qualname__} cannot be written as plain torch source")
    arguments = re.sub(r"=([a-z_]+)(?=,|$)", r'="\1"', layer.extra_repr())
    if isinstance(layer, nn.Flatten):
        arguments = f"{layer.start_dim}, {layer.end_dim}"
    if isinstance(layer, nn.ReLU | nn.Identity | nn.Sigmoid | nn.Tanh | nn.SiLU | nn.GELU):
        arguments = ""
    text = f"nn.{kind.__name__}({arguments})"
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError(text)
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            ast.literal_eval(argument)
    except (SyntaxError, ValueError):
        raise PruningError(f"{path}: {kind.__name__} does not say its arguments; it cannot be exported") from None
    return text
