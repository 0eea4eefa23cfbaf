"""Gaussian means of all pairs of many inputs: series against quadrature in two dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import gaussian, many_inputs, tangent

ACTIVATIONS = ("tanh", "silu", "elu", "selu", "softplus", "sigmoid")  # those without closed forms
SOME = ((0, 1), (3, 17), (5, 29), (20, 21), (0, 30))


def inputs(kind: str) -> np.ndarray:
    """Covariances of 31 inputs; the last is nearly the first."""
    x = np.random.default_rng(7).normal(size=(30, 16))
    x = np.concatenate([x, x[:1] + 1e-4 * x[1:2]])
    gram = x @ x.T / 16
    return {"apart": gram, "close": gram + 9.0, "long": 30.0 * gram}[kind]


@pytest.mark.parametrize("kind", ["apart", "close", "long"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_series_is_the_quadrature(name: str, kind: str) -> None:
    phi, q = activations.get(name), inputs(kind)
    for derivative, double in ((False, gaussian.product), (True, gaussian.derivative_product)):
        found = many_inputs.pair_means(phi, q, derivative)
        assert np.array_equal(found, found.T)
        for a, b in SOME:
            size = np.sqrt(found[a, a] * found[b, b])
            assert abs(found[a, b] - double(phi, q[a, a], q[b, b], q[a, b])) < 1e-12 * size


def test_pairs_that_the_bound_does_not_cover_go_to_the_quadrature(monkeypatch: pytest.MonkeyPatch) -> None:
    """With four coefficients the bound sends all pairs there; a bound that is believed too small is seen."""
    phi, q = activations.get("tanh"), inputs("close")
    right = many_inputs.pair_means(phi, q, False)
    monkeypatch.setattr(many_inputs, "ORDERS", (4,))
    np.testing.assert_allclose(many_inputs.pair_means(phi, q, False), right, rtol=1e-12)
    monkeypatch.setattr(many_inputs, "ACCURACY", 1.0)
    assert np.abs(many_inputs.pair_means(phi, q, False) - right).max() > 1e-6


def test_inputs_of_length_zero() -> None:
    q = inputs("apart")
    q[2] = q[:, 2] = 0.0
    found = many_inputs.pair_means(activations.get("softplus"), q, False)
    assert found[2, 2] == pytest.approx(np.log(2.0) ** 2, rel=1e-12)
    assert found[2, 3] == pytest.approx(gaussian.product("softplus", 0.0, q[3, 3], 0.0), rel=1e-12)


def test_the_kernel_of_a_hundred_inputs_is_that_of_each_pair() -> None:
    x = np.random.default_rng(8).normal(size=(100, 20))
    gram = x @ x.T / 20
    arguments = ("tanh", 2.0, 0.1, 3, "standard", True, 64)
    whole = tangent.kernel(gram, *arguments, input_dimension=20)
    for a, b in ((0, 1), (17, 99)):
        pair = tangent.kernel(gram[np.ix_((a, b), (a, b))], *arguments, input_dimension=20)
        np.testing.assert_allclose(whole[np.ix_((a, b), (a, b))], pair, rtol=1e-11)
