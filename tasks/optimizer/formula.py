"""A rule as formulas: lines of LaTeX, and the same in plain text.

Statements without effect are left out. A result that is needed once stands in the formula that needs it, unless what
it is made of changes in between.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from automl_ext.tasks.optimizer.graph import Argument, Program, Statement, effective, is_memory
from automl_ext.tasks.optimizer.operations import OPERATIONS

Style = Literal["latex", "text"]
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_ABSOLUTE = {"power": "(|{0}| ^ {1})", "log": "log(|{0}|)", "log1p": "log(|1 + {0}|)", "sqrt": "sqrt(|{0}|)"}
"""Text of what is taken of an absolute value."""
_SIGNS: Mapping[Style, Mapping[str, str]] = {
    "latex": {
        "rate": r"\eta", "step": "t", "linear": r"(1 - t/T)", "cosine": r"\tfrac12(1 + \cos(\pi t/T))",
        "restart": r"\mathrm{rd}_{20}", "bias1": "(1 - 0.9^t)", "bias2": "(1 - 0.999^t)", "update": "u",
    },
    "text": {"step": "t", "linear": "(1 - t/T)", "cosine": "(1 + cos(pi t/T))/2", "restart": "rd20",
             "bias1": "(1 - 0.9^t)", "bias2": "(1 - 0.999^t)"},
}  # fmt: skip
LEGEND = "g: gradient, w: weights, m: memory (0 at the start), t: step of T; w <- w - rate * update"


def lines(program: Program, style: Style) -> list[str]:
    """One formula a line: new memory, then `update`."""
    kept = [_Line(line.to, line) for line in _distinct(effective(program))]
    shown: list[str] = []
    texts: dict[str, str] = {}
    for place, line in enumerate(kept):
        text = _expression(line.statement, texts, style)
        name = line.to
        if not is_memory(name) and name != "update" and _once(name, place, kept):
            texts[name] = text
            continue
        arrow = r" \leftarrow " if style == "latex" else " = "
        shown.append(f"{_sign(name, style)}{arrow}{_bare(text)}")
    return shown


def latex(program: Program) -> str:
    """An `aligned` environment."""
    rows = [line.replace(r" \leftarrow ", r" &\leftarrow ") for line in lines(program, "latex")]
    rows.append(r"w &\leftarrow w - \eta \, u")
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}\n"


class _Line:
    def __init__(self, to: str, statement: Statement) -> None:
        self.to, self.statement = to, statement


def _distinct(program: Program) -> list[Statement]:
    """The program with a new name for every result that is neither memory nor the update that is left."""
    names: dict[str, str] = {}
    made: list[Statement] = []
    last = max((place for place, line in enumerate(program) if line.to == "update"), default=-1)
    for place, line in enumerate(program):
        arguments = tuple(names.get(each, each) if isinstance(each, str) else each for each in line.arguments)
        to = line.to
        if not is_memory(to) and place != last:
            to = f"{'s' if to[0] == 's' else 'x'}{sum(not is_memory(other.to) for other in made) + 1}"
        names[line.to] = to
        made.append(Statement(to, line.operation, arguments))
    return made


def _once(name: str, place: int, kept: Sequence[_Line]) -> bool:
    """Whether one later line uses it, once, and nothing that it is made of is set on the way there."""
    users = [later for later in range(place + 1, len(kept)) if name in kept[later].statement.arguments]
    if len(users) != 1 or kept[users[0]].statement.arguments.count(name) != 1:
        return False
    return not any(is_memory(line.to) for line in kept[place + 1 : users[0]])


def _expression(line: Statement, texts: Mapping[str, str], style: Style) -> str:
    values = [
        texts.get(each, _sign(each, style)) if isinstance(each, str) else _number(each, style)
        for each in line.arguments
    ]
    if line.operation == "mul" and 1.0 in line.arguments:
        return values[1 - line.arguments.index(1.0)]
    if style == "latex":
        return OPERATIONS[line.operation].latex.format(*values)
    if line.operation == "interp" and not isinstance(line.arguments[2], str):
        return f"({_number(1 - line.arguments[2])} * {values[0]} + {values[2]} * {values[1]})"
    if line.operation in _ABSOLUTE:
        return _ABSOLUTE[line.operation].format(_bare(values[0]), *values[1:])
    if line.operation in _INFIX:
        return f"({values[0]} {_INFIX[line.operation]} {values[1]})"
    return f"{line.operation}({', '.join(_bare(value) for value in values)})"


def _sign(name: Argument, style: Style) -> str:
    name = str(name)
    known = _SIGNS[style].get(name)
    if known is not None:
        return known
    numbered = re.fullmatch(r"([a-z])(\d+)", name)
    return f"{numbered[1]}_{{{numbered[2]}}}" if numbered and style == "latex" else name


def _number(value: float, style: Style = "text") -> str:
    text = f"{value:.5g}"
    if style == "text" or "e" not in text:
        return text
    share, exponent = text.split("e")
    return (f"{share} \\cdot " if share != "1" else "") + f"10^{{{int(exponent)}}}"


def _bare(text: str) -> str:
    """Without parentheses around the whole."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and place < len(text) - 1:
            return text
    return text[1:-1]
