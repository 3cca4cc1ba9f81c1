"""NAO: candidates are embedded, the embedding climbs a predicted score, and what it decodes to is evaluated.

R. Luo, F. Tian, T. Qin, E. Chen, T.-Y. Liu, "Neural Architecture Optimization", NeurIPS 2018, arXiv 1808.07233.

Differs from the paper:
1. General: a sentence is the walk of a candidate, a token an option or a bin of a number (which adds its place in the
   range); a decision has an embedding that encoder and decoder get, since walks differ in length and meaning. A
   branch's tokens are not joined. Decoding walks the space, so that it is always legal, and numbers are drawn within
   their bin; a number that stays in its bin stays as it is.
2. Made for 100 to 300 trials: 40 first candidates instead of 600, 10 new ones a round from the best 10 instead of 300
   from 100, width 32 instead of 96, 50 updates a round that go on from the present weights instead of 1000 epochs
   from new ones, no dropout, a rate of 5e-3 instead of 1e-3.
3. Scores are ranks in [0, 1], not scaled values: failed trials are the lowest, and what misses a limit ranks below what
   keeps it, by how far.
4. The gradient is scaled to steps of length 1, so that one schedule of step sizes fits every space. As in the
   released code the step grows until there are enough new candidates.
5. Twins come from the target's variation, one a trial and training; where they are equal there is nothing to add.
6. What the climb leaves open is filled with mutations of the best, then with random candidates.
7. `pool` bounds what is learned from: the best ones, as in the variant with shared weights.
8. A round is asked for when the round before is told; several of its trials may be out at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from automl_ext.controllers.sentences import START, Batch, Sentence, Vocabulary, batch, ranks
from automl_ext.controllers.translator import Translator
from automl_ext.decisions import Choice, Value
from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.space import Candidate, Walk

Count = Annotated[int, Field(ge=1, le=100_000)]
TRIES = 20
"""How often a fallback is drawn before an old candidate is taken."""


@dataclass(frozen=True)
class Member:
    """One told trial of the pool."""

    candidate: Candidate
    sentence: Sentence
    standing: tuple[float, float]


class NAO:
    """A round is made in `tell`, when the round before is all told.

    first: random candidates. new: candidates of a round. best: how many are climbed from. bins: tokens of a number.
    hidden: width of the networks. updates, batch, rate: of Adam, a round. share: weight of the score's error, the rest
    is that of the reconstruction. step, growth, climbs: the first step size, by how much it grows, how many are tried.
    pool: how many trials are learned from. Raises ValueError for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        first: Count = 40,
        new: Count = 10,
        best: Count = 10,
        bins: Annotated[int, Field(ge=2, le=1000)] = 16,
        hidden: Annotated[int, Field(ge=2, le=1024)] = 32,
        updates: Annotated[int, Field(ge=1, le=100_000)] = 50,
        batch: Annotated[int, Field(ge=1, le=4096)] = 32,
        rate: Annotated[float, Field(gt=0, le=1)] = 5e-3,
        share: Annotated[float, Field(ge=0, le=1)] = 0.8,
        step: Annotated[float, Field(gt=0, le=100)] = 0.2,
        growth: Annotated[float, Field(gt=1, le=100)] = 1.5,
        climbs: Annotated[int, Field(ge=1, le=1000)] = 10,
        pool: Annotated[int, Field(ge=2, le=100_000)] = 300,
    ) -> None:
        one_objective(target.objectives, "nao")
        self.target, self.first, self.new, self.best = target, first, new, best
        self.updates, self.batch, self.share = updates, batch, share
        self.lengths = [step * growth**index for index in range(climbs)]
        self.capacity = pool
        self.vocabulary = Vocabulary(target.space, bins)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        self.model = Translator(self.vocabulary.size, self.vocabulary.fitting(), hidden, generator)
        self.optimiser = torch.optim.Adam(self.model.parameters(), rate, weight_decay=1e-4, fused=True)
        self.pool: list[Member] = []
        self.seen: set[str] = set()
        self.round, self.told = 0, 0
        self.queue: list[Candidate] = []
        """What the round evaluates, the first one excepted, which draws at random."""

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        place = self.told + sum(proposal.note.get("round") == self.round for proposal in pending)
        if self.round == 0 and place < self.first:
            return Proposal(self._random(self.seen, rng), {"round": 0})
        return Proposal(self.queue[place], {"round": self.round}) if place < len(self.queue) else None

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Into the pool; at the end of a round learn, and make the next round."""
        self.seen.add(self.target.space.key(trial.candidate))
        standing = rank(trial.metrics, self.target.objectives)
        self.pool.append(Member(trial.candidate, self.vocabulary.read(trial.candidate), standing))
        self.told += 1
        if self.told < (self.first if self.round == 0 else len(self.queue)):
            return
        self.pool = sorted(self.pool, key=lambda member: member.standing, reverse=True)[: self.capacity]
        self._learn(rng)
        self.queue = self._climb(rng)
        self.round, self.told = self.round + 1, 0

    def _learn(self, rng: np.random.Generator) -> None:
        """`updates` steps of Adam on batches of the pool and its twins."""
        words, scores = self.lesson(rng)
        for _ in range(self.updates):
            chosen = torch.from_numpy(rng.permutation(len(scores))[: self.batch])
            error, surprise = self.model.losses(words.rows(chosen), scores[chosen])
            self.optimiser.zero_grad()
            (self.share * error + (1 - self.share) * surprise).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimiser.step()

    def lesson(self, rng: np.random.Generator) -> tuple[Batch, torch.Tensor]:
        """The sentences of the pool, of a twin of each that has one, and their scores (n,)."""
        goals = ranks([member.standing for member in self.pool])
        sentences: list[Sentence] = []
        scores: list[float] = []
        for member, goal in zip(self.pool, goals, strict=True):
            twin = self.twin(member.candidate, rng)
            other = twin != member.candidate
            sentences += [member.sentence, self.vocabulary.read(twin)] if other else [member.sentence]
            scores += [float(goal)] * (1 + other)
        return batch(sentences), torch.tensor(scores, dtype=torch.float32)

    def twin(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """One that means the same, as the target's variation knows; often the candidate itself."""
        return self.target.space.from_genes(self.target.variation.twins(self._genes(candidate, rng), rng))

    def _climb(self, rng: np.random.Generator) -> list[Candidate]:
        """The next round: steps of growing size up from the best, until there are enough new candidates."""
        sources = [member.candidate for member in self.pool[: self.best]]
        words = batch([member.sentence for member in self.pool[: self.best]])
        taken, found = set(self.seen), list[Candidate]()
        for length in self.lengths:
            steps, _ = self.model.climbed(words, torch.full((len(sources),), length))
            for candidate in self.decoded(steps, words.real, sources, rng):
                key = self.target.space.key(candidate)
                if key not in taken and len(found) < self.new:
                    taken.add(key)
                    found.append(candidate)
            if len(found) == self.new:
                return found
        while len(found) < self.new:
            found.append(self._mutated(sources, taken, rng))
            taken.add(self.target.space.key(found[-1]))
        return found

    def decoded(
        self, steps: torch.Tensor, real: torch.Tensor, sources: Sequence[Candidate], rng: np.random.Generator
    ) -> list[Candidate]:
        """The candidates that `steps` (n, steps, hidden) decode to, greedily among what is legal.

        A number in the same bin as in its source keeps the source's value.
        """
        walks = [Walk(self.target.space) for _ in sources]
        embedding = self.model.embed(steps, real)
        state = (embedding[None], embedding[None])
        last, units = torch.full((len(walks), 1), START), torch.zeros(len(walks), 1)
        while not all(walk.done for walk in walks):
            slots = torch.tensor([[0 if walk.done else self.vocabulary.places[walk.path]] for walk in walks])
            with torch.no_grad():
                logits, state = self.model.decoder(last, units, slots, state, steps, real)
            table = logits[:, 0].numpy()
            for row, walk in enumerate(walks):
                if not walk.done:
                    last[row, 0], units[row, 0] = self._written(walk, table[row], sources[row], rng)
        return [walk.candidate for walk in walks]

    def _written(
        self, walk: Walk, logits: NDArray[np.float32], source: Candidate, rng: np.random.Generator
    ) -> tuple[int, float]:
        """Decide one step of `walk` by the logits (tokens,): the token, and its place where it is a number."""
        path, declared = walk.path, walk.declared
        token = self.vocabulary.best(walk, logits)
        kept = path in source and source[path] in walk.decision
        if kept and self.vocabulary.token(path, declared, source[path]) == token:
            value = walk.choose(source[path])
        else:
            value = walk.choose(self.vocabulary.drawn(walk, token, rng))
        return token, 0.0 if isinstance(declared, Choice) else declared.to_unit(value)

    def _mutated(self, sources: Sequence[Candidate], taken: set[str], rng: np.random.Generator) -> Candidate:
        variation, space = self.target.variation, self.target.space
        for _ in range(TRIES):
            genes = self._genes(sources[int(rng.integers(len(sources)))], rng)
            candidate = space.from_genes(variation.mutate(genes, rng))
            if space.key(candidate) not in taken:
                return candidate
        return self._random(taken, rng)

    def _genes(self, candidate: Candidate, rng: np.random.Generator) -> dict[str, Value]:
        """The candidate with silent genes drawn, where it leaves slots empty."""
        if len(candidate) == len(self.target.space.slots):
            return dict(candidate)
        return {**self.target.variation.sample(rng), **candidate}

    def _random(self, taken: set[str], rng: np.random.Generator) -> Candidate:
        candidate = self.target.space.sample(rng)
        for _ in range(TRIES):
            if self.target.space.key(candidate) not in taken:
                break
            candidate = self.target.space.sample(rng)
        return candidate
