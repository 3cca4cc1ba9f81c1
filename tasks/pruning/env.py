"""AMC's pruning as a search target: how many channels each group of coupled layers of a trained network keeps.

He, Lin, Liu, Wang, Li, Han: "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018,
arXiv 1802.03494. Differs from the paper (space.py lists what differs in the space and in the state):

1. Every k x k convolution is reconstructed, in the order of the network and from the pruned network's own inputs; the
   released code reconstructs 1x1 convolutions and linear layers only. Layers that end in a sum also make up for what
   the sum's other side lost, and layers that keep all their inputs are refitted to the inputs that they now get.
2. Channels are really removed during the search, too; nothing is masked.
3. Accuracy is top-1 on a fixed part of the validation data.
4. Channel pruning only, under the budgets and rewards of protocol.py. The state counts MACs whatever the budget is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from automl_ext.tasks.pruning import prepared as shared_state
from automl_ext.tasks.pruning.criteria import check_criterion
from automl_ext.tasks.pruning.evaluate import Recovery, restore, size_metrics, slim
from automl_ext.tasks.pruning.flow import read
from automl_ext.tasks.pruning.groups import Kind, inspect
from automl_ext.tasks.pruning.images import rewarded_data
from automl_ext.tasks.pruning.latency_measure import tabulate
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError, build, load_weights
from automl_ext.tasks.pruning.params import with_params
from automl_ext.tasks.pruning.prepared import Prepared, tensors
from automl_ext.tasks.pruning.protocol import Goal, Protocol, Traded, demand
from automl_ext.tasks.pruning.reference import refer
from automl_ext.tasks.pruning.space import Observer, check_reachable, keep_space, options
from automl_ext.tasks.pruning.timing import MEASURED, Laps, latency
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

from automl_ext.data import normalise
from automl_ext.env import Job, Report, SearchEnv
from automl_ext.objective import Metrics
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Walk
from automl_ext.training import Recipe, accuracy, lent_seed, resolve_device, train

__all__ = ["PruningEnv"]

WEIGHTS = "weights.safetensors"


@final
class PruningEnv(SearchEnv):
    """Search the channels kept in each group of coupled layers.

    protocol: resource, within `macs_kept`, `params_kept` or `latency_kept` (shares of the dense network's, one of them;
    by default half of the MACs, all with several objectives), or accuracy-macs, accuracy-params, free, on AMC's reward.
    Latency is by a table that `prepare` measures first of all, see latency_table.py.
    objectives: metric -> goal, several at once, the first is the primary one. See protocol.py.
    network: a key of network.NETWORKS, or package.module:function that returns an nn.Module. weights: its trained state
    dict (.safetensors or .npz); without it the network is trained in `prepare` for `epochs` at `rate`.
    round_to: counts are multiples of it. low: least kept of a group, a count from 1 up or a share below 1.
    high: kind of layer -> largest share of its channels that may go. protect: layers never pruned. See space.py.
    importance: how channels are ranked, see importance.py and criteria.py. reconstruction, refit, ridge, points,
    calibration_images: see reconstruct.py; points are per map and image. recalibrate: batch-norm statistics anew.
    reward_images: how many validation images an evaluation uses. mean, std: for the inputs, if not the train part's.
    tune_rate, flip, shift: fine-tuning, for `budget` epochs. latency_batch: images a pass in `latency_ms`.
    Raises ValueError (PruningError, DataError), one line, for whatever cannot work.
    """

    def __init__(
        self,
        network: str = "small",
        weights: str | None = None,
        dataset: str = "digits",
        *,
        root: str | None = None,
        protocol: Protocol = "resource",
        objectives: dict[Traded, Goal] | None = None,
        macs_kept: Annotated[float, Field(gt=0, le=1)] | None = None,
        params_kept: Annotated[float, Field(gt=0, le=1)] | None = None,
        latency_kept: Annotated[float, Field(gt=0, le=1)] | None = None,
        round_to: Annotated[int, Field(ge=1, le=4096)] = 1,
        low: float = 1,
        high: dict[Kind, Annotated[float, Field(ge=0, le=1)]] | None = None,
        protect: Sequence[str] = (),
        importance: Literal[
            "magnitude", "l2", "bn-scale", "taylor", "geometric-median", "reconstruction"
        ] = "magnitude",
        reconstruction: Literal["sequential", "gram", "none"] = "sequential",
        refit: bool = True,
        ridge: Annotated[float, Field(ge=0, le=1000)] = 0.1,
        points: Annotated[int, Field(ge=1, le=10_000)] = 10,
        calibration_images: Annotated[int, Field(ge=1, le=1_000_000)] = 500,
        recalibrate: bool = False,
        reward_images: Annotated[int, Field(ge=1, le=10_000_000)] = 1000,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        rate: Annotated[float, Field(gt=0, le=10)] = 0.1,
        tune_rate: Annotated[float, Field(gt=0, le=10)] = 0.02,
        flip: bool = False,
        shift: Annotated[int, Field(ge=0, le=64)] = 0,
        latency_batch: Annotated[int, Field(ge=1, le=4096)] = 1,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        seed: int = 0,
    ) -> None:
        _positive(points=points, calibration_images=calibration_images, reward_images=reward_images, epochs=epochs,
                  rate=rate, tune_rate=tune_rate, latency_batch=latency_batch)  # fmt: skip
        self.demand = demand(protocol, objectives, macs_kept, params_kept, latency_kept)
        self.waits, self.measured = self.demand.on_latency, (*MEASURED, *self.demand.measured)
        if ridge < 0:
            raise PruningError(f"ridge must not be negative, not {ridge}")
        self.network, self.weights, self.dataset = network, weights, dataset
        self.seed, self.importance = seed, importance
        self.points, self.calibration_images, self.latency_batch = points, calibration_images, latency_batch
        self.recovery = Recovery(reconstruction, refit, ridge, recalibrate)
        self.device = resolve_device(device)
        self.training = Recipe(epochs=epochs, rate=rate, batch=64, flip=flip, shift=shift)
        self.tuning = Recipe(rate=tune_rate, batch=64, flip=flip, shift=shift)
        self.data = rewarded_data(dataset, root, seed, mean, std, reward_images)
        self._lay_out(round_to, low, high, protect)
        self.objectives = self.demand.objectives
        self._observer = Observer(self.plan)
        self._state: tuple[str, Prepared] | None = None

    # ---------------------------------------------------------------- what searchers see

    def observe(self, walk: Walk) -> NDArray[np.float32]:
        """AMC's eleven features, see space.FEATURES: (11,) in [0, 1]."""
        return self._observer(walk)

    @property
    def variation(self) -> Variation:
        """Mutation moves MACs from one group to another, see variation.py; the generic one without a budget."""
        if self.demand.free:
            return super().variation
        from automl_ext.tasks.pruning.variation import ExchangeVariation

        return ExchangeVariation(self.space, self.plan, self._legal, self._target, self.demand.count)

    # ---------------------------------------------------------------- evaluation

    def prepare(self, folder: Path) -> None:
        """Measure latencies, if needed, train or load the dense network, rank its channels, run it for calibration."""
        network = self._dense()
        if self.demand.tabled:
            shape, batch = self.data.train.image.shape[1:], self.latency_batch
            tabulate(network.to(self.device), self.plan, shape, batch, self._legal, folder)
            self.demand.latency.load(folder, self.plan)
            check_reachable(self.plan, self._legal, self._target, self.demand.count, self.demand.option)
        if self.weights is None:
            train(network, self.data.train, self.data, self.training, seed=self.seed, device=self.device)
        network.to(self.device).eval()
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(self.data.train), generator=generator)[: self.calibration_images]
        images = normalise(self.data.train.image[chosen], self.data.mean, self.data.std, self.device)
        prepared = shared_state.make(
            network, self.plan, images, self.data.train.label[chosen],
            importance=self.importance, points=self.points, ridge=self.recovery.ridge, generator=generator,
            with_grams=self.recovery.reconstruction == "gram",
        )  # fmt: skip
        facts = {"network": self.network, "macs": self.macs_dense, "accuracy": self._accuracy(network)}
        shared_state.save(prepared, folder, facts)

    def ready(self, folder: Path) -> None:
        """Under `latency_kept` Algorithm 1 and the references go by the measured table from now on."""
        if self.waits:
            self.demand.latency.load(folder, self.plan)
            self._refer()

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """Prune, reconstruct and measure; with a budget, fine-tune for so many epochs and measure again.

        The counts may be any from 1 to all channels. Leaves the weights in `job.folder`.
        """
        prepared, counts, laps = self._prepared(job), _counts(job.candidate), Laps()
        network = slim(prepared, counts, self.recovery, laps)
        metrics = {"accuracy": self._accuracy(network)}
        if job.budget:
            laps.end("measure")
            metrics["accuracy_untuned"] = metrics["accuracy"]
            self._tune(network, job, report)
            laps.end("tune")
            metrics["accuracy"] = self._accuracy(network)
        if job.folder is not None:
            save_file(tensors(network), Path(job.folder) / WEIGHTS)
        metrics |= self.demand.reward(self.plan, counts, metrics["accuracy"])
        metrics |= self._sizes(prepared, counts, network)
        laps.end("measure")
        return {**metrics, **laps.seconds}

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy` of the weights that the parent left, or of new ones at the same budget; and the sizes."""
        prepared, counts = self._prepared(job), _counts(job.candidate)
        network = self._finished(prepared, counts, job, report)
        right = accuracy(network, self.data.test, self.data, self.device, batch=100)
        return {"test_accuracy": right, **self._sizes(prepared, counts, network)}

    def export(self, job: Job, folder: Path) -> None:
        """`model.py`, `model.safetensors` and `recipe.json`, which need torch and safetensors only."""
        from automl_ext.tasks.pruning.export import write

        prepared, counts = self._prepared(job), _counts(job.candidate)
        network = self._finished(prepared, counts, job, lambda step, value: False).cpu()
        sizes = size_metrics(prepared, counts, network)
        metrics = {"accuracy": accuracy(network, self.data.val, self.data, torch.device("cpu"), batch=100), **sizes}
        write(network, prepared, counts, metrics, (self.data.mean, self.data.std), folder)

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`channels.svg`: channels kept a group, MACs a layer."""
        from automl_ext.tasks.pruning.illustrate import draw

        draw(self.plan, _counts(candidate), folder / "channels.svg")

    # ---------------------------------------------------------------- parts

    def _lay_out(self, round_to: int, low: float, high: Mapping[Kind, float] | None, protect: Sequence[str]) -> None:
        """What of the dense network can be pruned, the space of policies, and the references among them."""
        dense, cost = self._dense(), self.demand.count
        example = torch.zeros((1, *self.data.train.image.shape[1:]))
        _check_outputs(dense, example, self.network, self.dataset, self.data.classes)
        self.plan = inspect(dense, example)
        check_criterion(self.importance, dense, example, self.plan)
        if self.demand.on_params:
            self.plan = with_params(self.plan, dense, example)
        read(dense)
        self.macs_dense = total_macs(self.plan, {})
        self._legal = options(self.plan, round_to, low, high, protect)
        self._target = self.demand.share * cost(self.plan, {})
        self.space = keep_space(self.plan, self._legal, self._target, cost, self.demand.option)
        trained = dense if self.weights else None
        self.references = found = dict[str, Candidate]()
        self._refer = partial(refer, found, trained, example, self.plan, self._legal, self._target, cost)
        self._refer()

    def _dense(self) -> nn.Module:
        """A fresh dense network, with the stored weights where there are any."""
        with lent_seed(self.seed):
            network = build(self.network, self.data.train.image.shape[1], self.data.classes)
        if self.weights is not None:
            load_weights(network, self.weights)
        return network.eval()

    def _prepared(self, job: Job) -> Prepared:
        """What `prepare` left, read once a process."""
        if job.shared is None:
            raise PruningError("an evaluation needs the folder that prepare wrote (Job.shared)")
        if self._state is None or self._state[0] != job.shared:
            loaded = shared_state.load(Path(job.shared), self._dense(), self.plan, self.device)
            self._state = (job.shared, loaded)
            if self.demand.tabled:
                self.demand.latency.load(Path(job.shared), self.plan)
        return self._state[1]

    def _tune(self, network: nn.Module, job: Job, report: Report) -> None:
        recipe = replace(self.tuning, epochs=max(1, round(job.budget or 0)))
        train(network, self.data.train, self.data, recipe, seed=job.seed, device=self.device, report=report)
        network.eval()

    def _finished(self, prepared: Prepared, counts: dict[str, int], job: Job, report: Report) -> nn.Module:
        """The network as its trial left it, or pruned and tuned anew where there is no such folder."""
        stored = Path(job.parent) / WEIGHTS if job.parent is not None else None
        if stored is not None and stored.is_file():
            return restore(prepared, counts, load_file(stored, str(self.device)))
        network = slim(prepared, counts, self.recovery)
        if job.budget:
            self._tune(network, job, report)
        return network

    def _accuracy(self, network: nn.Module) -> float:
        """On the reward images, in [0, 1]. Channels-last is faster, and only used here."""
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        right = accuracy(network, self.data.val, self.data, self.device, batch=100)
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return right

    def _sizes(self, prepared: Prepared, counts: Mapping[str, int], network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        passes = latency(network, prepared.example.to(device), self.latency_batch)
        return {**size_metrics(prepared, counts, network), **self.demand.sizes(self.plan, counts), **passes}


def _counts(candidate: Candidate) -> dict[str, Any]:
    return dict(candidate)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise PruningError(f"{name} must be above 0, not {value}")


def _check_outputs(network: nn.Module, example: torch.Tensor, name: str, dataset: str, classes: int) -> None:
    try:
        with torch.no_grad():
            output = network(example)
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise PruningError(f"network {name!r} does not run on an image of {dataset!r}: {line}") from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (1, classes):
        raise PruningError(f"network {name!r} gives {shape} for one image, {dataset!r} needs (1, {classes})")
