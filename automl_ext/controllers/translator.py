"""NAO's networks: an encoder of sentences, a predictor on their embedding, and a decoder back to sentences.

Every step output of the encoder has unit length; so has the embedding, the mean of them, scaled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from automl_ext.controllers.sentences import START, Batch, Embedding, initialise, mean

Pick = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def unit(values: Tensor) -> Tensor:
    """Scaled to length 1 along the last axis."""
    return nn.functional.normalize(values, dim=-1)


class Encoder(nn.Module):
    """Sentences -> step outputs (n, steps, hidden) of length 1, 0 at padding."""

    def __init__(self, tokens: int, slots: int, hidden: int) -> None:
        super().__init__()
        self.embedding = Embedding(tokens, hidden)
        self.slot = nn.Embedding(slots, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)

    def forward(self, words: Batch) -> Tensor:
        outputs, _ = self.lstm(self.embedding(words.tokens, words.units) + self.slot(words.slots))
        return unit(outputs) * words.real[..., None]


class Predictor(nn.Module):
    """Embedding (n, hidden) -> score in (0, 1), (n,)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, embedding: Tensor) -> Tensor:
        score: Tensor = torch.sigmoid(self.layers(embedding))[:, 0]
        return score


class Decoder(nn.Module):
    """An LSTM that starts from the embedding and looks at the encoder's steps (dot-product attention)."""

    def __init__(self, tokens: int, slots: int, hidden: int) -> None:
        super().__init__()
        self.embedding = Embedding(tokens, hidden)
        self.slot = nn.Embedding(slots, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.mix = nn.Linear(2 * hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, tokens)

    def forward(
        self, last: Tensor, units: Tensor, slots: Tensor, state: tuple[Tensor, Tensor], steps: Tensor, real: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits (n, t, tokens) and the next state.

        last, units (n, t): the tokens before; slots (n, t): what is decided; steps, real: of the encoder.
        """
        found, state = self.lstm(self.embedding(last, units) + self.slot(slots), state)
        weights = (self.query(found) @ steps.transpose(1, 2)).masked_fill(~real[:, None], -1e9).softmax(-1)
        logits: Tensor = self.out(torch.tanh(self.mix(torch.cat([weights @ steps, found], -1))))
        return logits, state


class Translator(nn.Module):
    """Encoder, predictor and decoder, trained together. fitting (slots, tokens): which tokens can stand where."""

    fitting: Tensor

    def __init__(self, tokens: int, fitting: Tensor, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            slots = len(fitting)
            self.encoder = Encoder(tokens, slots, hidden)
            self.predictor = Predictor(hidden)
            self.decoder = Decoder(tokens, slots, hidden)
        self.register_buffer("fitting", fitting)
        initialise(self, generator)

    def embed(self, steps: Tensor, real: Tensor) -> Tensor:
        """(n, hidden) of length 1."""
        return unit(mean(steps, real))

    def losses(self, words: Batch, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error of the scores (n,), and mean negative log-likelihood of a token (teacher forcing)."""
        steps = self.encoder(words)
        embedding = self.embed(steps, words.real)
        error = nn.functional.mse_loss(self.predictor(embedding), scores)
        last = torch.cat([torch.full_like(words.tokens[:, :1], START), words.tokens[:, :-1]], 1)
        units = torch.cat([torch.zeros_like(words.units[:, :1]), words.units[:, :-1]], 1)
        state = (embedding[None], embedding[None])
        logits, _ = self.decoder(last, units, words.slots, state, steps, words.real)
        logits = logits.masked_fill(~self.fitting[words.slots], -1e9)
        surprise = nn.functional.cross_entropy(logits[words.real], words.tokens[words.real], reduction="sum")
        return error, surprise / words.real.sum().clamp(min=1)

    def climbed(self, words: Batch, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(step outputs (n, steps, hidden), score (n,)) after a step of `lengths` (n,) up the predictor's gradient.

        The gradient with regard to the step outputs is scaled so that its rows have length 1 on average (the root of
        the mean square); the outputs are brought back to length 1.
        """
        steps = self.encoder(words).detach().requires_grad_()
        score = self.predictor(self.embed(steps, words.real)).sum()
        (slope,) = torch.autograd.grad(score, steps)
        scale = (slope.square().sum((1, 2)) / words.real.sum(1).clamp(min=1)).sqrt().clamp(min=1e-12)
        with torch.no_grad():
            moved = unit(steps + lengths[:, None, None] * slope / scale[:, None, None]) * words.real[..., None]
            return moved, self.predictor(self.embed(moved, words.real))
