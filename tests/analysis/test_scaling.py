"""Fits in 1/M on ensembles whose expansion is known."""

from __future__ import annotations

import numpy as np
import pytest
from mcnet_analysis.statistics.estimate import moments
from mcnet_analysis.statistics.scaling import drop_smallest, fit

WIDTHS = np.array([16, 24, 32, 64, 128, 256])


def test_a_polynomial_without_noise_is_found():
    m = 1.0 / WIDTHS
    y = np.stack([2.0 * m - 9.0 * m**2, 0.7 + 2.0 * m - 9.0 * m**2], axis=1)
    known = fit(WIDTHS, y[:, :1], np.full((6, 1), 1e-9), scale=2.0, growth=5.0, order=2)
    free = fit(WIDTHS, y[:, 1:], np.full((6, 1), 1e-9), scale=2.0, growth=5.0, first=0, order=3)
    np.testing.assert_allclose(known.coefficient[0], [2.0, -9.0], atol=2e-2)
    np.testing.assert_allclose(free.coefficient[0], [0.7, 2.0, -9.0], atol=5e-2)
    np.testing.assert_allclose(known.weights[0] @ y[:, 0], known.coefficient[0], rtol=1e-9)
    assert known.dof[0] == 4
    assert free.dof[0] == 3


SCALE, GROWTH = 2.0, 6.0


def _ensemble(rng, trials, limit, widths=WIDTHS, third=40.0):
    """Means over networks with E X = limit + 2/M - 12/M^2 + third/M^3 and variance 3/M."""
    m = 1.0 / widths[:, None]
    error = np.sqrt(3.0 * m / 20_000) * np.ones((1, trials))
    return limit + 2.0 * m - 12.0 * m**2 + third * m**3 + error * rng.normal(size=error.shape), error


def _covered(result, truth):
    return [np.mean(np.abs(result.coefficient[:, k] - a) < result.error[:, k]) for k, a in enumerate(truth)]


@pytest.mark.parametrize("limit", [0.0, 0.7])
def test_coverage_of_the_leading_coefficients(limit):
    """Widths at which sampling noise is the error: the coefficients of one fixed truth are covered as promised."""
    widths = np.array([32, 48, 64, 96, 128, 256])
    y, error = _ensemble(np.random.default_rng(11), 4000, limit, widths)
    result = fit(widths, y, error, scale=SCALE, growth=GROWTH, first=0 if limit else 1)
    truth = [0.7, 2.0] if limit else [2.0]
    assert np.abs(np.array(_covered(result, truth)) - 0.683).max() < 0.03
    assert abs(np.mean(result.p_value < 0.5) - 0.5) < 0.05


@pytest.mark.parametrize("limit", [0.0, 0.7])
def test_coverage_where_the_neglected_order_matters(limit):
    """With width 16 the third coefficient is no longer small: over the laws it may have, coverage is as promised."""
    rng = np.random.default_rng(16)
    third = SCALE * GROWTH**2 * rng.normal(size=4000)
    y, error = _ensemble(rng, 4000, limit, third=third)
    result = fit(WIDTHS, y, error, scale=SCALE, growth=GROWTH, first=0 if limit else 1)
    truth = [0.7, 2.0] if limit else [2.0]
    assert np.abs(np.array(_covered(result, truth)) - 0.683).max() < 0.03


def test_coverage_fails_if_the_next_order_is_forgotten():
    """The mutant: a straight line that believes itself exact covers far less than it says."""
    y, error = _ensemble(np.random.default_rng(12), 1000, 0.0)
    result = fit(WIDTHS, y, error, scale=2.0, growth=0.0, order=1)
    assert np.mean(np.abs(result.coefficient[:, 0] - 2.0) < result.error[:, 0]) < 0.2


def test_coverage_of_variance_coefficients_from_networks():
    """Products of chi-squares (deep linear networks): Var = (1 + 2/M)^L - 1, jackknife errors of real samples."""
    rng = np.random.default_rng(13)
    trials, networks, depth = 2000, 600, 3
    variance, error = np.empty((6, trials)), np.empty((6, trials))
    for i, width in enumerate(WIDTHS):
        factors = rng.gamma(width / 2, 2 / width, size=(depth, networks, trials))
        result = moments(factors.prod(0), joint=[])
        variance[i], error[i] = result.variance, result.variance_error
    fitted = fit(WIDTHS, variance, error, scale=2.0 * depth, growth=5.0)
    inside = np.mean(np.abs(fitted.coefficient[:, 0] - 2.0 * depth) < fitted.error[:, 0])
    assert abs(inside - 0.683) < 0.03


def test_order_grows_where_the_neglected_orders_ask_for_it_and_never_because_of_a_misfit():
    """A choice that looks at the values gives a wrong theory the freedom to hide: chi-square falls as it gets worse."""
    m = 1.0 / WIDTHS[:, None]
    rng = np.random.default_rng(14)
    error = np.full((6, 400), 1e-5)
    mild = 2.0 * m - 12.0 * m**2 + error * rng.normal(size=error.shape)
    wild = mild + 6000.0 * m**3  # far beyond the growth that is allowed for
    assert np.all(fit(WIDTHS, mild, error, scale=2.0, growth=0.1).order == 2)
    misfit = fit(WIDTHS, wild, error, scale=2.0, growth=0.1)
    assert np.all(misfit.order == 2)
    assert np.all(misfit.p_value < 1e-6)
    careful = fit(WIDTHS, mild, error, scale=2.0, growth=6.0)  # 72/M^3 is far above 1e-5
    assert np.all(careful.order >= 3)


def test_an_exact_expansion_uses_no_further_orders():
    m = 1.0 / WIDTHS[:, None]
    result = fit(WIDTHS, 2.0 * m, 1e-3 * np.ones((6, 1)), scale=2.0, growth=0.0)
    assert result.order[0] == 1
    assert result.truncation[0, 0] == 0.0
    assert result.error[0, 0] == pytest.approx(1e-3 / np.sqrt((m**2).sum()), rel=1e-12)


@pytest.mark.parametrize("widths", [[64], [64, 256]])
def test_few_widths_say_what_they_neglect(widths):
    m = 1.0 / np.array(widths)[:, None]
    result = fit(widths, 2.0 * m, 1e-9 * np.ones_like(m), scale=2.0, growth=5.0)
    assert result.order[0] == 1
    assert result.truncation[0, 0] > 10 * result.statistical[0, 0]
    if len(widths) == 1:
        assert result.truncation[0, 0] == pytest.approx(2.0 * 5.0 / 64, rel=0.05)
        assert np.isnan(result.p_value[0])


def test_dropping_the_smallest_width_is_judged_by_the_error_of_the_difference():
    y, error = _ensemble(np.random.default_rng(15), 4000, 0.0)
    y = y - 40.0 / WIDTHS[:, None] ** 3.0  # ends with 1/M^2, as the fit assumes
    full = fit(WIDTHS, y, error, scale=2.0, growth=1e-6, order=2)
    _, z = drop_smallest(WIDTHS, y, error, full, scale=2.0, growth=1e-6)
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)
    assert abs(z.mean()) < 5 / np.sqrt(z.size)


def test_too_many_coefficients_are_refused():
    with pytest.raises(ValueError, match="3 coefficients cannot be fitted to 2 widths"):
        fit([64, 128], np.ones((2, 1)), np.ones((2, 1)), scale=1.0, growth=5.0, order=3)
