"""A rule as `optimizer.py`: a torch.optim.Optimizer in plain source that needs torch alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from automl_ext.tasks.optimizer.formula import LEGEND, latex, lines
from automl_ext.tasks.optimizer.graph import Argument, Program, Statement, effective, is_memory, to_json
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
    "linear": 'max(0.0, 1 - (group["t"] - 1) / group["total_steps"])',
    "cosine": '0.5 * (1 + math.cos(math.pi * min(1.0, (group["t"] - 1) / group["total_steps"])))',
    "restart": '0.5 * (1 + math.cos(math.pi * (20 * (group["t"] - 1) % group["total_steps"]) / group["total_steps"]))',
    "bias1": "1 - 0.9**t",
    "bias2": "1 - 0.999**t",
}
_COUNTED = {"step", "bias1", "bias2"}
"""They follow a parameter's own gradients; decays follow the steps of its group."""
_HELPERS = {
    "_clip": (
        "def _clip(x, limit):\n    x, limit = torch.as_tensor(x), torch.as_tensor(limit)\n"
        "    return torch.maximum(torch.minimum(x, limit), -limit)\n"
    ),
    "_larger": "def _larger(x, y):\n    return torch.maximum(torch.as_tensor(x), torch.as_tensor(y))\n",
    "_smaller": "def _smaller(x, y):\n    return torch.minimum(torch.as_tensor(x), torch.as_tensor(y))\n",
    "_dot": "def _dot(x, y):\n    return sum((one * two).sum() for one, two in zip(x, y))\n",
}  # fmt: skip
_SIDE_BY_SIDE = '''def _side_by_side(works):
    """The results of generators. What each yields is its share of a sum, and all get the whole."""
    found, sums = [], [None] * len(works)
    while len(found) < len(works):
        shares = []
        for work, whole in zip(works, sums):
            try:
                shares.append(work.send(whole))
            except StopIteration as end:
                found.append(end.value)
        whole = sum(share.to(shares[0].device) for share in shares)
        sums = [whole.to(share.device) for share in shares]
    return found
'''

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
    A power of t counts the gradients that a parameter had, t/T the steps of its group. Norms are over all parameters.
    """

    def __init__(self, params, lr={rate:g}, weight_decay={decay:g}, total_steps=1000, foreach=None, seed=0):
        if not (lr >= 0 and weight_decay >= 0 and total_steps >= 1):
            got = f"{{lr}}, {{weight_decay}}, {{total_steps}}"
            raise ValueError(f"lr and weight_decay from 0, total_steps from 1, not {{got}}")
{seeded}        defaults = dict(lr=lr, weight_decay=weight_decay, total_steps=total_steps, foreach=foreach, t=0)
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """One step. closure: computes the loss anew, with gradients, and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parts = self._parts()
        found = {gather}[self._update(*part) for part in parts]{close}
        for (group, _, params), (updates, memory) in zip(parts, found):
            for name, values in memory.items():
                for p, value in zip(params, values):
                    self.state[p][name] = value
            for p, update in zip(params, updates):
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
        return loss

    def _parts(self):
        """(group, t, parameters) of those that have a gradient now; their state is made, their steps are counted."""
        parts = []
        groups = [(group, [p for p in group["params"] if p.grad is not None]) for group in self.param_groups]
        if any(p.grad.is_sparse or p.is_complex() for _, params in groups for p in params):
            raise RuntimeError("FoundRule takes dense, real gradients")
        for group, params in groups:
            group["t"] += bool(params)
            alike = {{}}
            for p in params:
{state}                alike.setdefault({key}, []).append(p)
            parts += [(group, t, some) for t, some in alike.items()]
        return parts

    def _update(self, group, t, params):
        """The updates, and name -> new values of the memory."""
        foreach = group["foreach"]
        foreach = params[0].is_cuda if foreach is None else foreach
        return (self._together if foreach else self._apart)(group, t, params)

    def _apart(self, group, t, params):
{apart}

    def _together(self, group, t, params):
{together}
{random}'''
_STATE = """\
                if not self.state[p]:
                    self.state[p].update({})
"""
_COUNT = """\
                self.state[p]["t"] += 1
"""
_RANDOM = """
    def _generator(self, device):
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]

    def _uniform(self, like):
        return torch.rand(like.shape, device=like.device, dtype=like.dtype, generator=self._generator(like.device))

    def _normal(self, like):
        return torch.randn(like.shape, device=like.device, dtype=like.dtype, generator=self._generator(like.device))

    def state_dict(self):
        return {**super().state_dict(), **self._drawn()}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self._go_on(state_dict)

    def __getstate__(self):
        return {**super().__getstate__(), **self._drawn()}

    def __setstate__(self, state):
        super().__setstate__({name: value for name, value in state.items() if name not in ("seed", "generators")})
        self._go_on(state)

    def _drawn(self):
        states = {str(device): generator.get_state() for device, generator in self._generators.items()}
        return {"seed": self._seed, "generators": states}

    def _go_on(self, state):
        if "generators" in state:
            self._seed, self._generators = state["seed"], {}
            for name, value in state["generators"].items():
                self._generator(torch.device(name)).set_state(value.cpu())
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
    used = [OPERATIONS[line.operation] for line in kept]
    helpers = [text for name, text in _HELPERS.items() if any(f"{name}(" in each.source for each in used)]
    summed, random = any(each.reduces for each in used), any(each.random for each in used)
    counted = bool(read & _COUNTED)
    fresh = [*(["t=0"] if counted else []), *(f"{name}=torch.zeros_like(p)" for name in names)]
    return _TEMPLATE.format(
        formula="\n".join("    " + line for line in lines(program, "text")),
        legend=LEGEND,
        helpers="".join(f"\n{text}\n" for text in [*helpers, *([_SIDE_BY_SIDE] if summed else [])]),
        rate=rate,
        decay=decay,
        seeded="        self._seed, self._generators = seed, {}\n" if random else "",
        gather="_side_by_side(" if summed else "",
        close=")" if summed else "",
        state=(_STATE.format(", ".join(fresh)) if fresh else "") + (_COUNT if counted else ""),
        key='self.state[p]["t"]' if counted else 'group["t"]',
        apart=_body(kept, names, together=False),
        together=_body(kept, names, together=True),
        random=_RANDOM if random else "",
        math="import math\n\n" if read & {"cosine", "restart"} else "",
    )


def _body(kept: Program, names: Sequence[str], together: bool) -> str:
    read = {name for line in kept for name in line.arguments if isinstance(name, str)}
    rows = [f"{name} = {_SCALARS[name]}" for name in _SCALARS if name in read]
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
