"""What a round of iterative pruning takes from the one before: options of its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_ext.mistakes import ConfigError

__all__ = ["after"]

INSIDE = ("weights", "inputs", "width")
"""Options of channel pruning that an exported network has in itself."""


def after(
    env: str, options: Mapping[str, Any], density: float, best: Path | None = None, first: Path | None = None
) -> dict[str, Any]:
    """The options of a round at `density`, a share of the whole network. best, first: what the round before and the
    first round exported; None: there was none.

    Fine-grained: the exported weights, of which those that are zero count as removed; a density is of the weights, or
    of the multiply-accumulates where `options` have `macs_kept`. Channels: the exported network,
    of whose multiply-accumulates as many may stay as `density` of the whole one's; what each layer has left is then
    all that it has. Raises ConfigError for what has no rounds.
    """
    if env == "automl_ext/WeightPruning-v0":
        carried = {} if best is None else {"weights": str(best / "model.safetensors")}
        budget = "weights_kept" if options.get("macs_kept") is None else "macs_kept"
        return {**options, budget: density, **carried}
    if env != "automl_ext/Pruning-v0":
        legal = "automl_ext/Pruning-v0, automl_ext/WeightPruning-v0"
        raise ConfigError("env.id", f"{env} cannot be pruned in rounds; legal: {legal}")
    if options.get("params_kept") is not None:
        raise ConfigError("env.params_kept", "channels are pruned in rounds by their MACs only; leave it out")
    if best is None or first is None:
        return {**options, "macs_kept": density}
    share = density * _macs(first, "macs_dense") / _macs(best, "macs")
    without = {name: value for name, value in options.items() if name not in INSIDE}
    return {**without, "network": str(best), "macs_kept": min(share, 1.0)}


def _macs(folder: Path, name: str) -> int:
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    return int(recipe[name])
