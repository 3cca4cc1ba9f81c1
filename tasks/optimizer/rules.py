"""Rules of a fixed length: an update out of one to three groups of two operands, each under a function, and a function
of both.

Bello, Zoph, Vasudevan, Le: "Neural Optimizer Search with Reinforcement Learning", ICML 2017, arXiv 1709.07417. A group
(left, right, unary, unary, binary) may take the results of earlier groups; the last one's is the update. As there, the
operands of a group differ, a group behind the first takes an earlier result, and the last function is no sum.

Differs from the paper:

1. Noise has the standard deviation 0.01 (the paper's N(0, 0.01) leaves open whether it is the variance).
2. x^y is |x|^y; a negative base has no power 0.5.
3. The RMSProp operand has torch's decay, 0.99.
4. Annealed noise, N(0, 1 / (1 + t)^0.55), is no operand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

from automl_ext.tasks.optimizer.graph import Argument, Program, RuleError, Statement, is_memory
from automl_ext.tasks.optimizer.operations import OPERATIONS

from automl_ext.space import Candidate, Choice, Decision, Space, Value

PARTS = ("left", "right", "left_unary", "right_unary", "binary")


@final
class Writer:
    """Writes statements, a new variable each."""

    def __init__(self) -> None:
        self.lines: list[Statement] = []
        self._known: dict[str, Argument] = {}

    def put(self, operation: str, *arguments: Argument, to: str | None = None) -> str:
        """The variable that holds the result."""
        scalar = not OPERATIONS[operation].random and not any(_tensor(each) for each in arguments)
        name = to or f"{'s' if scalar else 'x'}{len(self.lines) + 1}"
        self.lines.append(Statement(name, operation, arguments))
        return name

    def once(self, name: str, make: Callable[[Writer], Argument]) -> Argument:
        """What `make` wrote when `name` was asked for first."""
        if name not in self._known:
            self._known[name] = make(self)
        return self._known[name]


def _tensor(argument: Argument) -> bool:
    return argument in ("g", "w") or is_memory(argument) or (isinstance(argument, str) and argument[0] == "x")


def _average(slot: str, power: str | None, weight: float) -> Callable[[Writer], Argument]:
    def write(writer: Writer) -> Argument:
        value = "g" if power is None else writer.once(power, lambda w: w.put(power, "g"))
        return writer.once(slot, lambda w: w.put("interp", slot, value, weight, to=slot))

    return write


def _unbiased(slot: str, power: str | None, weight: float, bias: str) -> Callable[[Writer], str]:
    def write(writer: Writer) -> str:
        return writer.put("div", _average(slot, power, weight)(writer), bias)

    return write


def _adam(writer: Writer) -> str:
    mean, square = (writer.once(name, OPERANDS[name]) for name in ("m", "v"))
    return writer.put("div", mean, writer.put("add", writer.put("sqrt", square), 1e-8))


def _rmsprop(writer: Writer) -> str:
    square = _average("m4", "square", 0.01)(writer)
    return writer.put("div", "g", writer.put("add", writer.put("sqrt", square), 1e-8))


def _decayed(share: float) -> Callable[[Writer], str]:
    return lambda writer: writer.put("mul", "w", share)


OPERANDS: Mapping[str, Callable[[Writer], Argument]] = {
    "g": lambda writer: "g",
    "g2": lambda writer: writer.once("square", lambda w: w.put("square", "g")),
    "g3": lambda writer: writer.once("cube", lambda w: w.put("cube", "g")),
    "m": _unbiased("m1", None, 0.1, "bias1"),
    "v": _unbiased("m2", "square", 0.001, "bias2"),
    "y": _unbiased("m3", "cube", 0.001, "bias2"),
    "sign(g)": lambda writer: writer.put("sign", "g"),
    "sign(m)": lambda writer: writer.put("sign", writer.once("m", OPERANDS["m"])),
    "1": lambda writer: 1.0,
    "2": lambda writer: 2.0,
    "noise": lambda writer: writer.put("noise", 0.01),
    "1e-4 w": _decayed(1e-4),
    "1e-3 w": _decayed(1e-3),
    "1e-2 w": _decayed(1e-2),
    "1e-1 w": _decayed(1e-1),
    "adam": _adam,
    "rmsprop": _rmsprop,
    "ld": lambda writer: "linear",
    "cd": lambda writer: "cosine",
    "rd": lambda writer: "restart",
}  # fmt: skip
UNARIES: Mapping[str, tuple[str, float | None]] = {
    "x": ("", None),
    "-x": ("negative", None),
    "exp": ("exp", None),
    "log": ("log", None),
    "sqrt": ("sqrt", None),
    "sign": ("sign", None),
    "clip 1e-5": ("clip", 1e-5),
    "clip 1e-4": ("clip", 1e-4),
    "clip 1e-3": ("clip", 1e-3),
    "drop 0.1": ("drop", 0.1),
    "drop 0.3": ("drop", 0.3),
    "drop 0.5": ("drop", 0.5),
}
"""Name -> operation, and its constant."""
BINARIES = ("add", "sub", "mul", "div", "power", "left")


@final
class RuleSpace:
    """groups: 1 to 3. without: operands and functions to leave out. Raises RuleError for names that there are none."""

    variation = None

    def __init__(self, groups: int, without: Sequence[str] = ()) -> None:
        unknown = [name for name in without if name not in (*OPERANDS, *UNARIES, *BINARIES)]
        if unknown:
            known = ", ".join((*OPERANDS, *UNARIES, *BINARIES))
            raise RuleError(f"without: no operand or function {unknown[0]!r}; there are {known}")
        self.groups = groups
        self._options: dict[str, list[Value]] = {
            "operand": [name for name in OPERANDS if name not in without],
            "unary": [name for name in UNARIES if name not in without],
            "binary": [name for name in BINARIES if name not in without],
        }
        final_ones = [name for name in self._options["binary"] if name != "add"]
        if len(self._options["operand"]) < 2 or not self._options["unary"] or not final_ones:
            raise RuleError("without: two operands, one unary function and one binary one that is no add have to stay")
        decisions = [self._decision(group, part) for group in range(1, groups + 1) for part in PARTS]
        self.space = Space(*decisions, narrow=self._narrow)

    def program(self, candidate: Candidate) -> Program:
        """What a candidate does, statement by statement."""
        writer, results = Writer(), dict[str, Argument]()
        for group in range(1, self.groups + 1):
            left, right, left_unary, right_unary, binary = (str(candidate[f"{group}.{part}"]) for part in PARTS)
            one = _applied(writer, left_unary, self._operand(writer, left, results))
            if binary == "left":
                results[f"result {group}"] = one
                continue
            two = _applied(writer, right_unary, self._operand(writer, right, results))
            if binary == "div":
                two = writer.put("add", two, 1e-8)
            results[f"result {group}"] = writer.put(binary, one, two)
        last = results[f"result {self.groups}"]
        if not _tensor(last):
            raise RuleError("the update never uses the gradient: it is made of constants")
        return (*writer.lines, Statement("update", "mul", (last, 1.0)))

    def _decision(self, group: int, part: str) -> Choice:
        if part in ("left", "right"):
            earlier = [f"result {before}" for before in range(1, group)]
            refers = {name: f"{before}.binary" for before, name in enumerate(earlier, 1)}
            return Choice(f"{group}.{part}", [*self._options["operand"], *earlier], kind="operand", refers=refers)
        kind = "unary" if part.endswith("unary") else "binary"
        return Choice(f"{group}.{part}", self._options[kind], kind=kind)

    def _narrow(self, path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
        group, part = path.split(".")
        if not isinstance(decision, Choice) or part not in ("right", "binary"):
            return decision
        options = list(decision.options)
        if part == "binary":
            return decision.keep([name for name in options if name != "add"]) if int(group) == self.groups else decision
        left = str(made[f"{group}.left"])
        options = [name for name in options if name != left]
        if int(group) > 1 and not left.startswith("result"):
            options = [name for name in options if str(name).startswith("result")]
        return decision.keep(options)

    def _operand(self, writer: Writer, name: str, results: Mapping[str, Argument]) -> Argument:
        if name in results:
            return results[name]
        make = OPERANDS[name]
        return make(writer)


def _applied(writer: Writer, name: str, value: Argument) -> Argument:
    operation, constant = UNARIES[name]
    if not operation:
        return value
    return writer.put(operation, value) if constant is None else writer.put(operation, value, constant)
