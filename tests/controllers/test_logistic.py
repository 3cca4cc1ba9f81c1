"""The truncated logistic distribution against SciPy's and against integration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import logistic as oracle

from automl_ext.controllers.logistic import entropy, log_density, log_mass, quantile, shape


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("centre", "width"), [(0.5, 0.5), (0.2, 0.05), (1.4, 0.3), (-0.4, 1.0)])
def test_masses_and_densities_are_scipys(centre, width):
    law = oracle(centre, width)
    for left, size in [(0.0, 1.0), (0.3, 0.01), (-0.1, 0.2)]:
        mass = log_mass(tensor(centre), tensor(width), tensor(left), tensor(size))
        assert np.isclose(float(mass.exp()), law.cdf(left + size) - law.cdf(left), rtol=1e-7)
    assert np.isclose(float(log_density(tensor(centre), tensor(width), tensor(0.7))), law.logpdf(0.7))


def test_masses_stay_finite_far_out():
    """In float32, sixty widths away, and for a cell of a billionth."""
    for left, size in [(0.99, 0.01), (1.0 - 1e-9, 1e-9)]:
        mass = log_mass(*(torch.tensor([value]) for value in (0.4, 0.01, left, size)))
        assert torch.isfinite(mass).all() and float(mass) < -50


@pytest.mark.parametrize(
    ("centre", "width", "low", "high"),
    [(0.5, 0.5, 0.0, 1.0), (1.49, 0.01, 0.0, 1.0), (-0.49, 0.01, 0.0, 1.0), (0.2, 0.1, 0.6, 0.7)],
)
def test_quantiles_invert_the_cut_distribution(centre, width, low, high):
    law = oracle(centre, width)
    for share in (0.0, 1e-6, 0.25, 0.5, 0.9, 1.0):
        place = quantile(centre, width, low, high, share)
        assert low <= place <= high
        flip = centre < (low + high) / 2
        tail = law.sf if flip else law.cdf
        ends = (tail(place) - tail(low)) / (tail(high) - tail(low))
        assert np.isclose(ends, share, atol=1e-6)


def test_the_entropy_is_largest_where_all_places_are_alike():
    wide, narrow = (entropy(tensor(0.5), tensor(width), tensor(0.0), tensor(1.0)) for width in (1000.0, 0.01))
    assert np.isclose(float(wide), np.log(16)) and 0 <= float(narrow) < 1.2


def test_the_outputs_start_in_the_middle_and_stay_bounded():
    centre, width = shape(torch.tensor([[0.0, 0.0], [50.0, 50.0], [-50.0, -50.0]]))
    assert np.allclose(centre, [0.5, 1.5, -0.5]) and np.allclose(width, [0.5, 1.0, 0.01])
