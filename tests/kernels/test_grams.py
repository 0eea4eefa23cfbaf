"""Gram matrices in the difference basis."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from mcnet.kernels.grams import (
    correlations,
    correlations_of_inputs,
    one_minus_correlations,
    to_difference,
    to_plain,
)

X = np.random.default_rng(1).standard_normal((3, 5, 11))  # (N, T, M)
Y = np.concatenate([X[:, :1], X[:, 1:] - X[:, :1]], axis=1)


def gram(x: np.ndarray) -> np.ndarray:
    return x @ np.swapaxes(x, -1, -2)


def test_bases() -> None:
    np.testing.assert_allclose(to_difference(gram(X)), gram(Y), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(to_plain(gram(Y)), gram(X), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(to_plain(gram(X[:, :1])), gram(X[:, :1]))


def test_correlations() -> None:
    direction = X / np.linalg.norm(X, axis=-1, keepdims=True)
    np.testing.assert_allclose(correlations(gram(Y)), gram(direction), rtol=1e-13, atol=1e-14)
    one = np.diagonal(correlations(gram(Y)), axis1=-2, axis2=-1)
    np.testing.assert_array_equal(one, 1.0)


@pytest.mark.parametrize("distance", [1e-4, 1e-8, 1e-15])
@pytest.mark.parametrize("stretch", [0.0, 0.3])
def test_close_inputs_keep_their_digits(distance: float, stretch: float) -> None:
    """x_1 = x_0 rotated by a small angle and stretched by a comparable amount: 1 - c = 1 - cos(angle)."""
    angle = distance
    shift = np.array([np.sqrt(1 + angle**2) * 0.0, angle])  # to the side
    y = np.array([[2.0, 0.0], 2.0 * shift + 2.0 * np.array([stretch * angle, 0.0])])
    c = one_minus_correlations(gram(y)[None])[0, 0, 1]
    exact = np.arctan(angle / (1 + stretch * angle)) ** 2 / 2  # 1 - cos = angle^2 / 2, to angle^4 / 24
    np.testing.assert_allclose(c, exact, rtol=max(1e-14, angle**2))


def test_a_zero_length_has_no_correlation() -> None:
    x = X[0].copy()
    x[2] = 0.0
    y = np.concatenate([x[:1], x[1:] - x[:1]])
    c = correlations(gram(y))
    assert np.isnan(c[2]).all()
    assert np.isnan(c[:, 2]).all()
    assert np.isfinite(np.delete(np.delete(c, 2, 0), 2, 1)).all()


def test_correlations_stay_between_minus_one_and_one() -> None:
    """Parallel and opposite inputs of lengths that differ by many orders, where rounding leads beyond."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=(1000, 1, 5))
    sign = rng.choice([-1.0, 1.0], (1000, 1, 1))
    other = first * sign * 10.0 ** rng.uniform(-4, 4, sign.shape)
    x, y = np.concatenate([first, other], axis=1), np.concatenate([first, other - first], axis=1)
    for c in (correlations(gram(y)), correlations_of_inputs(gram(x))):
        assert np.abs(c).max() <= 1.0
        assert np.abs(c[:, 0, 1] - sign[:, 0, 0]).max() < 1e-7


def test_correlations_of_inputs_are_cosines() -> None:
    np.testing.assert_allclose(correlations_of_inputs(gram(X)), correlations(gram(Y)), rtol=1e-12, atol=1e-14)


def test_any_array_library() -> None:
    strict = array_api_strict.asarray(gram(Y), device=array_api_strict.Device("device1"))
    for function in (to_difference, to_plain, correlations, one_minus_correlations, correlations_of_inputs):
        ours = function(strict).to_device(array_api_strict.Device("CPU_DEVICE"))
        np.testing.assert_allclose(np.asarray(ours), function(gram(Y)), rtol=1e-12, atol=1e-14)
