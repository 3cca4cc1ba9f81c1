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
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from automl_ext.tasks.pruning import prepared as shared_state
from automl_ext.tasks.pruning.dense import check_not_negative, check_positive, fresh, rewarded_accuracy
from automl_ext.tasks.pruning.evaluate import Recovery, restore, size_metrics, slim
from automl_ext.tasks.pruning.groups import Kind
from automl_ext.tasks.pruning.images import check_calibration, rewarded_data
from automl_ext.tasks.pruning.inputs import check_fit, check_inputs
from automl_ext.tasks.pruning.latency_measure import tabulate
from automl_ext.tasks.pruning.layout import lay_out
from automl_ext.tasks.pruning.macs import total_macs
from automl_ext.tasks.pruning.network import PruningError, own_weights
from automl_ext.tasks.pruning.prepared import Prepared
from automl_ext.tasks.pruning.protocol import Goal, Protocol, Traded, demand
from automl_ext.tasks.pruning.reach import Limits, check_reach
from automl_ext.tasks.pruning.sieve import Sieve, cheap_images, cheaply_slim, check_sieve, needs_grams, saying
from automl_ext.tasks.pruning.space import Observer
from automl_ext.tasks.pruning.stored import WEIGHTS, store, to_go_on_from
from automl_ext.tasks.pruning.teacher import load_teacher, make_teacher
from automl_ext.tasks.pruning.timing import MEASURED, Laps
from automl_ext.tasks.pruning.tuning import Schedule, tune, tuning
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_file
from torch import nn

from automl_ext.data import Split, normalise
from automl_ext.env import Job, Report, SearchEnv
from automl_ext.latency import latency
from automl_ext.objective import Metrics
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Walk
from automl_ext.training import Recipe, accuracy, resolve_device, train

__all__ = ["PruningEnv"]


@final
class PruningEnv(SearchEnv):
    """Search the channels kept in each group of coupled layers.

    protocol: resource, within `macs_kept`, `params_kept` or `latency_kept` (shares of the dense network's, one of them;
    by default half of the MACs, all with several objectives), or accuracy-macs, accuracy-params, free, on AMC's reward.
    Latency is by a table that `prepare` measures first of all, see latency_table.py.
    objectives: metric -> goal, several at once, the first is the primary one. See protocol.py.
    network: a key of network.NETWORKS, package.module:function that returns an nn.Module, or the folder of an exported
    network. weights: its trained state dict (.safetensors or .npz); an exported network has its own; without, the
    network is trained in `prepare` for `epochs` at `rate`. inputs: function from images (n, c, h, w) to what it
    gets, see inputs.py. width: multiplier of the channels, for NETWORKS.
    round_to: counts are multiples of it. low: least kept of a group, a count from 1 up or a share below 1.
    high: kind of layer -> largest share of its channels that may go. protect: layers never pruned. See space.py.
    importance: how channels are ranked, see importance.py and criteria.py. reconstruction, refit, ridge, points,
    calibration_images: see reconstruct.py; points are per map and image. recalibrate: batch-norm statistics anew.
    sieve: a cheap accuracy first, for `stopping:` to judge, see sieve.py.
    reward_images: how many validation images an evaluation uses. mean, std: for the inputs, if not the train part's.
    tune_rate, tune_batch, tune_decay, tune_schedule, flip, shift: fine-tuning, for `budget` epochs, see tuning.py.
    teacher_epochs: fine-tuning follows the dense network, tuned for so many epochs, see teacher.py.
    latency_batch: images a pass in `latency_ms`.
    Raises ValueError (PruningError, DataError), one line, for whatever cannot work.
    """

    def __init__(
        self,
        network: str = "small",
        weights: str | None = None,
        dataset: str = "digits",
        *,
        root: str | None = None,
        width: Annotated[float, Field(gt=0, le=10)] = 1,
        inputs: str | None = None,
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
        sieve: Sieve = "none",
        reward_images: Annotated[int, Field(ge=1, le=10_000_000)] = 1000,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        rate: Annotated[float, Field(gt=0, le=10)] = 0.1,
        tune_rate: Annotated[float, Field(gt=0, le=10)] = 0.02,
        tune_batch: Annotated[int, Field(ge=1, le=1_000_000)] = 64,
        tune_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4,
        tune_schedule: Schedule = "one-cycle",
        teacher_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None,
        flip: bool = False,
        shift: Annotated[int, Field(ge=0, le=64)] = 0,
        latency_batch: Annotated[int, Field(ge=1, le=4096)] = 1,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        seed: int = 0,
    ) -> None:
        check_positive(points=points, calibration_images=calibration_images, reward_images=reward_images, epochs=epochs,
                       rate=rate, tune_rate=tune_rate, tune_batch=tune_batch, latency_batch=latency_batch,
                       width=width)  # fmt: skip
        self.demand = demand(protocol, objectives, macs_kept, params_kept, latency_kept)
        self.waits, self.measured = self.demand.on_latency, (*MEASURED, *self.demand.measured)
        check_not_negative(ridge=ridge, tune_decay=tune_decay)
        check_calibration(recalibrate or sieve == "gram", calibration_images)
        self.network, self.weights = network, weights or own_weights(network)
        self.dataset, self.inputs, self.width, self.seed, self.importance = dataset, inputs, width, seed, importance
        self.points, self.calibration_images, self.latency_batch = points, calibration_images, latency_batch
        self.recovery, self.sieve = Recovery(reconstruction, refit, ridge, recalibrate), sieve
        check_sieve(sieve, self.recovery)
        self.device = resolve_device(device)
        self.training = Recipe(epochs=epochs, rate=rate, batch=64, flip=flip, shift=shift)
        self.tuning = tuning(tune_rate, tune_batch, tune_decay, tune_schedule, flip, shift)
        self.teacher_epochs = teacher_epochs
        self.data = rewarded_data(dataset, root, seed, mean, std, reward_images)
        dense, example = self._dense(), torch.zeros((1, *self.data.train.image.shape[1:]))
        check_inputs(inputs, example)
        check_fit(dense, example, network, inputs, dataset, self.data.classes)
        self._layout = lay_out(dense, example, importance, Limits(round_to, low, high, tuple(protect)), self.demand)
        self._layout.refer(self.weights is not None)
        self.plan, self.space, self.references = self._layout.plan, self._layout.space, self._layout.references
        self.macs_dense = total_macs(self.plan, {})
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

        return ExchangeVariation(self.space, self.plan, self._layout.legal, self._layout.target, self.demand.count)

    # ---------------------------------------------------------------- evaluation

    def prepare(self, folder: Path) -> None:
        """Measure latencies, if needed, train or load the dense network, rank its channels, run it for calibration."""
        network = self._dense()
        if self.demand.tabled:
            shape, batch = self.data.train.image.shape[1:], self.latency_batch
            tabulate(network.to(self.device), self.plan, shape, batch, self._layout.legal, folder)
            self.demand.latency.load(folder, self.plan)
            check_reach(self.plan, self._layout.limits, self.demand.share, self.demand.count, self.demand.option)
        if self.weights is None:
            train(network, self.data.train, self.data, self.training, seed=self.seed, device=self.device)
        network.to(self.device).eval()
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(self.data.train), generator=generator)[: self.calibration_images]
        images = normalise(self.data.train.image[chosen], self.data.mean, self.data.std, self.device)
        prepared = shared_state.make(
            network, self.plan, images, self.data.train.label[chosen],
            importance=self.importance, points=self.points, ridge=self.recovery.ridge, generator=generator,
            with_grams=needs_grams(self.sieve, self.recovery),
        )  # fmt: skip
        facts = {"network": self.network, "macs": self.macs_dense, "accuracy": self._accuracy(network)}
        shared_state.save(prepared, folder, facts)
        if self.teacher_epochs is not None:
            make_teacher(network, self.data, self.tuning, self.teacher_epochs, self.seed, self.device, folder)

    def ready(self, folder: Path) -> None:
        """Under `latency_kept` Algorithm 1 and the references go by the measured table from now on."""
        if self.waits:
            self.demand.latency.load(folder, self.plan)
            self._layout.refer(self.weights is not None)

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """Prune, reconstruct and measure; with a budget, fine-tune for so many epochs and measure again.

        The counts may be any from 1 to all channels. Leaves the weights in `job.folder`; a promoted trial goes on from
        its parent's, see stored.py. With a `sieve` it reports the cheap accuracy as step 1 and the full one as step 2.
        """
        prepared, counts, laps = self._prepared(job), _counts(job.candidate), Laps()
        earlier = to_go_on_from(job, counts, str(self.device))
        sieved: dict[str, float] = {}
        say = saying(report, self.demand, self.plan, counts, ahead=0 if self.sieve == "none" else 2)
        if earlier is None and self.sieve != "none":
            cheap = cheaply_slim(self.sieve, prepared, counts, self.recovery)
            sieved = {"accuracy_sieve": self._accuracy(cheap, cheap_images(self.data.val))}
            laps.end("sieve")
            if say(-1, sieved["accuracy_sieve"]):
                metrics = {"accuracy": sieved["accuracy_sieve"], **sieved}
                return self._whole(metrics, prepared, counts, cheap, laps, stopped=True)
        if earlier is None:
            network = slim(prepared, counts, self.recovery, laps)
            untuned = self._accuracy(network)
            if self.sieve != "none":
                say(0, untuned)
        else:
            network, untuned = restore(prepared, counts, earlier.state), earlier.untuned
        metrics, epochs = {"accuracy": untuned, **sieved}, 0
        if job.budget:
            laps.end("measure")
            metrics["accuracy_untuned"] = untuned
            epochs = self._tune(network, job, say, earlier.epochs if earlier else 0)
            laps.end("tune")
            metrics["accuracy"] = self._accuracy(network)
        if job.folder is not None:
            store(network, counts, epochs, untuned, Path(job.folder))
        return self._whole(metrics, prepared, counts, network, laps)

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy` of the weights that the parent left, or of new ones at the same budget; and the sizes."""
        prepared, counts = self._prepared(job), _counts(job.candidate)
        network = self._finished(prepared, counts, job, report)
        right = accuracy(network, self.data.test, self.data, self.device, batch=100)
        return {"test_accuracy": right, **self._sizes(prepared, counts, network)}

    def export(self, job: Job, folder: Path) -> None:
        """Files that load without this package, see export.py."""
        from automl_ext.tasks.pruning.export import write

        prepared, counts = self._prepared(job), _counts(job.candidate)
        network = self._finished(prepared, counts, job, lambda step, value: False).cpu()
        sizes = size_metrics(prepared, counts, network)
        metrics = {"accuracy": accuracy(network, self.data.val, self.data, torch.device("cpu"), batch=100), **sizes}
        write(network, prepared, counts, metrics, (self.data.mean, self.data.std), folder)

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`channels.svg`: channels kept a group, MACs a layer. `couplings.svg`: what is coupled, what is left alone."""
        from automl_ext.tasks.pruning.couplings import draw_couplings
        from automl_ext.tasks.pruning.illustrate import draw

        draw(self.plan, _counts(candidate), folder / "channels.svg")
        whole = {name for name, counts in self._layout.legal.items() if len(counts) == 1}
        draw_couplings(self.plan, whole, folder / "couplings.svg")

    # ---------------------------------------------------------------- parts

    def _dense(self) -> nn.Module:
        """A fresh dense network, with the stored weights where there are any."""
        return fresh(self.network, self.weights, self.data, self.seed, self.width, self.inputs)

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

    def _tune(self, network: nn.Module, job: Job, report: Report, done: int = 0) -> int:
        """Fine-tune to `job.budget` epochs, of which `done` are behind the network. How many are behind it then."""
        teacher = None
        if self.teacher_epochs is not None:
            teacher = load_teacher(self._dense(), self.device, Path(job.shared or ""))
        return tune(network, self.data, self.tuning, job, self.device, report, done, teacher)

    def _whole(
        self,
        metrics: dict[str, float],
        prepared: Prepared,
        counts: dict[str, int],
        network: nn.Module,
        laps: Laps,
        stopped: bool = False,
    ) -> Metrics:
        """`metrics`, which has the accuracy, with everything else; latency of a stopped trial only if it is wanted."""
        metrics |= self.demand.reward(self.plan, counts, metrics["accuracy"])
        if stopped and all(objective.name not in MEASURED for objective in self.objectives):
            metrics |= size_metrics(prepared, counts, network) | self.demand.sizes(self.plan, counts)
        else:
            metrics |= self._sizes(prepared, counts, network)
        laps.end("measure")
        return {**metrics, **laps.seconds}

    def _finished(self, prepared: Prepared, counts: dict[str, int], job: Job, report: Report) -> nn.Module:
        """The network as its trial left it, or pruned and tuned anew where there is no such folder."""
        stored = Path(job.parent) / WEIGHTS if job.parent is not None else None
        if stored is not None and stored.is_file():
            return restore(prepared, counts, load_file(stored, str(self.device)))
        network = slim(prepared, counts, self.recovery)
        if job.budget:
            self._tune(network, job, report)
        return network

    def _accuracy(self, network: nn.Module, images: Split | None = None) -> float:
        """On `images`, or the reward images, in [0, 1]."""
        return rewarded_accuracy(network, self.data, self.device, images)

    def _sizes(self, prepared: Prepared, counts: Mapping[str, int], network: nn.Module) -> dict[str, float]:
        device = next(network.parameters()).device
        passes = latency(network, prepared.example.to(device), self.latency_batch)
        return {**size_metrics(prepared, counts, network), **self.demand.sizes(self.plan, counts), **passes}


def _counts(candidate: Candidate) -> dict[str, Any]:
    return dict(candidate)
