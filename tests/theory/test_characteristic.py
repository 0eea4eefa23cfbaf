"""The expected characteristic polynomial of J J^T: explicit networks at M = 3 and 6, second moments, Laguerre zeros."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from random_networks import haar
from scipy.special import eval_laguerre, roots_laguerre

from mcnet import activations
from mcnet.theory import exact
from mcnet.theory.exact.jacobian import second_moments

LEAKY = {"name": "leaky-relu", "slope": 0.3}


def elementary(a: np.ndarray, count: int) -> np.ndarray:
    """e_1..e_count of symmetric matrices (N, M, M) by Newton's identities on traces of powers."""
    powers, product = [], a
    for _ in range(count):
        powers.append(np.einsum("nii->n", product))
        product = product @ a
    e = [np.ones(len(a))]
    for k in range(1, count + 1):
        e.append(sum((-1) ** (i - 1) * e[k - i] * powers[i - 1] for i in range(1, k + 1)) / k)
    return np.stack(e[1:], axis=1)


def sample(name: str | dict[str, str | float], weights: str, width: int, depth: int, count: int) -> np.ndarray:
    """J J^T of networks without bias, each at an input of its own, sigma_w2 = 1.6."""
    rng, phi = np.random.default_rng(2), activations.get(name)
    h = rng.standard_normal((count, width))
    j = np.broadcast_to(np.eye(width), (count, width, width))
    for _ in range(depth):
        if weights == "gaussian":
            w = math.sqrt(1.6 / width) * rng.standard_normal((count, width, width))
        else:
            w = math.sqrt(1.6) * haar(rng, count, width)
        u = np.einsum("nij,nj->ni", w, h)
        j = phi.dphi(u)[:, :, None] * (w @ j)
        h = phi.phi(u)
    return j @ j.transpose(0, 2, 1)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(("name", "width", "count"), [("linear", 3, 3), ("relu", 3, 3), ("relu", 6, 3), (LEAKY, 6, 2)])
def test_explicit_networks(weights: str, name: str | dict[str, str | float], width: int, count: int) -> None:
    """Depth 2, in standard errors; for relu at M = 6 the means of higher k are rare events. 2 % more is refused."""
    e = elementary(sample(name, weights, width, 2, 400_000 if weights == "gaussian" else 100_000), count)
    expected = exact.jacobian_elementary(name, weights, 1.6, width, 2, count)
    if name == "linear" and weights == "orthogonal":  # no fluctuation at all
        np.testing.assert_allclose(e, np.broadcast_to(expected, e.shape), rtol=1e-9)
        return
    error = e.std(0) / math.sqrt(len(e))
    z, wrong = ((e.mean(0) - factor * expected) / error for factor in (1.0, 1.02))
    assert np.abs(z).max() < 4.0
    assert np.abs(wrong).max() > 6.0
    other = {"gaussian": "orthogonal", "orthogonal": "gaussian"}[weights]
    wrong = exact.jacobian_elementary(name, other, 1.6, width, 2, count)
    assert np.abs((e.mean(0) - wrong) / error).max() > 20.0


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("name", ["linear", "relu", LEAKY])
def test_first_two_are_the_exact_moments(weights: str, name: str | dict[str, str | float]) -> None:
    """2 e_2 = (Tr A)^2 - Tr A^2, by recursions that share nothing with the formula."""
    for width, depth in ((2, 1), (7, 5), (300, 40)):
        moments = second_moments(name, weights, 1.6, depth, width)
        second = 0.5 * (width**2 * moments.trace_square - width * moments.second)
        got = exact.jacobian_elementary(name, weights, 1.6, width, depth, 2)
        np.testing.assert_allclose(got, [width * moments.mean, second], rtol=1e-10)


def test_determinants() -> None:
    """e_M of a linear Gaussian layer is E det(W W^T) = M!/M^M, and nothing follows e_M."""
    got = exact.jacobian_elementary("linear", "gaussian", 1.0, 5, 1, 8)
    np.testing.assert_allclose(got[4], math.factorial(5) / 5**5, rtol=1e-13)
    np.testing.assert_array_equal(got[5:], 0.0)
    deep = exact.jacobian_elementary("relu", "gaussian", 2.0, 1, 9, 1)
    np.testing.assert_allclose(deep, [1.0], rtol=1e-13)


def test_wide_networks_do_not_overflow() -> None:
    log = exact.log_jacobian_elementary("relu", "orthogonal", 2.0, 100_000, 64, 50_000)
    exactly = sum(math.log(Fraction(100_000 - i, i + 1)) for i in range(50_000))
    np.testing.assert_allclose(log[-1], exactly, rtol=1e-12)
    values = exact.jacobian_elementary("relu", "gaussian", 2.0, 100_000, 64, 50_000)
    assert np.all(np.isfinite(values[:10]))
    assert np.isposinf(values[5000])
    assert np.all(exact.jacobian_elementary("linear", "gaussian", 0.0, 4, 2, 4) == 0.0)


def test_polynomial_of_one_layer_is_that_of_laguerre() -> None:
    """E det(x - W W^T) = (-1)^M M!/M^M L_M(M x)."""
    width, x = 6, np.linspace(-1.0, 5.0, 13)
    got = np.polyval(exact.characteristic_polynomial("linear", "gaussian", 1.0, width, 1), x)
    np.testing.assert_allclose(got, math.factorial(width) / width**width * eval_laguerre(width, width * x), rtol=1e-11)


def test_free_product() -> None:
    """One layer after another, and two fixed matrices with a Haar rotation between them."""
    one = np.abs(exact.characteristic_polynomial("relu", "gaussian", 1.6, 9, 1))
    two = np.abs(exact.characteristic_polynomial("relu", "gaussian", 1.6, 9, 2))
    np.testing.assert_allclose(exact.free_product(one, one), two, rtol=1e-12)
    a, b = np.diag([0.5, 1.0, 3.0]), np.diag([0.2, 2.0, 2.5])
    o = haar(np.random.default_rng(0), 40_000, 3)
    e = elementary(a @ o @ b @ o.transpose(0, 2, 1), 3)
    expected = exact.free_product(np.abs(np.poly(a)), np.abs(np.poly(b)))
    error = e.std(0)[:2] / math.sqrt(len(e))
    assert np.abs((e.mean(0)[:2] - expected[1:3]) / error).max() < 4.0
    np.testing.assert_allclose(e[:, 2], expected[3], rtol=1e-8)
    assert abs(e.mean(0)[1] - 1.02 * expected[2]) > 6.0 * error[1]
    with pytest.raises(ValueError, match="one length"):
        exact.free_product([1.0, 2.0], [1.0, 2.0, 3.0])


def test_zeros_of_one_layer_are_those_of_laguerre() -> None:
    got = exact.characteristic_zeros("relu", "gaussian", 1.6, 40, 1)
    np.testing.assert_allclose(got, 0.8 * roots_laguerre(40)[0] / 40, rtol=1e-12)


@pytest.mark.parametrize(("width", "depth"), [(2, 7), (12, 3), (40, 2), (15, 40)])
def test_zeros_by_changes_of_sign(width: int, depth: int) -> None:
    """The polynomial in exact fractions changes its sign within 1e-12 around every zero."""
    zeros = exact.characteristic_zeros("linear", "gaussian", 1.0, width, depth)
    coefficients = [
        (-1) ** k * math.comb(width, k) * Fraction(math.perm(width, k), width**k) ** depth for k in range(width + 1)
    ]

    def value(x: Fraction) -> Fraction:
        total = Fraction(0)
        for coefficient in coefficients:
            total = total * x + coefficient
        return total

    assert zeros.shape == (width,)
    assert np.all(np.diff(zeros) > 0.0)
    for x in zeros:
        around = [Fraction(float(x)) * (1 + sign * Fraction(1, 10**12)) for sign in (-1, 1)]
        assert value(around[0]) * value(around[1]) < 0


def test_zeros_of_haar_networks_and_in_the_limit() -> None:
    np.testing.assert_array_equal(exact.characteristic_zeros("relu", "orthogonal", 2.4, 5, 3), 1.2**3)
    zeros = exact.characteristic_zeros("linear", "gaussian", 1.0, 150, 2)
    np.testing.assert_allclose([zeros.mean(), (zeros**2).mean(), (zeros**3).mean()], [1.0, 3.0, 12.0], rtol=0.04)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"activation": "tanh"}, "not homogeneous"),
        ({"weights": "uniform"}, 'weights = "uniform"'),
        ({"width": 0}, "at least 1"),
        ({"sigma_w2": -1.0}, "at least 1, 1 and 0"),
    ],
)
def test_what_is_refused(change: dict[str, object], match: str) -> None:
    given = {"activation": "relu", "weights": "gaussian", "sigma_w2": 2.0, "width": 4, "depth": 2, **change}
    with pytest.raises(ValueError, match=match):
        exact.jacobian_elementary(**given, count=2)
    with pytest.raises(ValueError, match=match):
        exact.characteristic_zeros(**given)


def test_zeros_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        exact.characteristic_zeros("linear", "gaussian", 1.0, 100, 200)
