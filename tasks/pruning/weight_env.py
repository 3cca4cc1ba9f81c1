"""AMC's fine-grained pruning as a search target: which share of its weights each layer of a trained network keeps.

He, Lin, Liu, Wang, Li, Han: "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018,
arXiv 1802.03494. Differs from the paper (weight_space.py lists what differs in the space and in the state):

1. After pruning, batch-norm statistics are estimated anew (`recalibrate`), before accuracy is measured; the paper says
   nothing of it.
2. Accuracy is top-1 on a fixed part of the validation data.
3. The paper's reward counts all parameters; biases and norms, which stay, are left out.
4. The iterative pruning of the paper (50, 35, 25, 20 % of the weights) is a run a round, see iterate.py.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
import torch
from automl_ext.tasks.pruning.dense import check_not_negative, check_positive, fresh, rewarded_accuracy
from automl_ext.tasks.pruning.flow import read
from automl_ext.tasks.pruning.groups import Kind, counted_layers
from automl_ext.tasks.pruning.images import check_calibration, rewarded_data
from automl_ext.tasks.pruning.inputs import check_fit, check_inputs
from automl_ext.tasks.pruning.network import PruningError, own_weights
from automl_ext.tasks.pruning.protocol import Goal
from automl_ext.tasks.pruning.reconstruct import reestimate_norms
from automl_ext.tasks.pruning.sparsity import held, masks_of, nonzero, rank_weights, weight_of, zero
from automl_ext.tasks.pruning.stored import WEIGHTS, store, to_go_on_from
from automl_ext.tasks.pruning.timing import Laps
from automl_ext.tasks.pruning.tuning import Schedule, tune, tuning
from automl_ext.tasks.pruning.weight_protocol import WeightProtocol, WeightTraded, weight_demand
from automl_ext.tasks.pruning.weight_reference import weight_references
from automl_ext.tasks.pruning.weight_space import WeightObserver, cost_of, counts_of, parts_of, share_space, target_of
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from automl_ext.artefact.tensors import tensors
from automl_ext.data import normalise
from automl_ext.env import Job, Report, SearchEnv, never_stop
from automl_ext.objective import Metrics
from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Walk
from automl_ext.training import Recipe, accuracy, resolve_device, train

__all__ = ["WeightPruningEnv"]

NETWORK, FACTS = "network.safetensors", "prepared.json"


@dataclass(frozen=True)
class _Start:
    """What a process keeps: the network before pruning and the ranking of each layer's weights. Never changed."""

    network: nn.Module
    ranking: Mapping[str, Tensor]


@final
class WeightPruningEnv(SearchEnv):
    """Search the share of its weights that each convolution and linear layer keeps; the others become zero.

    protocol: resource, within `weights_kept` (a share of the weights of all these layers; by default a half, all with
    several objectives) or `macs_kept` (of their MACs, those by zeros not counted), or accuracy-params, free, on AMC's
    reward. objectives: metric -> goal, several at once, the first is the primary one. See weight_protocol.py.
    network: a key of network.NETWORKS, package.module:function that returns an nn.Module, or the folder of an exported
    network. weights: its trained state dict (.safetensors or .npz), also a sparse one: what is zero stays so; an
    exported network has its own; without, the network is trained in `prepare` for `epochs` at `rate`. width, inputs: as
    PruningEnv has them.
    high: kind of layer -> largest share of its weights that may go, AMC's a_max. protect: layers never pruned.
    recalibrate: batch-norm statistics anew, from `calibration_images` of the train part.
    reward_images: how many validation images an evaluation uses. mean, std: for the inputs, if not the train part's.
    tune_rate, tune_batch, tune_decay, tune_schedule, flip, shift: fine-tuning, for `budget` epochs, in which zeros
    stay; see tuning.py.
    Raises ValueError (PruningError, DataError), one line, for whatever cannot work.
    """

    measured = ("seconds_prune", "seconds_recalibrate", "seconds_tune", "seconds_measure")

    def __init__(
        self,
        network: str = "small",
        weights: str | None = None,
        dataset: str = "digits",
        *,
        root: str | None = None,
        width: Annotated[float, Field(gt=0, le=10)] = 1,
        inputs: str | None = None,
        protocol: WeightProtocol = "resource",
        objectives: dict[WeightTraded, Goal] | None = None,
        weights_kept: Annotated[float, Field(gt=0, le=1)] | None = None,
        macs_kept: Annotated[float, Field(gt=0, le=1)] | None = None,
        high: dict[Kind, Annotated[float, Field(ge=0, le=1)]] | None = None,
        protect: Sequence[str] = (),
        recalibrate: bool = True,
        calibration_images: Annotated[int, Field(ge=1, le=1_000_000)] = 500,
        reward_images: Annotated[int, Field(ge=1, le=10_000_000)] = 1000,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        rate: Annotated[float, Field(gt=0, le=10)] = 0.1,
        tune_rate: Annotated[float, Field(gt=0, le=10)] = 0.02,
        tune_batch: Annotated[int, Field(ge=1, le=1_000_000)] = 64,
        tune_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4,
        tune_schedule: Schedule = "one-cycle",
        flip: bool = False,
        shift: Annotated[int, Field(ge=0, le=64)] = 0,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        seed: int = 0,
    ) -> None:
        check_positive(calibration_images=calibration_images, reward_images=reward_images, epochs=epochs, rate=rate,
                       tune_rate=tune_rate, tune_batch=tune_batch, width=width)  # fmt: skip
        check_not_negative(tune_decay=tune_decay)
        check_calibration(recalibrate, calibration_images)
        self.demand = weight_demand(protocol, objectives, weights_kept, macs_kept)
        self.network, self.weights, self.dataset, self.seed = network, weights or own_weights(network), dataset, seed
        self.width, self.inputs = width, inputs
        self.recalibrate, self.calibration_images = recalibrate, calibration_images
        self.device = resolve_device(device)
        self.training = Recipe(epochs=epochs, rate=rate, batch=64, flip=flip, shift=shift)
        self.tuning = tuning(tune_rate, tune_batch, tune_decay, tune_schedule, flip, shift)
        self.data = rewarded_data(dataset, root, seed, mean, std, reward_images)
        self._lay_out(high, protect)
        self.objectives = self.demand.objectives
        self._state: tuple[str, _Start] | None = None

    # ---------------------------------------------------------------- what searchers see

    def observe(self, walk: Walk) -> NDArray[np.float32]:
        """AMC's eleven features, see weight_space.WeightObserver: (11,) in [0, 1]."""
        return self._observer(walk)

    @property
    def variation(self) -> Variation:
        """Mutation moves weights between layers, see weight_variation.py; the generic one without a budget."""
        if self.space.narrow is None:
            return super().variation
        from automl_ext.tasks.pruning.weight_variation import WeightExchange

        return WeightExchange(self.space, self.parts, target_of(self.parts, self.demand.share))

    # ---------------------------------------------------------------- evaluation

    def prepare(self, folder: Path) -> None:
        """Train or load the network, and leave it with its accuracy."""
        network = self._fresh()
        if self.weights is None:
            train(network, self.data.train, self.data, self.training, seed=self.seed, device=self.device)
        network.to(self.device).eval()
        save_file(tensors(network), folder / NETWORK)
        facts = {
            "network": self.network,
            "weights": sum(part.weights for part in self.parts),
            "accuracy": rewarded_accuracy(network, self.data, self.device),
        }
        (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    def evaluate(self, job: Job, report: Report) -> Metrics:
        """Zero the smallest weights of each layer and measure; with a budget, fine-tune for so many epochs and measure
        again. Leaves the weights in `job.folder`; a promoted trial goes on from its parent's, see stored.py.
        """
        laps, counts = Laps(), counts_of(self.parts, job.candidate)
        earlier = to_go_on_from(job, counts, str(self.device))
        if earlier is None:
            network = self._sparse(job, laps)
            untuned = rewarded_accuracy(network, self.data, self.device)
        else:
            network, untuned = self._restored(job, earlier.state), earlier.untuned
        metrics, epochs = {"accuracy": untuned}, 0
        if job.budget:
            laps.end("measure")
            metrics["accuracy_untuned"] = untuned
            epochs = self._tune(network, job, report, earlier.epochs if earlier else 0)
            laps.end("tune")
            metrics["accuracy"] = rewarded_accuracy(network, self.data, self.device)
        if job.folder is not None:
            store(network, counts, epochs, untuned, Path(job.folder))
        metrics |= self._sizes(network)
        metrics |= self.demand.reward(round(1000 * metrics["weights_k"]), metrics["accuracy"])
        laps.end("measure")
        return {**metrics, **laps.seconds}

    def test(self, job: Job, report: Report) -> Metrics:
        """`test_accuracy` of the weights that the parent left, or of new ones at the same budget; and the sizes."""
        network = self._finished(job, report)
        right = accuracy(network, self.data.test, self.data, self.device, batch=100)
        return {"test_accuracy": right, **self._sizes(network)}

    def export(self, job: Job, folder: Path) -> None:
        """Files that load without this package, see export.py."""
        from automl_ext.tasks.pruning.weight_export import write

        network = self._finished(job, never_stop).cpu()
        cpu = torch.device("cpu")
        metrics = {"accuracy": accuracy(network, self.data.val, self.data, cpu, batch=100), **self._sizes(network)}
        shape = tuple(self.data.train.image.shape[1:])
        write(network, self.layers, self.parts, metrics, shape, (self.data.mean, self.data.std), folder)

    def illustrate(self, candidate: Candidate, folder: Path) -> None:
        """`weights.svg`: the share that each layer keeps, and its weights."""
        from automl_ext.tasks.pruning.weight_illustrate import draw

        draw(self.parts, counts_of(self.parts, candidate), folder / "weights.svg")

    # ---------------------------------------------------------------- parts

    def _lay_out(self, high: Mapping[Kind, float] | None, protect: Sequence[str]) -> None:
        """The layers that can lose weights, the space of policies, and the references among them."""
        start = self._fresh()
        example = torch.zeros((1, *self.data.train.image.shape[1:]))
        check_inputs(self.inputs, example)
        check_fit(start, example, self.network, self.inputs, self.dataset, self.data.classes)
        self.layers = tuple(counted_layers(start, example).values())
        _check_own_weights(start, [layer.name for layer in self.layers])
        read(start)
        names = [layer.name for layer in self.layers]
        present = nonzero(start, names) if self.weights else {name: weight_of(start, name).numel() for name in names}
        self.parts = parts_of(self.layers, present, high, protect, self.demand.on_macs)
        self.space = share_space(self.parts, self.demand.share, self.demand.option)
        self.references = weight_references(start if self.weights else None, self.parts, self.demand.share)
        self._observer = WeightObserver(self.parts)

    def _fresh(self) -> nn.Module:
        return fresh(self.network, self.weights, self.data, self.seed, self.width, self.inputs)

    def _start(self, job: Job) -> _Start:
        """What `prepare` left, read and ranked once a process."""
        if job.shared is None:
            raise PruningError("an evaluation needs the folder that prepare wrote (Job.shared)")
        if self._state is None or self._state[0] != job.shared:
            network = self._fresh()
            network.load_state_dict(load_file(Path(job.shared) / NETWORK))
            network.to(self.device).eval()
            self._state = (job.shared, _Start(network, rank_weights(network, [part.name for part in self.parts])))
        return self._state[1]

    def _sparse(self, job: Job, laps: Laps) -> nn.Module:
        """A copy of the network with only the weights left that the candidate keeps, statistics adjusted to it."""
        start, counts = self._start(job), counts_of(self.parts, job.candidate)
        network = copy.deepcopy(start.network)
        zero(network, masks_of(network, start.ranking, counts))
        laps.end("prune")
        if self.recalibrate and any(counts[part.name] < part.most for part in self.parts):
            generator = torch.Generator().manual_seed(self.seed)
            chosen = torch.randperm(len(self.data.train), generator=generator)[: self.calibration_images]
            images = normalise(self.data.train.image[chosen], self.data.mean, self.data.std, self.device)
            reestimate_norms(network, images)
        laps.end("recalibrate")
        return network

    def _restored(self, job: Job, state: Mapping[str, Tensor]) -> nn.Module:
        """A copy of the network with the weights `state`."""
        network = copy.deepcopy(self._start(job).network)
        network.load_state_dict(state)
        return network

    def _tune(self, network: nn.Module, job: Job, report: Report, done: int = 0) -> int:
        """Fine-tune to the job's budget, `done` epochs being behind it; zeros stay. How many are behind it then."""
        start, counts = self._start(job), counts_of(self.parts, job.candidate)
        masks = masks_of(network, start.ranking, counts)
        with held(network, masks):
            return tune(network, self.data, self.tuning, job, self.device, report, done)

    def _finished(self, job: Job, report: Report) -> nn.Module:
        """The network as its trial left it, or pruned and tuned anew where there is no such folder."""
        stored = Path(job.parent) / WEIGHTS if job.parent is not None else None
        if stored is not None and stored.is_file():
            return self._restored(job, load_file(stored))
        network = self._sparse(job, Laps())
        if job.budget:
            self._tune(network, job, report)
        return network

    def _sizes(self, network: nn.Module) -> dict[str, float]:
        """weights_k: thousands of weights that are not zero, in the layers that are pruned; weights_kept: their share;
        macs_nonzero_m: millions of multiply-accumulates an image by weights that are not zero, in all layers;
        macs_kept: their share in the layers that are pruned, where the budget is on it.
        """
        left = nonzero(network, [layer.name for layer in self.layers])
        stay = sum(left[part.name] for part in self.parts)
        macs = sum(layer.places * left[layer.name] for layer in self.layers)
        kept = stay / sum(part.weights for part in self.parts)
        share = {"macs_kept": cost_of(self.parts, left) / sum(part.cost for part in self.parts)}
        sizes = {"weights_k": stay / 1e3, "weights_kept": kept, "macs_nonzero_m": macs / 1e6}
        return sizes | (share if self.demand.on_macs else {})


def _check_own_weights(network: nn.Module, names: Sequence[str]) -> None:
    """PruningError where two layers have one weight between them: its zeros would be those of both."""
    owners: dict[int, str] = {}
    for name in names:
        other = owners.setdefault(id(weight_of(network, name)), name)
        if other != name:
            raise PruningError(f"layers {other} and {name} share their weights; that is not supported")
