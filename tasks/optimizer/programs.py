"""Programs: straight-line typed statements over gradient, weights, memory and learning-rate schedule.

Chen et al.: "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, arXiv 2302.06675. A line is a function, its
arguments (a variable that is set by then, or a constant) and the variable that gets the result. Tensors are `g`, `w`,
`m1`, ... (memory), `x1`, ... and `update`; scalars are `rate`, `linear`, `cosine` and `s1`, ...

Differs from the paper:

1. There is a longest program, and a fixed set of variables. The last line is there always and sets `update`.
2. Constants lie in [-4, 4]. Functions are those of operations.py that draw no numbers.
3. The learning rate multiplies the update from outside, and can be read.
4. Some functions are left out, `tan` and `clip_by_global_norm` among them; see operations.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from automl_ext.tasks.optimizer.graph import UPDATE, Argument, Program, RuleError, Statement, statements
from automl_ext.tasks.optimizer.mutations import ProgramVariation
from automl_ext.tasks.optimizer.operations import OPERATIONS

from automl_ext.space import Candidate, Choice, Decision, Real, Space, Value

PLACES = ("x", "y", "z")
NOTHING, CONSTANT = "nothing", "constant"
SCALARS = ("rate", "linear", "cosine")
FUNCTIONS = tuple(name for name, operation in OPERATIONS.items() if not operation.random)
LIMIT = 4.0

ADAMW = statements(
    [
        ["m1", "interp", ["m1", "g", 0.1]],
        ["x1", "square", ["g"]],
        ["m2", "interp", ["m2", "x1", 0.001]],
        ["x2", "sqrt", ["m2"]],
        ["x2", "add", ["x2", 1e-8]],
        ["x1", "div", ["m1", "x2"]],
        ["x2", "mul", ["w", 0.01]],
        ["update", "add", ["x1", "x2"]],
    ]
)
"""Where the paper's search starts: AdamW without bias correction.

Unlike there, it has its epsilon: where a pixel is the same in all images, nought over nought is no number.
"""


def is_scalar(variable: Argument) -> bool:
    return not isinstance(variable, str) or variable in SCALARS or variable[0] == "s"


@final
class ProgramSpace:
    """lines: of the longest program. memory: slots. start: `random`, or `adamw` for ADAMW and a mutation of it.

    Raises RuleError where ADAMW does not fit.
    """

    def __init__(self, lines: int, memory: int, start: str = "random") -> None:
        self.lines = lines
        if start == "adamw" and (lines < len(ADAMW) or memory < 2):
            raise RuleError(f"start: adamw takes {len(ADAMW)} lines and 2 slots of memory, not {lines} and {memory}")
        kept = [f"m{slot}" for slot in range(1, memory + 1)]
        self.inputs = ("g", "w", *kept, *SCALARS)
        self.targets = (*(f"x{k}" for k in range(1, 5)), "s1", "s2", *kept, UPDATE)
        self._blanks = {arity: self._blank(arity) for arity in range(1, len(PLACES) + 1)}
        self.space = Space(*(self._line(str(line)) for line in range(1, lines + 1)), narrow=self._narrow)
        self.variation = ProgramVariation(self, ADAMW if start == "adamw" else None)

    def program(self, candidate: Mapping[str, Value]) -> Program:
        """The statements of a candidate."""
        made = []
        for line in range(1, self.lines + 1):
            function = candidate[str(line)]
            if function == NOTHING:
                continue
            places = PLACES[: OPERATIONS[str(function)].arity]
            values = tuple(_argument(candidate, f"{line}/{place}") for place in places)
            made.append(Statement(str(candidate[f"{line}/to"]), str(function), values))
        return tuple(made)

    def genes(self, program: Program) -> Candidate:
        """The candidate of a program that ends with the update: its last line is the last of all."""
        found: Candidate = {str(line): NOTHING for line in range(1, self.lines + 1)}
        for place, statement in enumerate(program, 1):
            line = place if place < len(program) else self.lines
            found[str(line)] = statement.operation
            for name, value in zip(PLACES, statement.arguments, strict=False):
                found[f"{line}/{name}"] = value if isinstance(value, str) else CONSTANT
                if not isinstance(value, str):
                    found[f"{line}/{name}/value"] = float(value)
            found[f"{line}/to"] = statement.to
        return found

    def _line(self, name: str) -> Choice:
        branches = {function: self._blanks[OPERATIONS[function].arity] for function in FUNCTIONS}
        return Choice(name, [*FUNCTIONS, NOTHING], branches=branches, kind="function")

    def _blank(self, arity: int) -> Space:
        """The arguments and the target of a function of so many arguments."""
        variables = list(dict.fromkeys((*self.inputs, *self.targets)))
        constant = {CONSTANT: Space(Real("value", -LIMIT, LIMIT))}
        places = [Choice(place, [*variables, CONSTANT], branches=constant, kind="argument") for place in PLACES[:arity]]
        return Space(*places, Choice("to", self.targets, kind="target"))

    def _narrow(self, path: str, decision: Decision, made: Mapping[str, Value]) -> Decision:
        line, _, place = path.partition("/")
        last = int(line) == self.lines
        if not isinstance(decision, Choice):
            return decision
        if not place:
            return decision.keep([f for f in FUNCTIONS if not OPERATIONS[f].reduces]) if last else decision
        operation = OPERATIONS[str(made[line])]
        values = [str(made[f"{line}/{p}"]) for p in PLACES if f"{line}/{p}" in made]
        if place == "to":
            scalar = operation.reduces or all(value == CONSTANT or is_scalar(value) for value in values)
            return decision.keep([UPDATE] if last else [t for t in self.targets if is_scalar(t) == scalar])
        seen = {*self.inputs, *(str(made[f"{n}/to"]) for n in range(1, int(line)) if f"{n}/to" in made), CONSTANT}
        rest = last and place == PLACES[operation.arity - 1] and all(v == CONSTANT or is_scalar(v) for v in values)
        if operation.reduces or rest:
            seen = {variable for variable in seen if variable != CONSTANT and not is_scalar(variable)}
        return decision.keep([option for option in decision.options if option in seen])


def _argument(candidate: Mapping[str, Value], path: str) -> Argument:
    value = candidate[path]
    return float(candidate[f"{path}/value"] or 0.0) if value == CONSTANT else str(value)
