"""A table of all 15,625 cells with planted values: more convolutions on the way from in to out are better."""

from __future__ import annotations

import csv
import gzip
import itertools
from pathlib import Path

import pytest


def planted(code: str) -> float:
    """In [0, 100]: one optimum, 333333."""
    return sum({"0": 0.0, "1": 10.0, "2": 12.0, "3": 16.0, "4": 5.0}[digit] for digit in code) * 100 / 96


def write_table(file: Path) -> None:
    with gzip.open(file, "wt", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["code", "val12", "val200", "test200", "time_s", "latency_s"])
        for digits in itertools.product("01234", repeat=6):
            value, seconds = planted("".join(digits)), 100.0 + 10 * digits.count("3")
            rows.writerow(["".join(digits), value / 2, value, value - 1, seconds, digits.count("3") / 10])


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("table") / "cells.csv.gz"
    write_table(file)
    return str(file)
