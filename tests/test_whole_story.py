"""The whole story in one file: a target, a searcher, a run, its journal, its best."""

from __future__ import annotations

import gymnasium
import pandas

from automl_ext import Choice, Integer, Objective, Proposal, Run, SearchEnv, Space, search


class Kitchen(SearchEnv):
    """Pasta needs 8 to 10 minutes, rice 15 to 18; salt helps a little."""

    def __init__(self, salt: float = 0.1):
        self.space = Space(
            Choice(
                "dish",
                ["pasta", "rice"],
                branches={"pasta": Space(Integer("minutes", 1, 20)), "rice": Space(Integer("minutes", 5, 30))},
            ),
            Choice("salted", [True, False]),
        )
        self.objectives = (Objective("taste"),)
        self.references = {"hasty": {"dish": "pasta", "dish/minutes": 2, "salted": False}}
        self.salt = salt

    def evaluate(self, job, report):
        low, high = {"pasta": (8, 10), "rice": (15, 18)}[job.candidate["dish"]]
        off = max(low - job.candidate["dish/minutes"], job.candidate["dish/minutes"] - high, 0)
        return {"taste": 1 / (1 + off) + self.salt * job.candidate["salted"]}


gymnasium.register("story/Kitchen-v0", entry_point=Kitchen)


class Cook:
    """Tries ten dishes, then changes the best one a little."""

    def __init__(self, target, rng):
        self.target, self.best = target, None

    def ask(self, number, pending, rng):
        if self.best is None or number < 10:
            return Proposal(self.target.space.sample(rng))
        return Proposal(self.target.space.from_genes(self.target.variation.mutate(self.best.candidate, rng)))

    def tell(self, trial, rng):
        if trial.metrics and (self.best is None or trial.metrics["taste"] > self.best.metrics["taste"]):
            self.best = trial


def test_the_whole_story(tmp_path):
    run = Run.create(
        env={"id": "story/Kitchen-v0", "salt": 0.2},
        searcher="random",
        trials=60,
        seed=3,
        executor={"name": "serial"},
        out=tmp_path,
    )
    env = gymnasium.make("story/Kitchen-v0", salt=0.2).unwrapped
    search(run, env=env, searcher=Cook(env.target, None))
    run.close()

    finished = Run.open(run.folder)
    best = finished.best()
    assert best is not None and best.metrics == {"taste": 1.2} and best.candidate["salted"] is True
    table = pandas.read_json(run.folder / "trials.jsonl", lines=True)
    assert sorted(table[table.stage == "search"].number) == list(range(60))
    names = {trial.note["name"] for trial in finished.trials("final-1")}
    assert "hasty" in names and len(names) == 2
    assert (run.folder / "best" / "candidate.json").exists()
