"""The spaces of architectures by name. Nothing is imported before a space is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from automl_ext.tasks.architecture.family import Family

from automl_ext.options import check_options

SpaceName = Literal[
    "branch",
    "cell",
    "chain",
    "hierarchical",
    "mobile",
    "modular",
    "nasbench201",
    "phases",
    "training",
]
FAMILIES: Mapping[str, str] = {
    "branch": "automl_ext.tasks.architecture.branch",
    "cell": "automl_ext.tasks.architecture.cell",
    "chain": "automl_ext.tasks.architecture.chain",
    "hierarchical": "automl_ext.tasks.architecture.hierarchical",
    "mobile": "automl_ext.tasks.architecture.mobile",
    "modular": "automl_ext.tasks.architecture.modular",
    "nasbench201": "automl_ext.tasks.architecture.nasbench201_network",
    "phases": "automl_ext.tasks.architecture.phases",
    "training": "automl_ext.tasks.architecture.training_recipe",
}
"""Name -> module with a function `family(shape, classes, **options)`."""


def family_of(name: str, shape: tuple[int, int, int], classes: int, options: Mapping[str, Any]) -> Family:
    """The family `name` for images of `shape` (c, h, w). Raises ConfigError for options that it does not take."""
    if name not in FAMILIES:
        raise ValueError(f"space: {name} cannot be trained; legal: {', '.join(FAMILIES)}")
    make = import_module(FAMILIES[name]).family
    taken = check_options(make, options, "env.space_options", given=("shape", "classes"))
    found: Family = make(shape, classes, **taken)
    return found
