"""Weights as safetensors takes them."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["tensors"]


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """The state dict as safetensors takes it: contiguous, on the CPU, no storage shared."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()}
