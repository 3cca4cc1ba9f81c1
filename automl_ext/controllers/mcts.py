"""DeepArchitect's tree search (UCT) over the walk: long choices and numbers are cut in halves.

R. Negrinho, G. Gordon, "DeepArchitect: Automatically Designing and Training Deep Architectures", 2017,
arXiv 1704.08792.

As in the paper: the tree lives as long as the search; the first visit of a node expands it and finishes the candidate
at random; a reward counts at every node of the tree's path, not of the random rest; every child of a node is visited
once before any is visited twice; ties are broken evenly.

Differs from the paper:
1. A reward is the share of all trials so far that are worse (ties count half), to the power of `power`: it lies in
   [0, 1] on any target, and near 1 for the best only, since the search is after the best and not after the average.
   Failed trials are the worst; candidates that miss a limit are ranked by how far they miss it, below all others.
   The exploration constant is 0.15 instead of 0.5, so that 100 to 300 visits go deep.
2. Choices are cut in halves (`mcts_bi`) where they have more than `widest` options, not always: halves of an unordered
   list say little.
3. Numbers are cut `cuts` times; the rest of the way is drawn anew each time, so that few visits reach the decisions
   behind, and reals are searched below any grid. With 50 cuts whole numbers are cut down to one value: the paper.
4. The random rest draws among the values, not among the bits: lists whose length is no power of two are drawn evenly.
5. Several trials may be out at once (`parallel`): one that is out counts as a visit without reward (virtual loss).
6. Branches whose candidates are all told are closed. A draw that gives a known candidate is repeated up to `redraws`
   times, with the random rest starting 1, 2, 4, ... splits higher.
7. A tree of `nodes` nodes grows no more.
The paper's surrogate on n-grams of modules (SMBO) is left out.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from automl_ext.decisions import Choice, Decision, Integer, Real
from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Walk

WORST = rank(None, ())


class Node:
    """The candidates behind some decisions. count, total: visits and the sum of their rewards. children: by part.

    closed: all its candidates are told.
    """

    __slots__ = ("children", "closed", "count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.closed = False
        self.children: dict[int, Node] = {}


Split = tuple[str, Decision, int]
"""Where the tree split: the decision's path, the part of it that was left, and into how many parts."""
NOWHERE = Node()
"""Stands for a node that does not exist; never visited."""


class MCTS:
    """The tree grows in `tell`, by at most one node a trial; `ask` reads it.

    exploration: the constant c of UCT. widest: how many options a choice may have and not be cut in halves. cuts: of a
    number. nodes: the largest tree. redraws: how often a draw of a known candidate is repeated. power: of the share
    that is the reward. Raises ValueError for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        exploration: Annotated[float, Field(ge=0, le=100)] = 0.15,
        widest: Annotated[int, Field(ge=1, le=1000)] = 8,
        cuts: Annotated[int, Field(ge=0, le=50)] = 3,
        nodes: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000,
        redraws: Annotated[int, Field(ge=0, le=1000)] = 10,
        power: Annotated[float, Field(gt=0, le=100)] = 4.0,
    ) -> None:
        one_objective(target.objectives, "mcts")
        self.target, self.exploration, self.widest, self.cuts = target, exploration, widest, cuts
        self.nodes, self.redraws, self.power = nodes, redraws, power
        self.root, self.size = Node(), 1
        self.known: set[str] = set()
        self.standings: list[tuple[float, float]] = []

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        """The note is the way down the tree: the index of each part taken, of how many, and whether nothing was left
        to draw."""
        key, out = self.target.space.key, Node()
        for proposal in pending:
            _visit(_along(out, proposal.note["path"]), 0.0)
        waiting = {key(proposal.candidate) for proposal in pending}
        drawn, splits = self.descend(out, rng)
        for number in range(0 if self.root.closed else self.redraws):
            found = key(drawn.candidate)
            if found not in self.known and found not in waiting:
                break
            drawn = self.redrawn(drawn, splits[: max(0, len(splits) - 2**number) + 1], rng)
        return drawn

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Count the reward at every node of the path; close what has nothing left to tell."""
        standing = rank(trial.metrics, self.target.objectives)
        if not all(math.isfinite(value) for value in standing):
            standing = WORST
        insort(self.standings, standing)
        self.known.add(self.target.space.key(trial.candidate))
        note: Mapping[str, Any] = trial.note
        path = self._grow(note["path"])
        _visit(path, self.share(standing) ** self.power)
        if len(path) == len(note["path"]) + 1:
            path[-1].closed = path[-1].closed or note["whole"]
            for node, width in zip(reversed(path[:-1]), reversed(note["widths"]), strict=True):
                node.closed = len(node.children) == width and all(child.closed for child in node.children.values())

    def share(self, standing: tuple[float, float]) -> float:
        """The share of all trials told that are worse, ties counted half."""
        places = bisect_left(self.standings, standing) + bisect_right(self.standings, standing)
        return places / 2 / len(self.standings)

    def descend(self, out: Node, rng: np.random.Generator) -> tuple[Proposal, list[Split]]:
        """Down the tree by UCT, then at random to a whole candidate; and what was split. out: virtual losses."""
        node, shade, walk = self.root, out, Walk(self.target.space)
        path, splits, whole = list[int](), list[Split](), True
        inside = self._expanded(node, shade)
        while not walk.done:
            part, cuts = walk.decision, 0
            while inside and (width := self.width(part, cuts)):
                index = self.pick(node, shade, width, rng)
                path.append(index)
                splits.append((walk.path, part, width))
                part, cuts = piece(part, width, index), cuts + 1
                node, shade = node.children.get(index, NOWHERE), shade.children.get(index, NOWHERE)
                inside = self._expanded(node, shade)
            whole = whole and part.count == 1
            walk.choose(part.sample(rng))
        return Proposal(walk.candidate, _note(path, splits, whole)), splits

    def redrawn(self, drawn: Proposal, splits: Sequence[Split], rng: np.random.Generator) -> Proposal:
        """The same way up to the last of `splits`, and from there at random; all at random where there is none."""
        if not splits:
            return Proposal(self.target.space.sample(rng), _note([], [], False))
        place, part, _ = splits[-1]
        walk = self.target.space.walk(dict(takewhile(lambda made: made[0] != place, drawn.candidate.items())))
        while not walk.done:
            walk.choose((part if walk.path == place else walk.decision).sample(rng))
        return Proposal(walk.candidate, _note(drawn.note["path"][: len(splits) - 1], splits[:-1], False))

    def pick(self, node: Node, shade: Node, width: int, rng: np.random.Generator) -> int:
        """Which of `width` parts UCT takes: the largest mean + c sqrt(2 ln n / n_i), unvisited ones first."""
        visits = node.count + shade.count
        unvisited = math.inf if self.size < self.nodes else -math.inf
        scores = []
        for index in range(width):
            child, lost = node.children.get(index, NOWHERE), shade.children.get(index, NOWHERE)
            count = child.count + lost.count
            if child.closed:
                scores.append(-math.inf)
            elif count == 0:
                scores.append(unvisited)
            else:
                scores.append(child.total / count + self.exploration * math.sqrt(2 * math.log(visits) / count))
        most = max(scores)
        best = [index for index, score in enumerate(scores) if score == most]
        return best[int(rng.integers(len(best)))]

    def _expanded(self, node: Node, shade: Node) -> bool:
        """Whether to go on to a node's parts: after its first visit, unless all is told or the tree cannot grow."""
        if node.closed or (self.size >= self.nodes and not node.children):
            return False
        return node.count + shade.count > 0

    def _grow(self, path: Sequence[int]) -> list[Node]:
        """The nodes along `path`, new ones where there are none, so far as the tree may grow."""
        nodes = _along(self.root, path, self.nodes - self.size)
        self.size += sum(node.count == 0 for node in nodes[1:])
        return nodes

    def width(self, part: Decision, cuts: int) -> int:
        """Into how many parts the tree splits a part of a decision that was split `cuts` times; 0: not at all."""
        if part.count == 1 or (cuts >= self.cuts and not isinstance(part, Choice)):
            return 0
        return len(part.options) if isinstance(part, Choice) and len(part.options) <= self.widest else 2


def piece(part: Decision, width: int, index: int) -> Decision:
    """Part `index` of `width`: one option where there are as many, else the first or the second half.

    Half of n values is floor(n / 2); numbers that are `log` are halved in the logarithm.
    """
    if isinstance(part, Real):
        middle = float(part.from_unit(0.5))  # type: ignore[arg-type]
        return part.within(middle, part.high) if index else part.within(part.low, middle)
    if isinstance(part, Integer):
        values = range(part.low, part.high + 1, part.step)
        half = values.index(int(part.from_unit(0.5) or 0)) if part.log else len(values) // 2
        half = min(max(half, 1), len(values) - 1)
        return part.within(values[half], part.high) if index else part.within(part.low, values[half - 1])
    if width == len(part.options):
        return part.keep([part.options[index]])
    half = len(part.options) // 2
    return part.keep(part.options[half:] if index else part.options[:half])


def _along(root: Node, path: Sequence[int], room: float = math.inf) -> list[Node]:
    """The nodes along `path` from `root` on; at most `room` new ones are made where there are none."""
    found = [root]
    for index in path:
        children = found[-1].children
        if index not in children:
            if room < 1:
                break
            children[index] = Node()
            room -= 1
        found.append(children[index])
    return found


def _note(path: Sequence[int], splits: Sequence[Split], whole: bool) -> dict[str, Any]:
    return {"path": list(path), "widths": [width for *_, width in splits[: len(path)]], "whole": whole}


def _visit(nodes: Sequence[Node], reward: float) -> None:
    for node in nodes:
        node.count += 1
        node.total += reward
