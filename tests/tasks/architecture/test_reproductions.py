"""The reproductions of claims: judges on rows made by hand, tasks that resume, a claim run alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import repro_architecture as harness
import repro_judges as judges
from repro_claims import CLAIMS
from repro_runs import play


def rows(*scores, **more):
    return [
        {"scores": list(each), **{name: values[n] for name, values in more.items()}} for n, each in enumerate(scores)
    ]


def test_every_paper_of_the_issue_has_a_claim_with_a_test():
    names = {claim.name.partition("-")[0] for claim in CLAIMS}
    papers = {
        "metaqnn",
        "nas",
        "nasnet",
        "amoebanet",
        "hierarchical",
        "pnas",
        "nao",
        "mnasnet",
        "nsga",
        "deeparchitect",
    }
    assert names >= papers | {"curve", "hpo"}
    assert all(claim.says and claim.test and claim.seeds >= 4 for claim in CLAIMS)
    for claim in CLAIMS:
        tasks = [harness.key(task) for problem in claim.on(True) for task in claim.tasks(problem)]
        assert len(set(tasks)) == len(tasks) == len(claim.problems) * len(claim.searches) * claim.seeds
        assert claim.on(False)


def test_better_needs_a_difference_in_most_seeds():
    judge = judges.better("left", "right", judges.top(1), "best")
    high, low = rows(*[[0.1 * n, 2.0 + 0.1 * n] for n in range(8)]), rows(*[[1.0, 0.0]] * 8)
    assert judge({"left": high, "right": low})[0]
    assert not judge({"left": low, "right": high})[0]
    assert not judge({"left": low, "right": low})[0]


def test_fewer_counts_evaluations_to_the_same_score():
    mine = rows(*[[0.0, 1.0]] * 12)
    assert judges.fewer({"progressive": mine, "random": rows(*[[0.0] * 6 + [1.0]] * 12)})[0]
    holds, said = judges.fewer({"progressive": mine, "random": rows(*[[0.0, 0.0, 1.0]] * 12)})
    assert not holds and "1.5" in said


def test_decoded_ones_are_held_against_those_they_were_climbed_from():
    start = [0.1 * n for n in range(10)]
    found = rows(*[[*start, 0.9, 1.0 + n] for n in range(6)], round=[[0] * 10 + [1, 1]] * 6)
    assert judges.decoded({"nao": found})[0]
    worse = rows(*[[*start, 0.3, 0.2 + n / 100] for n in range(6)], round=[[0] * 10 + [1, 1]] * 6)
    assert not judges.decoded({"nao": worse})[0]


def test_fronts_and_targets_and_epochs():
    good, bad = [[0.9, 1.0], [0.5, 0.1]], [[0.8, 1.1], [0.4, 0.2]]
    pair = {"nsga2": rows(*[[0]] * 8, points=[good] * 8), "random": rows(*[[0]] * 8, points=[bad] * 8)}
    assert judges.dominates(pair)[0]
    assert not judges.dominates({"nsga2": pair["random"], "random": pair["nsga2"]})[0]
    free = rows(*[[0.1, 0.9]] * 8, costs=[[0.9, 3.0]] * 8)
    near, above = rows(*[[0.1, 0.9]] * 8, costs=[[5.0, 0.9]] * 8), rows(*[[0.1, 0.9]] * 8, costs=[[0.9, 1.2]] * 8)
    assert judges.on_target({"rewarded": near, "accuracy alone": free})[0]
    assert not judges.on_target({"rewarded": above, "accuracy alone": free})[0]
    assert not judges.on_target({"rewarded": near, "accuracy alone": near})[0]
    saved = [{"saved": 0.5, "best": 0.9, "kept": 0.9}] * 4
    assert judges.saves({"rule": saved})[0]
    assert not judges.saves({"rule": [*saved[1:], {"saved": 0.5, "best": 0.9, "kept": 0.8}]})[0]
    assert not judges.saves({"rule": [{**saved[0], "saved": 0.3}] * 4})[0]


def test_what_stands_in_the_rows_is_not_run_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    task = next(next(claim for claim in CLAIMS if claim.name == "hpo-random").tasks("few-matter"))
    row = play(task, None)
    assert play(task, None)["scores"] == row["scores"] and len(row["scores"]) == task["trials"]
    file.write_text(json.dumps(row) + "\n" + '{"task": {"torn')
    known = harness.stored(file)
    assert known == {harness.key(task): row}
    harness.run([task], known, file, None, workers=1)
    assert len(harness.stored(file)) == 1


def test_a_claim_is_a_line_and_nothing_without_all_of_its_rows():
    claim = next(claim for claim in CLAIMS if claim.name == "hpo-random")
    known = {harness.key(task): play(task, None) for task in claim.tasks("few-matter")}
    line = harness.verdicts([claim], known, False).splitlines()[-1]
    assert line.startswith("| hpo-random | ") and " | yes | " in line
    known.popitem()
    assert len(harness.verdicts([claim], known, False).splitlines()) == 2


@pytest.mark.parametrize("name", ["table", "table-front"])
def test_the_table_is_asked_for_where_it_is_needed(name):
    with pytest.raises(ValueError, match="needs --table"):
        play({"problem": name, "searcher": "random", "options": {}, "trials": 1, "seed": 0}, None)
