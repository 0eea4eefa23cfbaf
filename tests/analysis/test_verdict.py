"""The global verdict: uniform p-values for a true theory, near-singular covariances and few networks included."""

from __future__ import annotations

import numpy as np
import pytest
from mcnet_analysis.statistics.estimate import moments
from mcnet_analysis.statistics.power import LEVEL, PROBABILITY, detectable, noncentrality
from mcnet_analysis.statistics.verdict import combine, judge, pivoted_cholesky, with_outliers, with_truncation
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


def test_what_did_not_enter_is_seen_where_it_is_far_beyond_chance():
    """Ten scores that chi-square does not weigh: p stays uniform, and one of eight sigma rejects."""
    rng = np.random.default_rng(25)
    free = np.full(10, 50.0)
    p_values = []
    for _ in range(TRIALS):
        main = judge(rng.normal(size=4), np.eye(4), np.inf)
        p_values.append(with_outliers(main, rng.standard_t(50, size=10), free).p_value)
    assert _uniform(np.array(p_values)) > 1e-4
    main = judge(0.5 * np.ones(4), np.eye(4), np.inf)
    far = with_outliers(main, [0.3, -8.0], [1e3, 1e3])
    assert far.p_value < 1e-9
    assert stats.chi2.sf(far.chi2, far.dof) == pytest.approx(far.p_value, rel=1e-6)
    assert with_outliers(main, [3.0], [1e3]) is main
    alone = with_outliers(judge([], np.empty((0, 0)), 0.0), [8.0], [1e3])
    assert (alone.dof, alone.p_value < 1e-9) == (1, True)
    assert with_outliers(judge([], np.empty((0, 0)), 0.0), [2.0], [1e3]).dof == 0


def test_errors_of_few_networks_are_no_outliers():
    """The mutant: a normal law for a score of a heavy-tailed error rejects one study in fifty."""
    rng = np.random.default_rng(26)
    main = judge(0.5 * np.ones(4), np.eye(4), np.inf)
    z = rng.standard_t(4, size=(2000, 5))
    seen, mutant = (
        np.mean([with_outliers(main, row, np.full(5, free)).p_value < 0.01 for row in z]) for free in (4.0, 1e6)
    )
    assert seen < 0.002
    assert mutant > 0.01


def test_those_that_come_first_enter_first():
    """Two that say the same: the one that is asked first enters, whatever the pivot would take."""
    c = np.array([[1.0, 0.99], [0.99, 1.0]])
    assert judge([0.0, 0.0], c, np.inf, first=[1]).chosen.tolist() == [1]
    assert judge([0.0, 0.0], c, np.inf).chosen.tolist() == [0]
    assert judge([0.0, 0.0, 0.0], np.eye(3), np.inf, first=[2]).chosen.tolist() == [2, 0, 1]


def test_information_is_what_chi2_grows_by():
    rng = np.random.default_rng(27)
    c = np.array([[1.0, 0.5], [0.5, 2.0]])
    pattern = np.array([0.7, -0.4])
    root = np.linalg.cholesky(c)
    found = judge([0.0, 0.0], c, np.inf, patterns=[pattern])
    assert found.information[0] == pytest.approx(pattern @ np.linalg.solve(c, pattern), rel=1e-12)
    epsilon = detectable(float(found.information[0]), 2)
    seen = [judge(epsilon * pattern + root @ rng.normal(size=2), c, np.inf).p_value < LEVEL for _ in range(2000)]
    assert np.mean(seen) == pytest.approx(PROBABILITY, abs=5 * np.sqrt(0.09 / 2000))
    assert detectable(0.0, 2) == np.inf


@pytest.mark.parametrize(("networks", "p"), [(21, 1), (41, 3), (61, 5)])
def test_power_is_that_of_errors_known_from_few_networks(networks, p):
    """What each study says it would see is seen in nine of ten. The mutant: what chi2 grows by on average."""
    rng = np.random.default_rng(29)
    trials, nu = 20_000, networks - 1
    sample = rng.normal(size=(trials, networks, p))
    mean = sample.mean(1)
    centred = sample - mean[:, None]
    inverse = np.linalg.inv(centred.swapaxes(1, 2) @ centred / (nu * networks))
    pattern = np.ones(p)
    unit = pattern / np.sqrt(np.einsum("i,nij,j->n", pattern, inverse, pattern))[:, None]  # in each study's errors
    edge = stats.f.isf(LEVEL, p, nu - p + 1) * nu * p / (nu - p + 1)

    def seen(size):
        d = mean + size * unit
        return np.mean(np.einsum("ni,nij,nj->n", d, inverse, d) > edge)

    said = judge(np.zeros(p), np.eye(p), networks, patterns=np.eye(p)[:1], cut=0.0)
    error = np.sqrt(PROBABILITY * (1 - PROBABILITY) / trials)
    assert said.dof == p
    assert seen(detectable(float(said.information[0]), p)) == pytest.approx(PROBABILITY, abs=4 * error)
    assert seen(np.sqrt(noncentrality(p) * nu / (nu - p - 1))) < PROBABILITY - 4 * error


def test_noncentrality_of_errors_from_many_networks_is_that_of_known_ones():
    for p in (1, 4, 30):
        assert noncentrality(p, 1e7) == pytest.approx(noncentrality(p), rel=2e-3)


def test_of_equal_deviations_the_first_is_chosen():
    """Rounding of the diagonal (here 2 parts in 10^16) does not choose; the mutant takes the largest of them."""
    c = np.array([[1.0, 0.99], [0.99, 1.0]])
    c[1, 1] += 2.3e-16
    assert np.argmax(np.diag(c)) == 1
    assert pivoted_cholesky(c, 0.05, 2)[0].tolist() == [0]


def test_neglected_orders_are_correlated_like_the_noise():
    """Two layers that say the same to 1 %: the difference keeps its weight. The mutant: independent errors."""
    rng = np.random.default_rng(28)
    c = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.5], [0.5, 0.5, 1.0]])
    truncation = np.full(3, 0.25)
    assert with_truncation(c, truncation) == pytest.approx(c * (1 + 0.25**2), rel=1e-12)
    root = np.linalg.cholesky(c)
    draws = [root @ rng.normal(size=3) for _ in range(4 * TRIALS)]
    right, mutant = (
        np.mean([judge(d, covariance, np.inf).p_value for d in draws])
        for covariance in (with_truncation(c, truncation), c + np.diag(truncation**2))
    )
    assert right < 0.54
    assert mutant > 0.55
