"""LEMONADE: a Pareto front whose gaps have children, chosen by what is cheap to know before what is dear is measured.

T. Elsken, J. H. Metzen, F. Hutter, "Efficient Multi-objective Neural Architecture Search via Lamarckian Evolution",
ICLR 2019, arXiv 1804.09081.

Differs from the paper:
1. A searcher cannot ask for cheap objectives alone. Those of children are predicted by ridge regression on the target's
   features, from the latest 500 trials told; those of parents are known. In logarithms where all are positive.
2. Which objectives are cheap says `cheap`; by default all but the first. Without any, parents are drawn evenly, and
   what is proposed is accepted.
3. A generation ends with its last tell (`accepted` of them), and no ask waits for that: while trials are out, more
   children of the generation before are accepted, in the order of the same draw. One at a time it is the paper's.
   Only the starts are waited for.
4. Operators are the target's own mutations: of one to `mutations` each (the paper's number is not known for sure).
5. `starts` random candidates begin; `start: first` or a reference is the paper's small network.
6. 32 proposed and 8 accepted children instead of hundreds and 20, for searches of 100 to 300 trials.
7. A child equal to any candidate told, or proposed in the same generation, is drawn anew, up to 20 times,
   then mutated until it is new.
8. Failed trials never enter the front. Candidates that miss a limit enter it only while none keeps all limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.linear_model import RidgeCV

from automl_ext.evolution.density import Floats, loneliness, lottery, shares
from automl_ext.evolution.fresh import TRIES, Genes, fresh
from automl_ext.evolution.standing import Standing
from automl_ext.evolution.start import Start
from automl_ext.objective import Objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate

Count = Annotated[int, Field(ge=1, le=10_000)]
REMEMBERED = 500


@dataclass(frozen=True)
class Member:
    """One of the front: a trial's number, genes, standing, and cheap objectives (c,)."""

    number: int
    genes: Genes
    standing: Standing
    cheap: Floats


@dataclass(frozen=True)
class Child:
    """Proposed: genes, the key of their candidate, and the number of the parent."""

    genes: Genes
    key: str
    parent: int | None


class Lemonade:
    """proposed, accepted: children of a generation, known by their cheap objectives only, and then evaluated.

    cheap: names of objectives. mutations: at most, of a child. density: of the front's cheap objectives, or of the
    proposed children's, when children are accepted. start, starts: see `Start`. inherit: children continue from their
    parent's weights.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        cheap: tuple[str, ...] = (),
        proposed: Count = 32,
        accepted: Count = 8,
        mutations: Annotated[int, Field(ge=1, le=1000)] = 1,
        density: Literal["front", "proposed"] = "front",
        start: str = "random",
        starts: Count = 10,
        inherit: bool = True,
    ) -> None:
        if not 1 <= accepted <= proposed:
            raise ValueError(f"searcher.accepted: from 1 to proposed ({proposed}), not {accepted}")
        self.target = target
        self.cheap = _named(target.objectives, cheap)
        self.proposed, self.accepted, self.mutations, self.density = proposed, accepted, mutations, density
        self.start = Start(target, start)
        self.starts = starts if start == "random" else 1
        self.inherit = inherit
        self.front: list[Member] = []
        self.parents: list[Member] = []
        self.chances: Floats = np.zeros(0)
        self.children: list[Child] = []
        self.archive: set[str] = set()
        self.known: deque[tuple[Floats, Floats]] = deque(maxlen=REMEMBERED)
        self.lowest = np.full(len(self.cheap), np.inf)
        self.generation = 0
        self.left = self.starts

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        taken = {self.target.space.key(proposal.candidate) for proposal in pending}
        if number >= self.starts and self.generation == 0:
            return None
        untaken = (child for child in self.children if child.key not in taken and child.key not in self.archive)
        child = next(untaken, None) or self._child(taken, rng)
        parent = child.parent if self.inherit else None
        return Proposal(self.target.space.from_genes(child.genes), {"genes": child.genes}, parent=parent)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Who is not dominated enters the front. The generation's last tell makes the next children."""
        key = self.target.space.key(trial.candidate)
        standing = Standing.of(trial.metrics, self.target.objectives)
        if key not in self.archive and not standing.failed and trial.metrics is not None:
            cheap = np.array([trial.metrics[objective.name] for objective in self.cheap], dtype=float)
            self.known.append((self._features(trial.candidate), cheap))
            self.lowest = np.minimum(self.lowest, cheap)
            self._enter(Member(trial.number, dict(trial.note["genes"]), standing, cheap))
        self.archive.add(key)
        self.left -= 1
        if self.left == 0:
            self.left = self.accepted
            self.generation += 1
            self.parents = self.front
            self.children = self._children(rng)

    def keep(self) -> set[int]:
        """The front, and the parents of children that may still be asked."""
        return {member.number for member in (*self.front, *self.parents)} if self.inherit else set()

    def _enter(self, new: Member) -> None:
        if not any(member.standing.dominates(new.standing) for member in self.front):
            self.front = [member for member in self.front if not new.standing.dominates(member.standing)] + [new]

    def _children(self, rng: np.random.Generator) -> list[Child]:
        """Proposed children, in the order in which they are accepted; none where nothing tells which to prefer."""
        scale = _Scale(self.lowest > 0)
        crowd = scale(np.array([member.cheap for member in self.parents]).reshape(len(self.parents), len(self.cheap)))
        self.chances = shares(loneliness(crowd, crowd)) if self.parents else np.zeros(0)
        if not self.parents or not self.cheap:
            return []
        children: list[Child] = []
        for _ in range(self.proposed):
            children.append(self._child({child.key for child in children}, rng, TRIES))
        features = np.array([self._features(self.target.space.from_genes(child.genes)) for child in children])
        places = scale.predicted(list(self.known), features)
        lonely = loneliness(places, crowd if self.density == "front" else places)
        return [children[index] for index in lottery(lonely, rng)]

    def _child(self, taken: set[str], rng: np.random.Generator, again: int = 0) -> Child:
        """Of a parent drawn from where few are; a new start where there is no parent."""
        parent = self.parents[int(rng.choice(len(self.parents), p=self.chances))] if self.parents else None
        make = partial(self.start.draw, more=self.generation) if parent is None else partial(self._mutated, parent)
        genes = fresh(self.target, make, lambda key: key in taken or key in self.archive, rng, again)
        key = self.target.space.key(self.target.space.from_genes(genes))
        return Child(genes, key, None if parent is None else parent.number)

    def _mutated(self, parent: Member, rng: np.random.Generator) -> Genes:
        genes = parent.genes
        for _ in range(int(rng.integers(self.mutations)) + 1):
            genes = self.target.variation.mutate(genes, rng)
        return genes

    def _features(self, candidate: Candidate) -> Floats:
        found: Any = (self.target.features or self.target.space.to_vector)(candidate)
        return np.asarray(found, dtype=float)


class _Scale:
    """Cheap objectives (n, c) as the density sees them: in logarithms where all that were told are `positive` (c,)."""

    def __init__(self, positive: NDArray[np.bool_]) -> None:
        self.positive = positive

    def __call__(self, values: Floats) -> Floats:
        return np.where(self.positive, np.log(np.where(self.positive, values, 1.0)), values)

    def predicted(self, known: Sequence[tuple[Floats, Floats]], features: Floats) -> Floats:
        """(m, c) of `features` (m, d), by ridge regression of (features (d,), cheap objectives (c,)) that are known."""
        told = self(np.array([cheap for _, cheap in known]))
        if len(known) < 2:
            return np.repeat(told, len(features), axis=0)
        model = RidgeCV(alphas=np.logspace(-3, 3, 7)).fit(np.array([seen for seen, _ in known]), told)
        return np.asarray(model.predict(features), dtype=float).reshape(len(features), -1)


def _named(objectives: Sequence[Objective], names: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives of these names, all but the first for none. ValueError for one that the target does not have."""
    known = {objective.name: objective for objective in objectives}
    for name in names:
        if name not in known:
            raise ValueError(f"searcher.cheap: no objective {name!r}; the target has {', '.join(known)}")
    return tuple(known[name] for name in names) or tuple(objectives[1:])
