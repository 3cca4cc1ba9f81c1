"""A network as plain Python source: the traced operations, whoever wrote it, and the sizes of its layers."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from torch import fx, nn

from automl_ext.artefact.agreement import ExportError

__all__ = ["Moments", "source"]

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std that inputs are normalised with, a number a channel, in units of [0, 1]."""

_HEAD = '''"""A found network: plain PyTorch, weights in model.safetensors beside this file.

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
            raise ExportError(f"{path}: a constant that is no parameter or buffer cannot be exported")
        empty = f"torch.empty({tuple(value.shape)}, dtype={value.dtype})"
        lines.append(f"self.put({path!r}, {f'nn.Parameter({empty})' if path in parameters else empty})")
    known = {line.split("'")[1] for line in lines}
    for name in network.state_dict():
        if name not in known and name.rpartition(".")[0] not in known:
            raise ExportError(f"{name}: the network's forward pass does not use it as a layer; it cannot be exported")
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
            raise ExportError(f"the network calls {name}, which cannot be written as plain torch source")
    for name, meaning in (("device", "torch.device"), ("inf", 'float("inf")'), ("nan", 'float("nan")')):
        body = re.sub(rf"(?<![\w.]){name}\b(?=[(,)\s])(?!\s*=)", meaning, body)
    body = _thrifty(body)
    return "\n".join(" " * 4 + line if line.strip() else "" for line in body.splitlines()) + "\n"


def _thrifty(body: str) -> str:
    """The method with few names, each taken anew as soon as nothing needs what it held.

    A name of its own for every value would keep all of them until the end: many times the memory, and slower by a
    quarter where values no longer fit into the processor's cache.
    """
    (method,) = (node for node in ast.walk(ast.parse(body)) if isinstance(node, ast.FunctionDef))
    held = {argument.arg: argument.arg for argument in method.args.args[1:]}
    spare = [name for name in (*"xyzuvw", *(f"h{n}" for n in range(len(method.body)))) if name not in held]
    steps: list[ast.stmt] = []
    for statement, over in _ends(method.body):
        for name in (node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id in held):
            name.id = held[name.id]
        spare = [held.pop(name) for name in over if name in held] + spare
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            own = statement.targets[0].id
            statement.targets[0].id = held[own] = spare.pop(0)
            if own in over:
                spare.insert(0, held.pop(own))
        steps.append(statement)
    method.body = steps
    return ast.unparse(method)


def _ends(statements: Sequence[ast.stmt]) -> list[tuple[ast.stmt, list[str]]]:
    """Each statement with the names that are not needed behind it, which fx sets to None there."""
    pairs: list[tuple[ast.stmt, list[str]]] = []
    for statement in statements:
        value = statement.value if isinstance(statement, ast.Assign) else None
        if isinstance(statement, ast.Assign) and isinstance(value, ast.Constant) and value.value is None:
            pairs[-1][1].extend(target.id for target in statement.targets if isinstance(target, ast.Name))
        else:
            pairs.append((statement, []))
    return pairs


def _layer(path: str, layer: nn.Module) -> str:
    """`nn.Conv2d(3, 16, ...)`. ExportError for a layer that is not torch's own, or does not say its arguments."""
    kind = type(layer)
    if getattr(nn, kind.__name__, None) is not kind or list(layer.children()):
        raise ExportError(f"{path}: a layer of type {kind.__qualname__} cannot be written as plain torch source")
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
        raise ExportError(f"{path}: {kind.__name__} does not say its arguments; it cannot be exported") from None
    return text
