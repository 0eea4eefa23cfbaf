"""The global verdict: uniform p-values for a true theory, near-singular covariances and few networks included."""

from __future__ import annotations

import numpy as np
import pytest
from mcnet_analysis.statistics.estimate import moments
from mcnet_analysis.statistics.verdict import combine, judge, pivoted_cholesky
from scipy import stats

TRIALS = 400


def _p_values(networks, p, correlation, shift=0.0, seed=21):
    """p-values for p columns with correlation^|i-j| between neighbours, covariance estimated from the networks."""
    rng = np.random.default_rng(seed)
    true = correlation ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    root = np.linalg.cholesky(true)
    result = []
    for _ in range(TRIALS):
        estimate = moments(rng.normal(size=(networks, p)) @ root.T + 1.0)
        result.append(judge(estimate.mean - (1.0 + shift), estimate.covariance[:p, :p], networks).p_value)
    return np.array(result)


def _uniform(p_values):
    return float(stats.kstest(p_values, "uniform").pvalue)


@pytest.mark.parametrize(
    ("networks", "p", "correlation"),
    [(200, 10, 0.0), (200, 10, 0.9), (200, 40, 0.999), (60, 12, 0.5)],
    ids=["independent", "layers", "nearly singular", "few networks"],
)
def test_p_value_is_uniform_for_a_true_theory(networks, p, correlation):
    assert _uniform(_p_values(networks, p, correlation)) > 1e-4


def test_p_value_rejects_a_wrong_theory():
    # Non-centrality N shift^2 1^T C^-1 1 = 26 with 10 degrees of freedom: power 0.94 at 0.05.
    shift = np.sqrt(26 / (200 * _gain(10, 0.9)))
    assert np.mean(_p_values(200, 10, 0.9, shift=shift) < 0.05) > 0.85


def _gain(p, correlation):
    inverse = np.linalg.inv(correlation ** np.abs(np.subtract.outer(np.arange(p), np.arange(p))))
    return inverse.sum()


def test_diagonal_errors_would_be_wrong():
    """The mutant: with correlated layers, a chi-square without their covariance is not uniform."""
    rng = np.random.default_rng(22)
    true = 0.9 ** np.abs(np.subtract.outer(np.arange(10), np.arange(10)))
    scores = rng.normal(size=(TRIALS, 10)) @ np.linalg.cholesky(true).T
    assert _uniform(stats.chi2.sf((scores**2).sum(1), 10)) < 1e-6
    whitened = [judge(score, true, np.inf, cut=0.01).p_value for score in scores]
    assert _uniform(np.array(whitened)) > 1e-4


def test_groups_of_different_sizes_add_up():
    rng = np.random.default_rng(23)
    p_values = []
    for _ in range(TRIALS):
        groups = []
        for networks, p in ((60, 5), (300, 8), (40, 3)):
            estimate = moments(rng.normal(size=(networks, p)))
            groups.append(judge(estimate.mean, estimate.covariance[:p, :p], networks))
        total = combine(groups)
        assert total.dof == 5 + 8 + 3
        p_values.append(total.p_value)
    assert _uniform(np.array(p_values)) > 1e-4


def test_a_repeated_column_counts_once():
    c = np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 1.0]])
    verdict = judge([1.0, 1.0, 0.5], c, np.inf)
    assert verdict.dof == 2
    direct = np.linalg.solve(c[1:, 1:], [1.0, 0.5]) @ [1.0, 0.5]
    assert verdict.chi2 == pytest.approx(direct, rel=1e-12)


def test_too_few_networks_judge_fewer_columns():
    assert judge(np.zeros(20), np.eye(20), 40).dof == 4
    nothing = judge(np.zeros(3), np.eye(3), 5)
    assert nothing.dof == 0
    assert np.isnan(nothing.p_value)
    assert combine([nothing]).dof == 0


def test_undefined_deviations_are_left_out():
    c = np.diag([1.0, 2.0, 0.0])
    assert judge([1.0, np.nan, 1.0], c, np.inf).chosen.tolist() == [0]
    c[1, :] = c[:, 1] = np.nan
    assert judge([1.0, 2.0, 1.0], c, np.inf).chosen.tolist() == [0]


def test_pivoted_cholesky_factors_what_it_chose():
    rng = np.random.default_rng(24)
    a = rng.normal(size=(8, 5))
    c = a @ a.T
    c /= np.sqrt(np.outer(np.diag(c), np.diag(c)))
    order, factor = pivoted_cholesky(c, 1e-6, 8)
    assert order.size == 5
    np.testing.assert_allclose(factor @ factor.T, c[np.ix_(order, order)], atol=1e-12)


def test_an_absurd_deviation_stays_finite():
    verdict = judge([1e6], [[1.0]], 1000)
    assert np.isfinite(verdict.chi2)
    assert verdict.chi2 > 1e10
    assert verdict.p_value == 0.0
