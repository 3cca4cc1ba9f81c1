"""What a network costs: parameters, multiply-accumulates, latency."""

from __future__ import annotations

import torch
from automl_ext.tasks.architecture.reference import params_of
from torch import nn

from automl_ext.artefact.agreement import counted_macs
from automl_ext.latency import latency
from automl_ext.training import mode

__all__ = ["measured_latency", "size_of"]


def size_of(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, float]:
    """params_k: thousands of parameters. macs_m: millions of multiply-accumulates of one image."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with mode(network, training=False):
        macs = counted_macs(network, torch.zeros(1, *shape, device=device))
    return {"params_k": params_of(network) / 1e3, "macs_m": macs / 1e6}


def measured_latency(network: nn.Module, shape: tuple[int, ...]) -> float:
    """Milliseconds of one image, on the device that the network is on. Leaves it in eval mode."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return latency(network, torch.zeros(1, *shape, device=device), batch=1)["latency_ms"]
