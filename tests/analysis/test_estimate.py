"""Means, variances and jackknife errors against brute force and against exact laws."""

from __future__ import annotations

import time

import numpy as np
import pytest
from mcnet_analysis.statistics.estimate import jackknife, moments


def test_closed_form_is_the_delete_one_jackknife():
    rng = np.random.default_rng(1)
    x = rng.gamma(2.0, size=(40, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1.0]])
    result = moments(x, rows=7)
    estimate, covariance = jackknife(lambda s: np.concatenate([s.mean(0), s.var(0, ddof=1)]), x)
    np.testing.assert_allclose(np.concatenate([result.mean, result.variance]), estimate, rtol=1e-13)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-10, atol=1e-14)
    errors = np.concatenate([result.mean_error, result.variance_error])
    np.testing.assert_allclose(errors**2, np.diag(covariance), rtol=1e-10)


def test_errors_of_normal_variables_are_exact():
    rng = np.random.default_rng(2)
    n, p = 100_000, 20
    result = moments(rng.normal(3.0, 2.0, size=(n, p)))
    # The relative error of an estimated error is sqrt(kurtosis-like / N): 0.0022 and 0.0061 here.
    assert np.all(np.abs(result.mean_error / (2.0 / np.sqrt(n)) - 1) < 5 * np.sqrt(0.5 / n))
    assert np.all(np.abs(result.variance_error / (4.0 * np.sqrt(2.0 / n)) - 1) < 5 * np.sqrt(3.5 / n))
    assert np.all(np.abs(result.mean_support / n - 1 / 3) < 0.02)
    assert np.all(np.abs(result.variance_support / n - 1 / 15) < 0.03)


def test_a_heavy_tail_has_little_support():
    rng = np.random.default_rng(3)
    result = moments(np.exp(2.0 * rng.normal(size=(20_000, 1))))
    assert result.variance_support[0] < 20


def test_undefined_values_are_counted_and_give_a_ratio_of_means():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 2))
    x[::5, 1] = np.nan
    result = moments(x, rows=11)
    assert result.defined.tolist() == [60, 48]
    alive = x[np.isfinite(x[:, 1]), 1]
    assert result.mean[1] == pytest.approx(alive.mean(), rel=1e-13)
    assert result.variance[1] == pytest.approx(alive.var(ddof=1), rel=1e-13)
    assert result.mean_error[1] == pytest.approx(alive.std(ddof=1) / np.sqrt(48), rel=1e-13)
    # Brute force leaves networks out one at a time, undefined ones included.
    _, covariance = jackknife(lambda s: np.nanmean(s, axis=0), x)
    np.testing.assert_allclose(result.covariance[:2, :2], covariance, rtol=0.03)


@pytest.mark.parametrize("networks", [0, 1, 2])
def test_few_networks_have_no_error_bar(networks):
    result = moments(np.ones((networks, 2)) * np.arange(networks)[:, None])
    assert np.isnan(result.variance_error).all()
    assert np.isnan(result.mean_error).all() == (networks < 2)
    assert np.isnan(result.covariance).all()


def test_a_reader_gives_the_same_as_an_array_and_joint_columns_are_a_block():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1000, 4))
    whole = moments(x)
    read = moments(lambda a, b: x[a:b], networks=1000, columns=4, joint=[3, 1], rows=64)
    np.testing.assert_allclose(read.mean, whole.mean, rtol=1e-12)
    rows = [3, 1, 7, 5]
    np.testing.assert_allclose(read.covariance, whole.covariance[np.ix_(rows, rows)], rtol=1e-10)


def test_grouped_jackknife_of_a_ratio():
    rng = np.random.default_rng(6)
    x = rng.normal(5.0, 1.0, size=(4000, 2))
    estimate, covariance = jackknife(lambda s: s[:, 0].mean() / s[:, 1].mean(), x, groups=200)
    exact = 2.0 / 25.0 / 4000  # delta method: (1 + 1) / mean^2 / N
    assert estimate[0] == pytest.approx(1.0, abs=5 * np.sqrt(exact))
    assert covariance[0, 0] == pytest.approx(exact, rel=5 * np.sqrt(2 / 199))


def test_millions_of_networks_take_seconds():
    x = np.random.default_rng(7).normal(size=(500_000, 6))
    start = time.process_time()
    moments(x)
    assert time.process_time() - start < 2.0  # measured 0.3 s of processor time: 5 million in 3 s
