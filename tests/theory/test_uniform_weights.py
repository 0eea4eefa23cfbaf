"""The 1/M shift that uniform weights add: exact in the first layer, by networks in the second."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from mcnet import activations
from mcnet.theory import finite_width, uniform_weights

PATTERN = np.array([[1.3, -0.4, 0.8, 1.1], [0.2, 1.0, -0.6, 1.4]])  # repeated to any dimension


@pytest.mark.parametrize("name", ["tanh", "gelu", "hard-tanh"])
def test_without_fourth_cumulant_it_is_the_gaussian_expansion(name: str) -> None:
    for x in (PATTERN[:1], PATTERN):
        got = uniform_weights.q_hat(name, 1.7, 0.2, x, 3, 0.0)
        other = finite_width.coefficients(x @ x.T / 4, name, "gaussian", 1.7, 0.2, 3, "ntk", False)
        np.testing.assert_allclose(got.limit, other.q_hat_limit[1:], rtol=1e-9)
        np.testing.assert_allclose(got.mean, other.q_hat_mean[1:], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(got.variance, other.q_hat_variance[1:], rtol=1e-9)


def first_layer(name: str, copies: int) -> np.ndarray:
    """n (E K^1 - limit) for weights of random sign and n = 4 copies: equal inputs meet a binomial number of signs."""
    phi = activations.get(name)
    n = 4 * copies
    count = np.array(list(itertools.product(np.arange(copies + 1), repeat=4)))
    probability = binom.pmf(np.arange(copies + 1), copies, 0.5)[count].prod(1)
    h = phi.phi(np.sqrt(1.7 / n) * (2.0 * count - copies) @ PATTERN.T)  # (., 2)
    mean = (h * probability[:, None]).T @ h
    return n * (mean - uniform_weights.q_hat(name, 1.7, 0.0, PATTERN, 1).limit[0])


@pytest.mark.parametrize("name", ["tanh", "sin"])
def test_first_layer_of_random_signs(name: str) -> None:
    """Every entry for two inputs, extrapolated in 1/n from n = 24, 48, 96; an error of 2 % is refused."""
    values = [first_layer(name, copies) for copies in (6, 12, 24)]  # c + c2/n + c3/n^2
    powers = np.vander(1 / np.array([24.0, 48.0, 96.0]), increasing=True)
    limit = np.linalg.solve(powers, np.array(values).reshape(3, 4))[0].reshape(2, 2)
    got = uniform_weights.q_hat(name, 1.7, 0.0, PATTERN, 1, -2.0).mean[0]
    np.testing.assert_allclose(got, limit, rtol=0.01)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(1.02 * got, limit, rtol=0.01)


def second_layer(width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """K^2 of uniform and of Gaussian weights, tanh, sigma_w2 = 2, x = 1; uniform entries are quantiles of normals."""
    rng = np.random.default_rng(7)
    result = []
    normals = [rng.standard_normal((count, width, width), dtype=np.float32) for _ in range(2)]
    for uniform in (True, False):
        h = np.ones((count, width))
        for z in normals:
            w = np.sqrt(12.0) * (ndtr(z) - 0.5) if uniform else z
            h = np.tanh(np.sqrt(2.0 / width) * np.einsum("nij,nj->ni", w, h))
        result.append((h**2).mean(1))
    return result[0], result[1]


def test_second_layer_of_networks() -> None:
    """The difference to Gaussian weights, +0.0258 against -0.0383, in standard errors; half the term is refused."""
    width, count = 32, 12000
    uniform, normal = second_layer(width, count)
    x = np.ones((1, 1))
    shift = uniform_weights.q_hat("tanh", 2.0, 0.0, x, 2).mean[1, 0, 0]
    gauss = uniform_weights.q_hat("tanh", 2.0, 0.0, x, 2, 0.0).mean[1, 0, 0]
    np.testing.assert_allclose([shift, gauss], [0.0258, -0.0383], atol=1e-4)
    difference = width * (uniform - normal)
    error = difference.std() / np.sqrt(count)
    assert error < 0.01
    assert abs(difference.mean() - (shift - gauss)) < 4.0 * error
    assert abs(difference.mean() - 0.5 * (shift - gauss)) > 4.0 * error


def test_what_is_exact_or_refused() -> None:
    """relu without bias has no shift of a length at all."""
    assert np.abs(uniform_weights.q_hat("relu", 2.0, 0.0, PATTERN[:1], 4).mean).max() < 1e-12
    with pytest.raises(ValueError, match="parallel"):
        uniform_weights.q_hat("tanh", 2.0, 0.0, [[1.0, 2.0], [2.0, 4.0]], 1)
    with pytest.raises(ValueError, match="one or two inputs"):
        uniform_weights.q_hat("tanh", 2.0, 0.0, np.eye(3), 1)
