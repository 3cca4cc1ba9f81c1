"""The predictors of PNAS: an ensemble of small networks from the blocks of a candidate to a score in (0, 1).

The MLP averages over the blocks, so that it takes any number of them in any order; the LSTM reads the steps in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from automl_ext.controllers.levels import Levels
from automl_ext.controllers.sentences import Batch, Embedding, Sentence, Vocabulary, batch, initialise, padded
from automl_ext.space import Candidate


@dataclass(frozen=True)
class Blocks:
    """What a predictor reads of n candidates. roles (n, steps, r): one-hot place of a step within its block, 0 where
    there is padding. count (n, 1): number of blocks."""

    words: Batch
    roles: Tensor
    count: Tensor


@dataclass(frozen=True)
class Read:
    """One candidate: its sentence, the place of each step within its block, and the number of blocks."""

    sentence: Sentence
    roles: tuple[int, ...]
    count: int


class Reader:
    """Candidates to `Blocks`. roles: the most steps that a block can have."""

    def __init__(self, levels: Levels, vocabulary: Vocabulary) -> None:
        self.levels, self.vocabulary = levels, vocabulary
        slots = [slot.path for slot in vocabulary.space.slots if slot.path != levels.size]
        counts = Counter(levels.block_of(path, 0) for path in slots)
        self.roles = max(counts.values(), default=1) if levels.opened else levels.block

    def read(self, candidate: Candidate) -> Read:
        """The choice of how many blocks there are is left out: it is their number."""
        sentence = self.vocabulary.read(candidate).without(self.levels.size)
        blocks = [self.levels.block_of(path, step) for step, path in enumerate(sentence.paths)]
        roles = tuple(blocks[:step].count(block) for step, block in enumerate(blocks))
        return Read(sentence, roles, 1 + max(blocks, default=0))

    def blocks(self, known: Sequence[Read]) -> Blocks:
        words = batch([read.sentence for read in known])
        longest = words.tokens.shape[1]
        places = torch.tensor([padded(read.roles, longest, 0) for read in known])
        roles = nn.functional.one_hot(places, self.roles) * words.real[..., None]
        count = torch.tensor([[read.count] for read in known], dtype=torch.float32)
        return Blocks(words, roles.to(torch.float32), count)


class MLP(nn.Module):
    """The mean over blocks of their steps' embeddings side by side (roles * size), two layers, sigmoid -> (n,)."""

    def __init__(self, tokens: int, roles: int, size: int, hidden: int) -> None:
        super().__init__()
        self.embedding = Embedding(tokens, size)
        self.hidden = nn.Sequential(nn.Linear(roles * size, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(hidden, 1)

    def forward(self, blocks: Blocks) -> Tensor:
        found = self.embedding(blocks.words.tokens, blocks.words.units)
        summed = (blocks.roles.transpose(1, 2) @ found).flatten(1)
        score: Tensor = torch.sigmoid(self.out(self.hidden(summed / blocks.count)))[:, 0]
        return score


class LSTM(nn.Module):
    """The last state over the steps in their order, one layer, sigmoid -> (n,)."""

    def __init__(self, tokens: int, roles: int, size: int, hidden: int) -> None:
        super().__init__()
        self.embedding = Embedding(tokens, size)
        self.lstm = nn.LSTM(size, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, blocks: Blocks) -> Tensor:
        words = blocks.words
        states, _ = self.lstm(self.embedding(words.tokens, words.units))
        last = (words.real.sum(1) - 1).clamp(min=0)
        score: Tensor = torch.sigmoid(self.out(states[torch.arange(len(last)), last]))[:, 0]
        return score


class Ensemble:
    """members: each is trained without one fold of the data. rate: of Adam. steps: of a training, on all its data."""

    def __init__(
        self, network: type[MLP] | type[LSTM], reader: Reader, rng: np.random.Generator, members: int, hidden: int
    ) -> None:
        self.reader = reader
        with torch.random.fork_rng(devices=[]):
            self.members = [network(reader.vocabulary.size, reader.roles, hidden, hidden) for _ in range(members)]
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        for member in self.members:
            initialise(member, generator)

    def train(
        self,
        candidates: Sequence[Candidate],
        scores: NDArray[np.float64],
        steps: int,
        rate: float,
        rng: np.random.Generator,
    ) -> None:
        """Go on from the present weights. scores (n,) in [0, 1]; the loss is L1."""
        known = [self.reader.read(candidate) for candidate in candidates]
        goals = torch.from_numpy(np.asarray(scores, np.float32))
        order, folds, parts = rng.permutation(len(known)), len(self.members), []
        for fold in range(folds):
            kept = [int(i) for place, i in enumerate(order) if folds == 1 or place % folds != fold] or [0]
            parts.append((self.members[fold], self.reader.blocks([known[i] for i in kept]), goals[kept]))
        weights = [weight for member in self.members for weight in member.parameters()]
        optimiser = torch.optim.Adam(weights, rate, fused=True)
        for _ in range(steps):
            loss = torch.stack([nn.functional.l1_loss(member(blocks), goal) for member, blocks, goal in parts]).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def predict(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """(n,) means of the members, in (0, 1)."""
        blocks = self.reader.blocks([self.reader.read(candidate) for candidate in candidates])
        with torch.no_grad():
            found = torch.stack([member(blocks) for member in self.members]).mean(0)
        return found.numpy().astype(np.float64)
