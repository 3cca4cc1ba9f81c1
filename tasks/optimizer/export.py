"""A rule as `optimizer.py`: a torch.optim.Optimizer in plain source that needs torch alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from automl_ext.tasks.optimizer.formula import LEGEND, latex, lines
from automl_ext.tasks.optimizer.graph import SCALARS, Argument, Program, Statement, effective, is_memory, to_json
from automl_ext.tasks.optimizer.operations import OPERATIONS

_FOREACH = {
    "negative": "torch._foreach_neg({0})", "abs": "torch._foreach_abs({0})", "sign": "torch._foreach_sign({0})",
    "square": "torch._foreach_mul({0}, {0})", "cube": "torch._foreach_pow({0}, 3)",
    "sqrt": "torch._foreach_sqrt(torch._foreach_abs({0}))", "exp": "torch._foreach_exp({0})",
    "expm1": "torch._foreach_expm1({0})", "log": "torch._foreach_log(torch._foreach_abs({0}))",
    "reciprocal": "torch._foreach_reciprocal({0})", "sin": "torch._foreach_sin({0})", "cos": "torch._foreach_cos({0})",
    "tanh": "torch._foreach_tanh({0})", "add": "torch._foreach_add({0}, {1})", "sub": "torch._foreach_sub({0}, {1})",
    "mul": "torch._foreach_mul({0}, {1})", "div": "torch._foreach_div({0}, {1})",
    "max": "torch._foreach_maximum({0}, {1})", "min": "torch._foreach_minimum({0}, {1})",
    "interp": "torch._foreach_lerp({0}, {1}, {2})",
}  # fmt: skip
"""Operation -> source on lists of tensors; the first value has to be one, the others lists or plain numbers."""

_SCALARS = {
    "rate": 'group["lr"]',
    "step": "t",
    "linear": 'max(0.0, 1 - (t - 1) / group["total_steps"])',
    "cosine": '0.5 * (1 + math.cos(math.pi * min(1.0, (t - 1) / group["total_steps"])))',
    "restart": '0.5 * (1 + math.cos(math.pi * (20 * (t - 1) % group["total_steps"]) / group["total_steps"]))',
    "bias1": "1 - 0.9**t",
    "bias2": "1 - 0.999**t",
}
_HELPERS = {
    "_clip": (
        "def _clip(x, limit):\n    x, limit = torch.as_tensor(x), torch.as_tensor(limit)\n"
        "    return torch.maximum(torch.minimum(x, limit), -limit)\n"
    ),
    "_larger": "def _larger(x, y):\n    return torch.maximum(torch.as_tensor(x), torch.as_tensor(y))\n",
    "_smaller": "def _smaller(x, y):\n    return torch.minimum(torch.as_tensor(x), torch.as_tensor(y))\n",
    "_dot": "def _dot(x, y):\n    return sum((one * two).sum() for one, two in zip(x, y))\n",
    "_cosine": (
        "def _cosine(x, y):\n    return _dot(x, y) / (_dot(x, x) ** 0.5 * _dot(y, y) ** 0.5 + 1e-8)\n"
    ),
}  # fmt: skip

_TEMPLATE = '''"""A found update rule, as an optimizer of torch. It needs torch alone.

{formula}

{legend}
"""

{math}import torch

{helpers}
class FoundRule(torch.optim.Optimizer):
    """lr: {rate:g} was best on the tasks of the search. weight_decay: decoupled, as AdamW's.

    total_steps: how long the training is, for rules with a schedule of their own. foreach: one call for all tensors
    where torch has it; by default on a GPU. seed: of rules that draw numbers.
    """

    def __init__(self, params, lr={rate:g}, weight_decay={decay:g}, total_steps=1000, foreach=None, seed=0):
        if lr < 0 or weight_decay < 0 or total_steps < 1:
            got = f"{{lr}}, {{weight_decay}}, {{total_steps}}"
            raise ValueError(f"lr and weight_decay from 0, total_steps from 1, not {{got}}")
        self._seed, self._generators = seed, {{}}
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, total_steps=total_steps, foreach=foreach, t=0))

    @torch.no_grad()
    def step(self, closure=None):
        """One step. closure: computes the loss anew, with gradients, and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            if any(p.grad.is_sparse or p.is_complex() for p in params):
                raise RuntimeError("FoundRule takes dense, real gradients")
            group["t"] += 1
            for p in params:
                if len(self.state[p]) < {slots}:
                    self.state[p].update({{name: torch.zeros_like(p) for name in {names}}})
            foreach = group["foreach"]
            foreach = params[0].is_cuda if foreach is None else foreach
            updates, memory = (self._together if foreach else self._apart)(params, group)
            for name, values in memory.items():
                for p, value in zip(params, values):
                    self.state[p][name] = value
            for p, update in zip(params, updates):
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
        return loss

    def _apart(self, params, group):
{apart}

    def _together(self, params, group):
{together}
{random}'''
_RANDOM = """
    def _generator(self, device):
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]

    def _uniform(self, like):
        return torch.rand(like.shape, device=like.device, dtype=like.dtype, generator=self._generator(like.device))

    def _normal(self, like):
        return torch.randn(like.shape, device=like.device, dtype=like.dtype, generator=self._generator(like.device))
"""


def write(program: Program, folder: Path, rate: float, decay: float = 0.0) -> None:
    """`optimizer.py`, `formula.tex`, `formula.txt` and `rule.json`, the program as data."""
    texts = lines(program, "text")
    (folder / "optimizer.py").write_text(source(program, rate, decay), encoding="utf-8")
    (folder / "formula.tex").write_text(latex(program), encoding="utf-8")
    (folder / "formula.txt").write_text("\n".join([*texts, LEGEND, f"rate: {rate:g}"]) + "\n", encoding="utf-8")
    facts = {"rate": rate, "weight_decay": decay, "program": to_json(effective(program))}
    (folder / "rule.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def source(program: Program, rate: float, decay: float = 0.0) -> str:
    """The text of `optimizer.py`."""
    kept = effective(program)
    names = sorted({str(name) for line in kept for name in (line.to, *line.arguments) if is_memory(name)})
    read = {name for line in kept for name in line.arguments}
    used = [OPERATIONS[line.operation].source for line in kept]
    wanted = {name for name in _HELPERS if any(f"{name}(" in text for text in used)}
    helpers = [text for name, text in _HELPERS.items() if name in wanted | ({"_dot"} if "_cosine" in wanted else set())]
    return _TEMPLATE.format(
        formula="\n".join("    " + line for line in lines(program, "text")),
        legend=LEGEND,
        helpers="\n" + "\n\n".join(helpers) + "\n" if helpers else "",
        rate=rate,
        decay=decay,
        slots=len(names),
        names=tuple(names),
        apart=_body(kept, names, together=False),
        together=_body(kept, names, together=True),
        random=_RANDOM if any(OPERATIONS[line.operation].random for line in kept) else "",
        math="import math\n\n" if read & {"cosine", "restart"} else "",
    )


def _body(kept: Program, names: Sequence[str], together: bool) -> str:
    read = {name for line in kept for name in line.arguments if isinstance(name, str)}
    rows = ['t = group["t"]'] if read & {*SCALARS} else []
    rows += [f"{name} = {_SCALARS[name]}" for name in _SCALARS if name in read]
    rows.append("g = [p.grad for p in params]")
    rows += ["w = list(params)"] if "w" in read else []
    rows += [f'{name} = [self.state[p]["{name}"] for p in params]' for name in names]
    rows += [_row(line, together) for line in kept]
    rows.append(f"return update, {{{', '.join(f'{name!r}: {name}' for name in names)}}}")
    return "\n".join(" " * 8 + row for row in rows)


def _row(line: Statement, together: bool) -> str:
    """One statement on lists of tensors, or on scalars."""
    operation = OPERATIONS[line.operation]
    lists = [name for name in dict.fromkeys(line.arguments) if isinstance(name, str) and not _scalar(name)]
    if operation.reduces:
        return f"{line.to} = {operation.source.format(*line.arguments)}"
    if not lists and not operation.random:
        return (
            f"{line.to} = {operation.source.format(*(f'torch.as_tensor({_value(each)})' for each in line.arguments))}"
        )
    plain = all(not isinstance(each, str) or each[0] != "s" or each == "step" for each in line.arguments)
    template = _FOREACH.get(line.operation)
    if together and template and plain and line.arguments[0] in lists and _fits(line, lists):
        return f"{line.to} = {template.format(*map(_value, line.arguments))}"
    looped = list(dict.fromkeys([*lists, *(["g"] if operation.random else [])]))
    expression = operation.source.format(
        *(f"({_value(each)})" if _scalar(each) else str(each) for each in line.arguments)
    )
    heads = (
        f"for {looped[0]} in {looped[0]}"
        if len(looped) == 1
        else f"for {', '.join(looped)} in zip({', '.join(looped)})"
    )
    return f"{line.to} = [{expression} {heads}]"


def _fits(line: Statement, lists: Sequence[Argument]) -> bool:
    """Whether a multi-tensor function takes these arguments: lists, and a number where it takes one."""
    rest = [each in lists for each in line.arguments[1:]]
    return rest == [True, False] if line.operation == "interp" else True


def _scalar(argument: Argument) -> bool:
    return not isinstance(argument, str) or argument in _SCALARS or argument[0] == "s"


def _value(argument: Argument) -> str:
    return argument if isinstance(argument, str) else repr(argument)
