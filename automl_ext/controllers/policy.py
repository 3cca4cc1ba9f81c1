"""The policy network: an LSTM that decides a walk of any space step by step.

Shared by the searchers that learn by policy gradients. The controller of B. Zoph, Q. V. Le, "Neural Architecture Search
with Reinforcement Learning", ICLR 2017, arXiv 1611.01578, with what a general space needs.

At each decision the LSTM reads the value decided last and the slot it is about to decide. From its output come

- for a choice: a softmax over what is legal; decisions of one kind and the same options share its weights;
- for an option that refers to an earlier decision: a score by attention on what the LSTM put out right behind that
  decision, v . tanh(W_earlier h_j + W_now h_i), the paper's anchor points, in the same softmax as the other options;
- for a number: a truncated logistic distribution on the declared unit range, cut to what is legal and renormalised. An
  Integer has the probability of its cell, a Real a density in the unit range. So narrowing masks numbers as it masks
  options, nothing is clipped afterwards, and what is drawn is what is realised.

Differs from the paper:
1. The slot is an input, beside the last value, so that decisions that share a head can be told apart.
2. A set of skips is a row of choices whose option `refers`: the sigmoid of a difference of two scores.
3. Decisions that narrowing settles are read by the LSTM, too; they have no probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from automl_ext.controllers import logistic
from automl_ext.controllers.trace import ABSENT, STATIC, Interval, Layout, Options, Trace
from automl_ext.decisions import Value
from automl_ext.space import Candidate, Space, Walk


@dataclass(frozen=True)
class Batch:
    """Traces as tensors, padded to the longest: b candidates of up to t decisions, n of them open in all.

    slots, rows, slopes (b, t) and parts (b, t): what the LSTM reads. choices (c, ...): at, and for each of up to o
    options its row, where it points, whether it points and whether it is legal. numbers (m, ...): at, row, and
    low, span, left, size of the interval. order (n,): choices and numbers, in the order of the traces. owner (n,): the
    candidate of each. Places in `at` and `points` count over all b * t; b * t stands for no decision.
    """

    slots: Tensor
    rows: Tensor
    slopes: Tensor
    parts: Tensor
    at: Tensor
    option: Tensor
    points: Tensor
    pointing: Tensor
    legal: Tensor
    chosen: Tensor
    number_at: Tensor
    number_row: Tensor
    interval: Tensor
    order: Tensor
    owner: Tensor


class Policy(nn.Module):
    """hidden: width of the LSTM and of all embeddings. layers: of the LSTM. init: weights start within +- init."""

    def __init__(
        self, space: Space, generator: torch.Generator, hidden: int, layers: int = 1, init: float = 0.1
    ) -> None:
        super().__init__()
        self.layout = Layout(space)
        self.slot = nn.Parameter(torch.empty(self.layout.slots, hidden))
        self.value = nn.Parameter(torch.empty(self.layout.rows, hidden))
        self.score = nn.Parameter(torch.empty(self.layout.rows, hidden))
        self.bias = nn.Parameter(torch.empty(self.layout.rows, 1))
        with torch.random.fork_rng(devices=[]):
            self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)
            self.earlier, self.now = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-init, init, generator=generator)

    @torch.no_grad()
    def sample(self, rng: np.random.Generator) -> tuple[Candidate, list[float]]:
        """A candidate, and the log-probability of each of its steps."""
        walk, trace = Walk(self.layout.space), Trace()
        self.layout.read(walk, trace)
        outputs: list[Tensor] = []
        state = self._start()
        log_probs: list[float] = []
        drawn: list[tuple[int, Tensor]] = []
        while not walk.done:
            for at in range(len(outputs), len(trace.slots)):
                outputs.append(self._next(trace, at, state))
            asked = trace.open[-1]
            if isinstance(asked, Options):
                value, log_prob = self._choose(asked, outputs, rng)
            else:
                value, raw = self._draw(asked, outputs[-1], rng)
                drawn.append((len(log_probs), raw))
                log_prob = 0.0
            self.layout.decide(walk, trace, value)
            log_probs.append(log_prob)
        if drawn:
            ends = torch.tensor([_ends(asked) for asked in trace.open if isinstance(asked, Interval)])
            found = _log_prob(*logistic.shape(torch.cat([raw for _, raw in drawn])), ends)
            for (index, _), log_prob in zip(drawn, found.tolist(), strict=True):
                log_probs[index] = log_prob
        return walk.candidate, log_probs

    def batch(self, traces: Sequence[Trace]) -> Batch:
        """The traces as tensors, to be walked again as often as needed. At least one trace with a decision."""
        return _batch(traces)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(log-probability, entropy) of all open decisions, both (n,), candidate by candidate in walking order.

        The entropy is in nats: exact for choices, over equal bins of the legal range for numbers.
        """
        read = embedding(batch.slots, self.slot) + embedding(batch.rows, self.value)
        read = read + batch.parts[..., None] * embedding(batch.slopes, self.value)
        output = self.lstm(read)[0].flatten(0, 1)
        output = torch.cat([output, output.new_zeros(1, output.shape[1])])
        found = []
        if len(batch.at):
            found.append(self._choices(batch, output))
        if len(batch.number_at):
            found.append(self._numbers(batch, output))
        log_prob, entropy = (torch.cat(parts)[batch.order] for parts in zip(*found, strict=True))
        return log_prob, entropy

    def _choices(self, batch: Batch, output: Tensor) -> tuple[Tensor, Tensor]:
        now = output[batch.at]
        if bool(batch.pointing.any()):
            scores = self._scores(now, batch.option, output[batch.points], batch.pointing)
        else:
            scores = self._plain(now, batch.option)
        log_p = torch.log_softmax(scores.masked_fill(~batch.legal, -torch.inf), dim=1)
        chosen = log_p.gather(1, batch.chosen[:, None])[:, 0]
        log_p = log_p.masked_fill(~batch.legal, 0.0)
        return chosen, -(log_p.exp() * log_p).sum(dim=1)

    def _numbers(self, batch: Batch, output: Tensor) -> tuple[Tensor, Tensor]:
        centre, width = logistic.shape(self._raw(output[batch.number_at], batch.number_row))
        spread = logistic.entropy(centre, width, batch.interval[:, 0], batch.interval[:, 1])
        return _log_prob(centre, width, batch.interval), spread

    def _start(self) -> list[tuple[Tensor, Tensor]]:
        zero = torch.zeros(1, self.lstm.hidden_size)
        return [(zero, zero)] * self.lstm.num_layers

    def _next(self, trace: Trace, at: int, state: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The LSTM's output (1, hidden) at place `at` of a trace, one layer after the other; moves `state` on."""
        row, slope, part = trace.before[at]
        read = (self.slot[trace.slots[at]] + self.value[row])[None]
        if part:
            read = read + part * self.value[slope]
        for layer, weights in enumerate(self.lstm.all_weights):
            state[layer] = torch.lstm_cell(read, state[layer], *weights)
            read = state[layer][0]
        return read

    def _choose(self, asked: Options, outputs: Sequence[Tensor], rng: np.random.Generator) -> tuple[Value, float]:
        """A legal option of an open choice, and its log-probability. outputs: one (1, hidden) a decision so far."""
        rows, now = torch.tensor(asked.rows), outputs[-1]
        if any(place != STATIC for place in asked.pointers):
            earlier = [torch.zeros_like(now) if place < 0 else outputs[place + 1] for place in asked.pointers]
            pointing = torch.tensor([[place != STATIC for place in asked.pointers]])
            scores = self._scores(now, rows[None], torch.stack(earlier, dim=1), pointing)[0]
        else:
            scores = self._plain(now, rows[None])[0]
        log_p = torch.log_softmax(scores, dim=0)
        shares = np.cumsum(log_p.exp().numpy().astype(np.float64))
        index = min(int(np.searchsorted(shares, rng.random() * shares[-1], side="right")), len(shares) - 1)
        return asked.legal[index], float(log_p[index])

    def _draw(self, asked: Interval, now: Tensor, rng: np.random.Generator) -> tuple[Value, Tensor]:
        """A legal value of an open number, and the outputs (1, 2) that it was drawn by. now: (1, hidden)."""
        raw = self._raw(now, torch.tensor([asked.row]))
        centre, width = logistic.shape(raw)
        ends = asked.low, asked.low + asked.span
        return asked.nearest(logistic.quantile(float(centre), float(width), *ends, float(rng.random()))), raw

    def _scores(self, now: Tensor, rows: Tensor, earlier: Tensor, pointing: Tensor) -> Tensor:
        """Scores (n, o) of options that point: now (n, hidden), earlier (n, o, hidden); rows and pointing (n, o)."""
        attention = torch.tanh(self.earlier(earlier) + self.now(now)[:, None])
        features = torch.where(pointing[..., None], attention, now[:, None])
        return (features * embedding(rows, self.score)).sum(dim=2) + embedding(rows, self.bias)[..., 0]

    def _plain(self, now: Tensor, rows: Tensor) -> Tensor:
        """Scores (n, o) of options that do not point."""
        return torch.bmm(embedding(rows, self.score), now[..., None])[..., 0] + embedding(rows, self.bias)[..., 0]

    def _raw(self, now: Tensor, row: Tensor) -> Tensor:
        """The two outputs (m, 2) of the numbers whose centre's rows are `row` (m,); now (m, hidden)."""
        return self._plain(now, torch.stack([row, row + 1], dim=1))


def _ends(asked: Interval) -> tuple[float, float, float, float]:
    return (asked.low, asked.span, asked.left, asked.size)


def _log_prob(centre: Tensor, width: Tensor, interval: Tensor) -> Tensor:
    """(m,) of the cells, or densities of the points, in interval (m, 4): low, span, left, size."""
    low, span, left, size = interval.unbind(dim=1)
    whole = logistic.log_mass(centre, width, low, span)
    mass = logistic.log_mass(centre, width, left, torch.where(size > 0, size, torch.ones_like(size)))
    return torch.where(size > 0, mass, logistic.log_density(centre, width, left)) - whole


def _batch(traces: Sequence[Trace]) -> Batch:
    length = max(len(trace.slots) for trace in traces)
    nowhere = len(traces) * length
    slots, rows, slopes = (np.zeros((len(traces), length), np.int64) for _ in range(3))
    parts = np.zeros((len(traces), length), np.float32)
    choices: list[tuple[int, Options]] = []
    numbers: list[tuple[int, Interval]] = []
    kinds: list[tuple[bool, int]] = []
    owner: list[int] = []
    for index, trace in enumerate(traces):
        here = slice(0, len(trace.slots))
        slots[index, here] = trace.slots
        rows[index, here], slopes[index, here], parts[index, here] = zip(*trace.before, strict=True)
        for asked in trace.open:
            owner.append(index)
            if isinstance(asked, Options):
                kinds.append((False, len(choices)))
                choices.append((index * length, asked))
            else:
                kinds.append((True, len(numbers)))
                numbers.append((index * length, asked))
    most = max((len(asked.rows) for _, asked in choices), default=1)
    option = np.zeros((len(choices), most), np.int64)
    points = np.full((len(choices), most), nowhere, np.int64)
    pointing, legal = np.zeros((2, len(choices), most), bool)
    for place, (start, asked) in enumerate(choices):
        count = len(asked.rows)
        option[place, :count], legal[place, :count] = asked.rows, True
        pointing[place, :count] = [pointer != STATIC for pointer in asked.pointers]
        points[place, :count] = [nowhere if p in (STATIC, ABSENT) else start + p + 1 for p in asked.pointers]
    tensor = torch.from_numpy
    return Batch(
        tensor(slots),
        tensor(rows),
        tensor(slopes),
        tensor(parts),
        torch.tensor([start + asked.at for start, asked in choices], dtype=torch.int64),
        tensor(option),
        tensor(points),
        tensor(pointing),
        tensor(legal),
        torch.tensor([asked.chosen for _, asked in choices], dtype=torch.int64),
        torch.tensor([start + asked.at for start, asked in numbers], dtype=torch.int64),
        torch.tensor([asked.row for _, asked in numbers], dtype=torch.int64),
        torch.tensor([_ends(asked) for _, asked in numbers], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([len(choices) * number + index for number, index in kinds], dtype=torch.int64),
        torch.tensor(owner, dtype=torch.int64),
    )


__all__ = ["Batch", "Policy"]
