"""The claims: what each paper says, the searches that can show it, the test that decides.

A claim holds where its one-sided test gives p < 0.05 (Wilcoxon's signed ranks over pairs of equal seeds, unless the
claim says otherwise) and what else it states is met. Every problem of a claim is judged on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from repro_judges import (
    Judge,
    Row,
    anytime,
    better,
    both,
    decoded,
    dominates,
    earlier,
    fewer,
    on_target,
    rises,
    saves,
    smaller,
    top,
    widens,
)  # fmt: skip

FIRST = 2000
"""The first seed; settings of searchers were chosen on others."""


@dataclass(frozen=True)
class Search:
    """problem: another one than the claim's."""

    label: str
    searcher: str
    trials: int
    options: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Claim:
    """problems: see repro_problems.py; table ones count only where the table is given. judge -> (holds, numbers)."""

    name: str
    paper: str
    says: str
    test: str
    problems: tuple[str, ...]
    searches: tuple[Search, ...]
    seeds: int
    judge: Judge

    def on(self, table: bool) -> list[str]:
        """The problems that count."""
        return [name for name in self.problems if table or not name.startswith("table")]

    def tasks(self, problem: str) -> Iterator[Row]:
        """All seeds of one search after the other."""
        for search in self.searches:
            for seed in range(FIRST, FIRST + self.seeds):
                yield {
                    "problem": search.problem or problem, "searcher": search.searcher, "options": dict(search.options),
                    "trials": search.trials, "seed": seed,
                }  # fmt: skip


def search(label: str, searcher: str, trials: int, **options: Any) -> Search:
    return Search(label, searcher, trials, options)


EPSILONS = [[1.0, 60], *([round(0.9 - 0.1 * index, 1), 10] for index in range(9))]
RANDOM = search("random", "random", 200)
CURVES = {"images": 300, "epochs": 30}
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "metaqnn", "Baker et al. 2017, arXiv 1611.02167", "networks get better as exploration ends",
        "mean of the last 15 trials (ε = 0.1) above that of the first 60 (ε = 1)", ("chain", "table"),
        (search("q-learning", "q-learning", 150, epsilons=EPSILONS),),
        20, rises,
    ),
    Claim(
        "nas-rl", "Zoph, Le 2017, arXiv 1611.01578", "RL beats random search, and its lead grows",
        "mean of the best 15 of 200 above random's; the lead larger at the end than after a third", ("branch", "table"),
        (search("reinforce", "reinforce", 200), RANDOM), 12,
        both(better("reinforce", "random", top(15), "best 15"), widens),
    ),
    Claim(
        "nasnet", "Zoph et al. 2018, arXiv 1707.07012", "PPO's best 5 and best 25 are better than random search's",
        "means of the best 5 and of the best 25 of 200 above random's", ("cell", "table"),
        (search("ppo", "ppo", 200), RANDOM), 12,
        both(better("ppo", "random", top(5), "best 5"), better("ppo", "random", top(25), "best 25")),
    ),
    Claim(
        "amoebanet-ageing", "Real et al. 2019, arXiv 1802.01548", "ageing beats killing the worst under noise",
        "true score of those alive after 2,000 noisy evaluations (deviation 0.05) higher", ("bits",),
        (
            search("ageing", "regularized-evolution", 2000, population=100, sample=10),
            search("killing", "tournament", 2000, population=100, sample=10, inherit=False),
        ),
        12, better("ageing", "killing", lambda row: row["alive"], "alive"),
    ),
    Claim(
        "amoebanet-rl", "Real et al. 2019, arXiv 1802.01548", "evolution is faster than RL, and finds smaller networks",
        "fewer evaluations to a level; fewer parameters of the best (table only)", ("cell", "table"),
        (
            search("evolution", "regularized-evolution", 200, population=20, sample=5),
            search("reinforce", "reinforce", 200), RANDOM,
        ),
        12, both(earlier, smaller),
    ),
    Claim(
        "hierarchical", "Liu et al. 2018, arXiv 1711.00436", "evolution of motifs beats random search",
        "best of 200 above random's", ("hierarchical",),
        (
            search("tournament", "tournament", 200, population=20, share=0.05, dies="nobody", inherit=False),
            RANDOM,
        ),
        20, better("tournament", "random", top(1), "best"),
    ),
    Claim(
        "pnas", "Liu et al. 2018, arXiv 1712.00559", "several times fewer evaluations than random search",
        "random needs at least 3 times as many for the same score; binomial test over seeds", ("cell-pnas",),
        (
            search("progressive", "progressive", 160, size="blocks", block=4, beam=20, first=60, finish=True),
            search("random", "random", 1600),
        ),
        15, fewer,
    ),
    Claim(
        "nao", "Luo et al. 2018, arXiv 1808.07233", "decoded architectures are better than those they started from",
        "mean of the decoded above that of the ten they were climbed from, by round", ("cell-nao", "table"),
        (search("nao", "nao", 160, first=60, new=20, best=10),), 10, decoded,
    ),
    Claim(
        "mnasnet", "Tan et al. 2019, arXiv 1807.11626", "the reward meets the latency target",
        "cost (not latency) of the best 0.5 to 1.05 targets in most seeds (binomial), less than without",
        ("mobile-reward",),
        (search("rewarded", "ppo", 150), Search("accuracy alone", "ppo", 150, {}, "mobile-accuracy")), 12, on_target,
    ),
    Claim(
        "nsga-net", "Lu et al. 2019, arXiv 1810.03522", "its front dominates random search's",
        "hypervolume after 120 evaluations larger", ("phases-front", "table-front"),
        (search("nsga2", "nsga2", 120, explore=80), search("random", "random", 120)), 15, dominates,
    ),
    Claim(
        "deeparchitect", "Negrinho, Gordon 2017, arXiv 1704.08792", "tree search with bisection beats random search",
        "mean over trials 33 to 64 of the best so far above random's; plain one beside it", ("modular", "table"),
        (
            search("bisected", "mcts", 64, widest=2), search("plain", "mcts", 64, widest=1000),
            search("random", "random", 64),
        ),
        20, lambda rows: (
            better("bisected", "random", anytime, "best so far")(rows)[0],
            "; ".join(better(name, "random", anytime, "best so far")(rows)[1] for name in ("bisected", "plain")),
        ),
    ),
    Claim(
        "hpo-random", "Bergstra, Bengio 2012", "random search beats a grid where few numbers matter",
        "best of 32 of five numbers, two of which matter", ("few-matter",),
        (search("random", "random", 32), search("grid", "grid", 32, bins=2)), 20,
        better("random", "grid", top(1), "best"),
    ),
    Claim(
        "hpo-bayes", "Snoek et al. 2012, arXiv 1206.2944", "Bayesian optimisation beats random search",
        "best of 60 on Hartmann's function of six numbers", ("hartmann",),
        (search("predictor", "predictor", 60, start=10), search("random", "random", 60)), 12,
        better("predictor", "random", top(1), "best"),
    ),
    Claim(
        "hpo-rl", "Zoph, Le 2017, arXiv 1611.01578", "the same controller finds better recipes than random search",
        "best of 200 on Hartmann's function of six numbers", ("hartmann",),
        (search("reinforce", "reinforce", 200), RANDOM), 12, better("reinforce", "random", top(1), "best"),
    ),
    Claim(
        "hpo-evolution", "Real et al. 2019, arXiv 1802.01548", "evolution finds better recipes than random search",
        "best of 200 on Hartmann's function of six numbers", ("hartmann",),
        (search("evolution", "regularized-evolution", 200, population=20, sample=5), RANDOM), 20,
        better("evolution", "random", top(1), "best"),
    ),
    Claim(
        "curve-extrapolation", "Domhan et al. 2015", "at least 40 % of the epochs are saved and the best is kept",
        "mean saved at least 40 %, accuracy lost at most 0.01 in every seed; 30 trained recipes on digits", ("curves",),
        (search("extrapolation", "extrapolation", 30, **CURVES),), 4, saves,
    ),
    Claim(
        "curve-network", "Klein et al. 2017", "at least 40 % of the epochs are saved and the best is kept",
        "mean saved at least 40 %, accuracy lost at most 0.01 in every seed; 40 trained recipes on digits", ("curves",),
        (search("curve-network", "curve-network", 40, **CURVES),), 4, saves,
    ),
)  # fmt: skip
