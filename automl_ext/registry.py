"""What can be named in a config: tables of strings. Nothing heavy is imported to list names.

Your own: searcher `my_module:MySearcher`; target `my_module:MyTarget-v0`, Gymnasium's plug-in syntax: the module is
imported and registers the id. Modules are found in the working directory, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

__all__ = [
    "ENVIRONMENTS", "SEARCHERS", "Entry", "check_options", "env_class", "is_path", "make", "resolve", "searcher_class",
]  # fmt: skip

OWN = "automl-ext"
KINDS = ("choice", "number", "conditional")


@dataclass(frozen=True)
class Entry:
    """A name's meaning. path: module:Class. distribution: the package that brings it. finite: ends by itself.

    Of searchers: treats: kinds of space; several: weighs several objectives; budgets: sets budgets of its own.
    """

    path: str
    summary: str
    paper: str = ""
    distribution: str = OWN
    finite: bool = False
    treats: tuple[str, ...] = KINDS
    several: bool = False
    budgets: bool = False


ENVIRONMENTS: Mapping[str, Entry] = {
    "automl_ext/Architecture-v0": Entry(
        "automl_ext.tasks.architecture.env:ArchitectureEnv",
        "what a network is made of, and how that is connected",
        "NASNet, Zoph et al. 2018, arXiv 1707.07012",
    ),
    "automl_ext/Augmentation-v0": Entry(
        "automl_ext.tasks.augmentation.env:AugmentationEnv",
        "which operations augment the images, how likely and how strong",
        "AutoAugment, Cubuk et al. 2019, arXiv 1805.09501",
    ),
    "automl_ext/Optimizer-v0": Entry(
        "automl_ext.tasks.optimizer.env:OptimizerEnv",
        "how an optimizer turns gradients into steps",
        "Bello et al. 2017, arXiv 1709.07417; Lion, Chen et al. 2023, arXiv 2302.06675",
    ),
    "automl_ext/Pruning-v0": Entry(
        "automl_ext.tasks.pruning.env:PruningEnv",
        "how many channels each layer of a network keeps",
        "AMC, He et al. 2018, arXiv 1802.03494",
    ),
    "automl_ext/Segmentation-v0": Entry(
        "automl_ext.tasks.segmentation.env:SegmentationEnv",
        "what a dense prediction cell is made of, between a backbone and the classifier of pixels",
        "DPC, Chen et al. 2018, arXiv 1809.04184",
    ),
    "automl_ext/WeightPruning-v0": Entry(
        "automl_ext.tasks.pruning.weight_env:WeightPruningEnv",
        "which share of its weights each layer of a network keeps",
        "AMC, He et al. 2018, arXiv 1802.03494",
    ),
}
SEARCHERS: Mapping[str, Entry] = {
    "random": Entry("automl_ext.baselines.random:Random", "every decision uniformly among what is legal", several=True),
    "grid": Entry(
        "automl_ext.baselines.grid:Grid", "every candidate once, numbers on a grid", finite=True, several=True
    ),
    "local": Entry("automl_ext.baselines.local:Local", "first improvement among single changes, restart when stuck"),
    "perturbed": Entry(
        "automl_ext.baselines.perturbed:Perturbed",
        "half at random, half one of the best changed a little",
        "DPC, Chen et al. 2018, arXiv 1809.04184",
    ),
    "optuna": Entry(
        "automl_ext.baselines.optuna:Optuna",
        "Optuna's samplers (tpe, gp, cmaes, nsga2, nsga3, random); needs automl-ext[optuna]",
        "Akiba et al. 2019, arXiv 1907.10902",
        several=True,
    ),
    "successive-halving": Entry(
        "automl_ext.baselines.halving:SuccessiveHalving",
        "many at a small budget, the best of them at a larger one",
        "Jamieson & Talwalkar 2016, arXiv 1502.07943",
        several=True,
        budgets=True,
    ),
    "hyperband": Entry(
        "automl_ext.baselines.hyperband:Hyperband",
        "brackets of successive halving, from many cheap candidates to few at the full budget",
        "Li et al. 2018, arXiv 1603.06560",
        several=True,
        budgets=True,
    ),
    "asha": Entry(
        "automl_ext.baselines.asha:ASHA",
        "successive halving that never waits: promote what is good enough, else start a newcomer",
        "Li et al. 2020, arXiv 1810.05934",
        several=True,
        budgets=True,
    ),
    "regularized-evolution": Entry(
        "automl_ext.evolution.regularized:RegularizedEvolution",
        "mutate the best of a sample, the oldest dies",
        "Real et al. 2019, arXiv 1802.01548",
    ),
    "tournament": Entry(
        "automl_ext.evolution.tournament:Tournament",
        "the best of a few has a child, the worst of them dies or nobody does",
        "Real et al. 2017, arXiv 1703.01041; Liu et al. 2018, arXiv 1711.00436",
    ),
    "hill-climbing": Entry(
        "automl_ext.evolution.hill_climbing:HillClimbing",
        "rounds of children of the best, which the best of them replaces",
        "NASH, Elsken et al. 2018, arXiv 1711.04528",
    ),
    "nsga2": Entry(
        "automl_ext.evolution.nsga2:NSGA2",
        "several objectives: parents and children compete by dominance, then by crowding",
        "Deb et al. 2002; NSGA-Net, Lu et al. 2019, arXiv 1810.03522",
        several=True,
    ),
    "population-based": Entry(
        "automl_ext.evolution.population_based:PopulationBased",
        "members train side by side, the worst take over weights and candidate of the best and change it",
        "Jaderberg et al. 2017, arXiv 1711.09846; Ho et al. 2019, arXiv 1905.05393",
        budgets=True,
    ),
    "reinforce": Entry(
        "automl_ext.controllers.reinforce:Reinforce",
        "an LSTM that decides step by step, trained with REINFORCE",
        "Zoph & Le 2017, arXiv 1611.01578",
    ),
    "ppo": Entry(
        "automl_ext.controllers.ppo:PPO",
        "the same LSTM trained with PPO: the controller of NASNet, AutoAugment, MnasNet",
        "Zoph et al. 2018, arXiv 1707.07012",
    ),
    "lemonade": Entry(
        "automl_ext.evolution.lemonade:Lemonade",
        "children for the gaps of the front, by the cheap objectives first",
        "Elsken et al. 2019, arXiv 1804.09081",
        several=True,
    ),
    "ddpg": Entry(
        "automl_ext.controllers.ddpg:DDPG",
        "actor and critic for spaces of numbers: AMC's agent",
        "He et al. 2018, arXiv 1802.03494",
        treats=("number",),
    ),
    "predictor": Entry(
        "automl_ext.controllers.predictor:Predictor",
        "a surrogate screens mutations of the best by expected improvement",
        "White et al. 2021, arXiv 1910.11858; Kandasamy et al. 2018, arXiv 1802.07191",
        several=True,
    ),
    "q-learning": Entry(
        "automl_ext.controllers.q_learning:QLearning",
        "a table of Q values over the walk, epsilon falling by a schedule",
        "MetaQNN, Baker et al. 2017, arXiv 1611.02167",
        treats=("choice", "conditional"),
    ),
    "mcts": Entry(
        "automl_ext.controllers.mcts:MCTS",
        "UCT over the walk, long choices and numbers cut in halves",
        "DeepArchitect, Negrinho & Gordon 2017, arXiv 1704.08792",
    ),
    "nao": Entry(
        "automl_ext.controllers.nao:NAO",
        "climbs a predicted score in an embedding of candidates",
        "Luo et al. 2018, arXiv 1808.07233",
    ),
    "progressive": Entry(
        "automl_ext.controllers.progressive:Progressive",
        "candidates grow block by block, a predictor picks which to evaluate",
        "Liu et al. 2018, arXiv 1712.00559",
    ),
}


def resolve(path: str, where: str = "") -> Any:
    """The object that `module:attribute` names. Raises ConfigError (key `where`) that says what is missing."""
    module_name, _, attribute = path.partition(":")
    module = _import(module_name, path, where)
    found = module
    for name in attribute.split(".") if attribute else []:
        if not hasattr(found, name):
            from automl_ext.mistakes import ConfigError, unknown

            public = [known for known in dir(found) if not known.startswith("_")]
            raise ConfigError(where, unknown(f"attribute of {module_name}", name, public))
        found = getattr(found, name)
    return found


def searcher_class(name: str, where: str = "searcher.name") -> Callable[..., Any]:
    """The class of a searcher, by name or as module:Class. Raises ConfigError for no such one."""
    from automl_ext.mistakes import ConfigError, shown

    check_searcher_name(name, where)
    cls = resolve(SEARCHERS[name].path if name in SEARCHERS else name, where)
    lacking = [method for method in ("ask", "tell") if not callable(getattr(cls, method, None))]
    if not isinstance(cls, type) or lacking:
        what = f"has no {' and no '.join(lacking)}" if isinstance(cls, type) else "is no class"
        raise ConfigError(where, f"{shown(name)} is no searcher: it {what}")
    return cls


def check_searcher_name(name: str, where: str = "searcher.name") -> None:
    """ConfigError for a name that is neither registered nor module:Class."""
    if name not in SEARCHERS and not is_path(name):
        from automl_ext.mistakes import ConfigError, unknown

        raise ConfigError(where, unknown("searcher", name, SEARCHERS, "your own: my_module:MySearcher"))


def is_finite(name: str) -> bool:
    """Whether a searcher ends by itself: a registered one by its entry, a user's by its attribute `finite`."""
    if name in SEARCHERS:
        return SEARCHERS[name].finite
    return bool(getattr(searcher_class(name), "finite", False))


def env_class(id: str, where: str = "env.id") -> Callable[..., Any]:
    """What builds the environment `id`, a class as a rule. Raises ConfigError for no such one, and for no SearchEnv."""
    from automl_ext.env import SearchEnv
    from automl_ext.mistakes import ConfigError, shown

    entry = env_spec(id, where).entry_point
    found = resolve(entry, where) if isinstance(entry, str) else entry
    if isinstance(found, type) and not issubclass(found, SearchEnv):
        raise ConfigError(where, f"{shown(id)} is no target: {found.__name__} is no subclass of automl_ext.SearchEnv")
    return found  # type: ignore[return-value]


def env_spec(id: str, where: str = "env.id") -> gymnasium.envs.registration.EnvSpec:
    """Gymnasium's entry for `id`, after importing the module in front of it. ConfigError for no such one."""
    from automl_ext.mistakes import ConfigError, unknown

    if id.startswith("automl_ext/") and id not in ENVIRONMENTS:
        raise ConfigError(where, unknown("environment", id, ENVIRONMENTS, "your own: my_module:MyTarget-v0"))
    module, _, name = id.rpartition(":")
    if module:
        _import(module, id, where)
    register()
    import gymnasium

    if name in gymnasium.registry:
        return gymnasium.registry[name]
    if module:
        own = [known for known, spec in gymnasium.registry.items() if _module_of(spec) == module]
        raise ConfigError(where, unknown("environment", name, own, f"what {module} registers with gymnasium.register"))
    raise ConfigError(where, unknown("environment", id, ENVIRONMENTS, "your own: my_module:MyTarget-v0"))


def register() -> None:
    """Make our environments known to Gymnasium, so that `gymnasium.make` takes their ids. Safe to call again."""
    import gymnasium

    for id, entry in ENVIRONMENTS.items():
        if id not in gymnasium.registry:
            gymnasium.register(id, entry_point=entry.path)


def make(id: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """`gymnasium.make` for ours and yours, with checked options. Raises ConfigError naming what is wrong."""
    spec = env_spec(id)
    taken = check_options(env_class(id), options, "env", spec.kwargs)
    import gymnasium

    return gymnasium.make(id, **taken)


def check_options(
    cls: Callable[..., Any], options: Mapping[str, Any], where: str, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The options as `cls` takes them; see `automl_ext.options.check_options`."""
    from automl_ext.options import check_options as check

    return check(cls, options, where, given or {})


def is_path(name: str) -> bool:
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def _import(name: str, path: str, where: str) -> Any:
    from automl_ext.mistakes import ConfigError, shown

    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(where, f"{shown(path)} names no module; write my_module:Name")
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(where, f"importing {name} failed: {error}") from None
        reason = f"no module {error.name} (for {shown(path)}); is it in the working directory?"
        raise ConfigError(where, reason) from None
    except Exception as error:
        raise ConfigError(where, f"importing {name} failed: {type(error).__name__}: {error}") from error


def _module_of(spec: gymnasium.envs.registration.EnvSpec) -> str:
    entry = spec.entry_point
    return entry.partition(":")[0] if isinstance(entry, str) else str(getattr(entry, "__module__", ""))


def search_path(folder: str) -> None:
    """Let modules in `folder` be imported, behind all others: what is installed is never shadowed."""
    if folder not in sys.path:
        sys.path.append(folder)
