"""What a round of iterative pruning takes from the one before: options of its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_ext.mistakes import ConfigError

__all__ = ["after"]


def after(env: str, options: Mapping[str, Any], density: float, best: Path | None) -> dict[str, Any]:
    """The options of a round at `density`, a share of the whole network. best: what the round before exported.

    Fine-grained: the exported weights, of which those that are zero count as removed. Raises ConfigError for an
    environment that has no rounds.
    """
    if env != "automl_ext/WeightPruning-v0":
        raise ConfigError("env.id", f"{env} cannot be pruned in rounds; legal: automl_ext/WeightPruning-v0")
    carried = {} if best is None else {"weights": str(best / "model.safetensors")}
    return {**options, "weights_kept": density, **carried}
