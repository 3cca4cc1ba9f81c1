"""Stopping rules by name, as `stopping:` names them in a config: a table of strings. Your own: my_module:MyRule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automl_ext.mistakes import ConfigError, shown, unknown
from automl_ext.registry import Entry, is_path, resolve

STOPPING: Mapping[str, Entry] = {
    "median": Entry(
        "automl_ext.stopping.median:Median",
        "stop what is worse than the median at the same step",
        "Golovin et al. 2017, section 3.2.1",
    ),
    "extrapolation": Entry(
        "automl_ext.stopping.extrapolation:Extrapolation",
        "stop what an ensemble of eleven curve families expects to stay behind; needs automl-ext[curves]",
        "Domhan, Springenberg and Hutter 2015",
    ),
    "curve-network": Entry(
        "automl_ext.stopping.network:CurveNetwork",
        "stop what a Bayesian network of other configurations' curves expects to stay behind",
        "Klein et al. 2017",
    ),
}


def stopping_class(name: str, where: str = "stopping.name") -> Callable[..., Any]:
    """The class of a stopping rule, by name or as module:Class. Raises ConfigError for no such one."""
    if name not in STOPPING and not is_path(name):
        raise ConfigError(where, unknown("stopping rule", name, STOPPING, "your own: my_module:MyRule"))
    cls = resolve(STOPPING[name].path if name in STOPPING else name, where)
    lacking = [method for method in ("stopping", "tell", "stop") if not callable(getattr(cls, method, None))]
    if not isinstance(cls, type) or lacking:
        what = f"has no {' and no '.join(lacking)}" if isinstance(cls, type) else "is no class"
        raise ConfigError(where, f"{shown(name)} is no stopping rule: it {what}")
    return cls
