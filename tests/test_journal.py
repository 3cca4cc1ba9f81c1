"""The journal: durable, checked lines; cut at any byte it opens and never shows a wrong row."""

from __future__ import annotations

import json

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_ext.journal import Journal, JournalError, decode, digest, encode
from automl_ext.searcher import Failure, Trial

SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


def trial(number: int, **fields: object) -> Trial:
    values = {
        "stage": "search", "candidate": {"x": number, "name": 'a "quoted", "crc":"'}, "note": {"genes": [1, 2]},
        "budget": None, "seed": 7, "parent": None, "metrics": {"score": number / 3}, **fields,
    }  # fmt: skip
    return Trial(number=number, **values)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(
    candidate=st.dictionaries(st.text(), SCALAR, max_size=4),
    score=st.floats(allow_nan=False, allow_infinity=False),
    curve=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=3),
)
def test_a_line_gives_the_trial_back(candidate, score, curve):
    original = trial(3, candidate=candidate, metrics={"score": score}, curve=tuple(curve))
    assert decode(encode(original)) == original


def test_a_failed_trial_round_trips():
    original = trial(0, metrics=None, error=Failure("exception", "line\nbreak", "Traceback …"), attempts=3)
    assert decode(encode(original)) == original


def test_cut_at_every_byte_it_opens_and_never_shows_a_wrong_row(tmp_path):
    path = tmp_path / "trials.jsonl"
    written = [trial(number) for number in range(4)]
    path.write_bytes(b"".join(encode(each) for each in written))
    whole = path.read_bytes()
    start = len(encode(written[0])) + len(encode(written[1]))
    for cut in range(start, len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        kept = list(journal.trials())
        assert kept == written[: len(kept)]
        assert len(kept) in (2, 3, 4) and len(journal) == len(kept)
        missing = written[len(kept)] if len(kept) < 4 else trial(4)
        journal.append(missing)
        journal.close()
        again = Journal(path, write=False)
        assert list(again.trials()) == [*kept, missing]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "trials.jsonl"
    lines = [encode(trial(number)) for number in range(3)]
    lines[1] = lines[1].replace(b'"seed":7', b'"seed":8')
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=r"trials\.jsonl:2: damaged"):
        Journal(path)


def test_a_number_stands_once(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl")
    journal.append(trial(0))
    with pytest.raises(JournalError, match="trial 0 is there already"):
        journal.append(trial(0))


def test_get_finds_trials_written_out_of_order(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl")
    for number in (2, 0, 5):
        journal.append(trial(number))
    assert [journal.get(number).number for number in (0, 2, 5)] == [0, 2, 5]
    assert 1 not in journal and len(journal) == 3
    with pytest.raises(KeyError):
        journal.get(1)


def test_a_reader_leaves_the_tail_that_is_being_written(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(encode(trial(0)) + encode(trial(1))[:-20])
    before = path.read_bytes()
    assert [each.number for each in Journal(path, write=False).trials()] == [0]
    assert path.read_bytes() == before


def test_other_tools_read_the_file(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl")
    for number in range(3):
        journal.append(trial(number))
    frame = pandas.read_json(tmp_path / "trials.jsonl", lines=True)
    assert list(frame.number) == [0, 1, 2]
    assert json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[1])["metrics"] == {"score": 1 / 3}


def test_superseded_lines_are_moved_not_lost(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl")
    journal.append(trial(0))
    journal.append(trial(1, stage="final-1"))
    assert journal.supersede(lambda each: each.stage == "search") == 1
    journal.append(trial(1))
    assert [each.stage for each in journal.trials()] == ["search", "search"]
    moved = (tmp_path / "superseded.jsonl").read_bytes().splitlines(keepends=True)
    assert [decode(line) for line in moved] == [trial(1, stage="final-1")]


def test_the_digest_sees_decisions_and_not_timing():
    one = [trial(0), trial(1, metrics={"score": 1.0, "latency_ms": 3.0}, seconds=1.0)]
    two = [trial(1, metrics={"score": 1.0, "latency_ms": 9.0}, seconds=2.0, attempts=2), trial(0)]
    assert digest(one, {"latency_ms"}) == digest(two, {"latency_ms"})
    assert digest(one) != digest(two)
    assert digest(one) != digest([trial(0, candidate={"x": 1}), one[1]])
