"""Fisher matrix of a softmax output: against the explicit P x P matrix of a model that is linear in its parameters."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet.theory import softmax_fisher

RNG = np.random.default_rng(4)
X = RNG.standard_normal((6, 4))  # f_k(t) = theta_k . x_t: Theta is X X^T for every class, nothing between classes


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits)
    return weights / weights.sum(1, keepdims=True)


P = softmax(RNG.standard_normal((6, 3)))


def explicit(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Eigenvalues of the mean over inputs and labels of the squared score, label by label."""
    inputs, classes = p.shape
    fisher = np.zeros((classes * x.shape[1],) * 2)
    for t in range(inputs):
        for label in range(classes):
            score = np.kron(np.eye(classes)[label] - p[t], x[t])
            fisher += p[t, label] / inputs * np.outer(score, score)
    return np.linalg.eigvalsh(fisher)[::-1]


def test_dual_has_the_spectrum_of_the_fisher_matrix() -> None:
    got = softmax_fisher.eigenvalues(X @ X.T, P)
    assert got.shape == (12,)
    np.testing.assert_allclose(got, explicit(X, P), atol=1e-13)
    assert not np.allclose(softmax_fisher.eigenvalues(1.02 * X @ X.T, P), explicit(X, P), rtol=1e-3)
    one = softmax_fisher.eigenvalues(X[:1] @ X[:1].T, P[:1])
    np.testing.assert_allclose(one, explicit(X[:1], P[:1])[:2], atol=1e-13)
    both = softmax_fisher.eigenvalues(X @ X.T, np.stack([P, P[::-1]]))  # networks with one kernel
    np.testing.assert_allclose(both, [explicit(X, P)[:12], explicit(X, P[::-1])[:12]], atol=1e-13)
    with pytest.raises(ValueError, match=r"shape \(T, C\)"):
        softmax_fisher.outliers(2.0, 1.0, np.stack([P, P]))


def test_outliers_are_first_order_and_the_trace_exact() -> None:
    """Their error is quadratic in theta_1 - theta_2: halving it, the error falls fourfold."""
    p = softmax(np.random.default_rng(9).standard_normal((40, 3)))
    errors = []
    for spread in (0.2, 0.1):
        kernel = np.full((40, 40), 2.0) + spread * np.eye(40)
        got, exact = softmax_fisher.outliers(2.0 + spread, 2.0, p), softmax_fisher.eigenvalues(kernel, p)
        errors.append(got.values - exact[:2])
        np.testing.assert_allclose(got.trace, exact.sum(), rtol=1e-13)
        assert exact[2] < got.bulk_edge < got.values[-1]
    np.testing.assert_allclose(errors[0] / errors[1], 4.0, rtol=0.02)
    assert np.abs(errors[0]).max() < 1e-5
    shifted = softmax_fisher.outliers(2.0 + 0.2 * 1.02, 2.0, p).values - softmax_fisher.outliers(2.2, 2.0, p).values
    assert shifted.min() > 2e-5  # what an error of 2 % of the correction would do


def test_equal_probabilities() -> None:
    p = np.full((9, 4), 0.25)
    got = softmax_fisher.outliers(3.0, 1.0, p)
    np.testing.assert_allclose(got.values, (3.0 + 8 * 1.0) / 36, rtol=1e-13)
    exact = softmax_fisher.eigenvalues(np.full((9, 9), 1.0) + 2.0 * np.eye(9), p)
    np.testing.assert_allclose(exact[:3], got.values, rtol=1e-12)
    np.testing.assert_allclose(exact[3:], got.bulk_edge, rtol=1e-12)


@pytest.mark.parametrize(
    ("p", "match"),
    [
        (np.ones((3, 1)), "at least two classes"),
        (np.full((3, 2), 0.6), "sum to 1"),
        ([[1.5, -0.5]], "non-negative"),
        (np.full((4, 2), 0.5), r"shape \(4, 4\)"),
    ],
)
def test_what_is_refused(p: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        softmax_fisher.eigenvalues(np.eye(3), p)
