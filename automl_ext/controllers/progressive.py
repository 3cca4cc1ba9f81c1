"""Progressive search: candidates grow block by block, and a predictor says which of the larger ones to evaluate.

C. Liu, B. Zoph, M. Neumann, J. Shlens, W. Hua, L.-J. Li, L. Fei-Fei, A. Yuille, J. Huang, K. Murphy, "Progressive
Neural Architecture Search", ECCV 2018, arXiv 1712.00559.

Differs from the paper:
1. Any space has levels (see `levels`): a block is `block` consecutive decisions of the outermost space (or, where there
   is one, steps of the walk), and what is not decided yet takes the first legal value; or `size` names the choice of
   how many blocks there are. Where undecided blocks do not exist, as in a chain or with `size`, it is the paper's.
2. Where they do exist, an extension can equal a smaller candidate: it is not evaluated again and stays in the beam with
   the score it has; of such a beam the best K are extended.
3. Level 1 is exhaustive up to `first` candidates, else drawn. So are the extensions of a level up to `expansions`;
   numbers stand at `bins` values.
4. After the last level the paper stops, and so does `finish`. By default the search goes on in rounds of K, so that it
   can use any budget: one block of one of the best K candidates of all is drawn anew, `expansions` times, and the
   predictor picks. What the first blocks were worth without the later ones is thereby put right.
5. Made for 100 to 300 trials: K = 8 instead of 256, three predictors of width 32 instead of five of 100, other rates.
   Scores are ranks in [0, 1] among the trials told, so that any objective fits a sigmoid; weights start larger, and the
   last bias at 0, the middle of ranks.
6. A decision that declares no `kind` has an embedding of its own; a number adds its place in the range times another.
7. Failed trials rank last and are not extended unless all failed; what misses a limit ranks by how far.
8. The predictor learns from the `memory` newest trials.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from automl_ext.controllers.block_predictors import LSTM, MLP, Ensemble, Reader
from automl_ext.controllers.levels import Levels
from automl_ext.controllers.sentences import Vocabulary, ranks
from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate

Standing = tuple[float, float]
Scored = tuple[Candidate, Standing]
Count = Annotated[int, Field(ge=1, le=100_000)]
FAILED = rank(None, ())


class Progressive:
    """Level by level in `queue`; the predictor learns in `tell` when a level is all told.

    beam: K, how many are evaluated at each level after the first. block: decisions of a block. size: path of the choice
    of how many blocks. first, expansions: how many candidates of level 1, and of each later level before ranking.
    bins: values of a number. predictor, members, hidden: networks, how many, how wide. rates, steps: of Adam, for the
    first training and for each later one. memory: trials learned from. finish: stop after the last level. Raises
    ValueError for several objectives, SpaceError for a `size` that is no choice of growing sub-spaces.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        beam: Count = 8,
        block: Count = 1,
        size: str | None = None,
        first: Count = 60,
        expansions: Count = 300,
        bins: Annotated[int, Field(ge=2, le=1000)] = 8,
        predictor: Literal["mlp", "lstm"] = "mlp",
        members: Annotated[int, Field(ge=1, le=100)] = 3,
        hidden: Annotated[int, Field(ge=1, le=1024)] = 32,
        rate: Annotated[float, Field(gt=0, le=1)] = 0.01,
        later_rate: Annotated[float, Field(gt=0, le=1)] = 0.007,
        steps: Annotated[int, Field(ge=1, le=100_000)] = 100,
        later_steps: Annotated[int, Field(ge=1, le=100_000)] = 30,
        memory: Annotated[int, Field(ge=1, le=100_000)] = 500,
        finish: bool = False,
    ) -> None:
        one_objective(target.objectives, "progressive")
        self.target, self.beam, self.first, self.expansions = target, beam, first, expansions
        self.rates, self.steps = (rate, later_rate), (steps, later_steps)
        self.finish = finish
        self.levels = Levels(target.space, block, bins, size)
        reader = Reader(self.levels, Vocabulary(target.space, bins))
        self.predictor = Ensemble(MLP if predictor == "mlp" else LSTM, reader, rng, members, hidden)
        self.known: dict[str, Standing] = {}
        self.data: deque[Scored] = deque(maxlen=memory)
        self.best: list[Scored] = []
        self.level, self.told, self.decided = 0, 0, 1
        self.growing = True
        self.reached: list[Scored] = []
        self.queue = list(self._extended([{}], 0, first, rng).values())

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        place = self.told + sum(proposal.note.get("level") == self.level for proposal in pending)
        if place < len(self.queue):
            return Proposal(self.queue[place], {"level": self.level})
        return None

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Keep the result; when it was the level's last, learn and make the next level."""
        scored = (trial.candidate, rank(trial.metrics, self.target.objectives))
        self.known[self.target.space.key(trial.candidate)] = scored[1]
        self.data.append(scored)
        self.reached.append(scored)
        self.best = sorted([*self.best, scored], key=_standing, reverse=True)[: self.beam]
        self.told += 1
        if self.told == len(self.queue):
            self._learn(rng)
            self._advance(rng)

    def _learn(self, rng: np.random.Generator) -> None:
        later = self.level > 0
        scores = ranks([standing for _, standing in self.data])
        candidates = [candidate for candidate, _ in self.data]
        self.predictor.train(candidates, scores, self.steps[later], self.rates[later], rng)

    def _advance(self, rng: np.random.Generator) -> None:
        """Extend what this level reached; behind the last level, revise the best of all."""
        self.level, self.told, self.queue = self.level + 1, 0, []
        while self.growing and not self.queue:
            self.growing = self._grow(rng)
        if not self.queue and not self.finish:
            self.queue = self._picked(self._revised(rng))

    def _grow(self, rng: np.random.Generator) -> bool:
        """Make the next level; False where nothing is left to decide."""
        succeeded = [scored for scored in self.reached if scored[1] != FAILED] or self.reached
        if self.decided > 1:
            succeeded = sorted(succeeded, key=_standing, reverse=True)[: self.beam]
        parents = [parent for parent, _ in succeeded if self.levels.grows(parent, self.decided)]
        if not parents:
            return False
        found = self._extended(parents, self.decided, self.expansions, rng)
        self.decided += 1
        self.reached = [(candidate, self.known[key]) for key, candidate in found.items() if key in self.known]
        self.queue = self._picked([candidate for key, candidate in found.items() if key not in self.known])
        return True

    def _extended(
        self, parents: Sequence[Candidate], block: int, most: int, rng: np.random.Generator
    ) -> dict[str, Candidate]:
        """The extensions of all `parents` by `block`, by key; `most` drawn ones where there are more."""
        key, found = self.target.space.key, dict[str, Candidate]()
        for parent in parents:
            for candidate in self.levels.extensions(parent, block):
                found.setdefault(key(candidate), candidate)
                if len(found) > most:
                    break
        if len(found) <= most:
            return found
        found = {}
        for _ in range(4 * most):
            candidate = self.levels.extension(parents[int(rng.integers(len(parents)))], block, rng)
            found.setdefault(key(candidate), candidate)
            if len(found) == most:
                break
        return found

    def _revised(self, rng: np.random.Generator) -> list[Candidate]:
        """New candidates: one block of one of the best drawn anew, or drawn altogether where that gives none."""
        key, space, found = self.target.space.key, self.target.space, dict[str, Candidate]()
        for _ in range(self.expansions):
            parent, _ = self.best[int(rng.integers(len(self.best)))]
            block = int(rng.integers(max(1, self.levels.reach(parent))))
            candidate = self.levels.revision(parent, block, rng)
            found.setdefault(key(candidate), candidate)
        fresh = [candidate for name, candidate in found.items() if name not in self.known]
        if fresh:
            return fresh
        drawn = {key(candidate): candidate for candidate in (space.sample(rng) for _ in range(self.expansions))}
        return [candidate for name, candidate in drawn.items() if name not in self.known]

    def _picked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The K that the predictor puts first, in its order."""
        if len(candidates) <= self.beam:
            return list(candidates)
        order = np.argsort(-self.predictor.predict(candidates), kind="stable")
        return [candidates[int(index)] for index in order[: self.beam]]


def _standing(scored: Scored) -> Standing:
    return scored[1]
