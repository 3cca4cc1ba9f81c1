"""Paired tests against closed forms and SciPy, Holm against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from automl_ext.significance import bootstrap_interval, holm, sign_test, signed_rank_test

small = st.lists(st.integers(-20, 20).map(float), max_size=12)


def test_sign_test_is_the_binomial():
    assert sign_test([1.0] * 5) == pytest.approx(2 / 2**5)
    assert sign_test([1.0, 1.0, 1.0, -1.0, 0.0]) == pytest.approx(2 * (4 + 1) / 2**4)
    assert sign_test([0.0, 0.0]) == sign_test([]) == 1.0


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20, unique=True), st.randoms(use_true_random=False))
def test_signed_rank_test_is_scipys_where_nothing_ties(sizes, flip):
    differences = [float(size if flip.random() < 0.7 else -size) for size in sizes]
    assert signed_rank_test(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue, abs=1e-9)


@given(small)
def test_paired_tests_are_symmetric_and_at_least_exact(differences):
    mirrored = [-value for value in differences]
    for test in (sign_test, signed_rank_test):
        assert test(differences) == pytest.approx(test(mirrored))
        assert 2.0 ** (1 - len(differences)) - 1e-12 <= test(differences) <= 1.0 or not differences


def test_signed_rank_test_with_ties_counts_signs():
    """Ranks 1.5, 1.5, 3: of 8 sign patterns only all plus and all minus are as far out as 6."""
    assert signed_rank_test([2.0, 2.0, 5.0]) == pytest.approx(2 / 8)
    assert signed_rank_test([2.0, -2.0, 5.0, 0.0]) == pytest.approx(6 / 8)
    assert signed_rank_test([0.0] * 6) == 1.0
    assert signed_rank_test([1.0] * 20) < 1e-4


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_order_and_lies_between_raw_and_bonferroni(values):
    adjusted = holm(values)
    for raw, one in zip(values, adjusted, strict=True):
        assert raw <= one <= min(1.0, raw * len(values)) or one == pytest.approx(min(1.0, max(raw, one)))
    ordered = [adjusted[index] for index in np.argsort(values, kind="stable")]
    assert ordered == sorted(ordered)


def test_bootstrap_interval_repeats_and_covers():
    values = [float(value) for value in np.random.default_rng(0).normal(5.0, 1.0, size=60)]
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    half = 1.96 * np.std(values) / np.sqrt(60)
    assert low == pytest.approx(np.mean(values) - half, abs=0.1) and high == pytest.approx(
        np.mean(values) + half, abs=0.1
    )
    assert bootstrap_interval([1.0]) is None and bootstrap_interval([2.0, 2.0]) == (2.0, 2.0)
