"""The quadrature against 30-digit integrals, exact orthants, Hermite series and a rule of another kind."""

import itertools
import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest

from mcnet import activations
from mcnet.activations import table
from mcnet.theory import gaussian

SMOOTH = {
    "tanh": mpmath.tanh,
    "silu": lambda u: u / (1 + mpmath.exp(-u)),
    "softplus": lambda u: mpmath.log1p(mpmath.exp(u)) if u < 0 else u + mpmath.log1p(mpmath.exp(-u)),
    "selu": lambda u: (
        mpmath.mpf(1.0507009873554805) * (u if u > 0 else mpmath.mpf(1.6732632423543772) * mpmath.expm1(u))
    ),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_square_against_thirty_digits(name):
    with mpmath.workdps(30):
        for q in (0.01, 1, 10, 100):
            root = mpmath.sqrt(mpmath.mpf(q))
            edges = sorted({mpmath.mpf(z) for z in range(-14, 15)} | {mpmath.mpf(k) / 20 for k in range(-20, 21)})
            integral = mpmath.quad(
                lambda z, root=root: SMOOTH[name](root * z) ** 2 * mpmath.npdf(z), edges, maxdegree=4
            )
            assert abs(gaussian.square(name, q) / float(integral) - 1) < 1e-13


def test_gauss_hermite_would_not_do():
    """The judge above has teeth: 64 Hermite nodes miss E tanh^2 at q = 5 by more than 1e-4."""
    z, weights = np.polynomial.hermite_e.hermegauss(64)
    rough = weights @ np.tanh(np.sqrt(5) * z) ** 2 / np.sqrt(2 * np.pi)
    assert abs(rough / gaussian.square("tanh", 5.0) - 1) > 1e-4


def test_moments_of_the_nodes():
    u, weights = gaussian.nodes(2.5)
    for order, moment in ((0, 1), (2, 1), (4, 3), (6, 15), (8, 105)):
        assert weights @ u**order == pytest.approx(moment * 2.5 ** (order / 2), rel=1e-13)
    values = gaussian.mean(lambda u: np.stack([u, u * u]), 2.5)
    np.testing.assert_allclose(values, [0, 2.5], atol=1e-13)
    u, weights = gaussian.pair_nodes([[2.0, -0.9], [-0.9, 0.7]])
    np.testing.assert_allclose((u * weights) @ u.T, [[2.0, -0.9], [-0.9, 0.7]], rtol=1e-13)
    assert weights @ (u[0] ** 2 * u[1] ** 2) == pytest.approx(2.0 * 0.7 + 2 * 0.81, rel=1e-13)
    assert gaussian.pair_mean(lambda a, b: a * b, [[2.0, -0.9], [-0.9, 0.7]]) == pytest.approx(-0.9, rel=1e-13)


GAPS = (1.0, 0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1.5, 2 - 1e-4, 2 - 1e-6)


@pytest.mark.parametrize("ratio", [1.0, 2.3])
def test_orthant(ratio):
    """P(u_a > 0, u_b > 0) and E relu relu, exact from the angle, up to correlations of 1 - 1e-8."""
    for q_a, gap in itertools.product((0.01, 1.0, 30.0), GAPS):
        root = q_a * math.sqrt(ratio)
        k = (1 - gap) * root
        theta = 2 * math.asin(math.sqrt(gap / 2))
        u, weights = gaussian.pair_nodes([[q_a, k], [k, ratio * q_a]], (0.0,), gap=gap)
        assert abs(weights @ np.all(u > 0, axis=0) - (math.pi - theta) / (2 * math.pi)) < 1e-13
        exact = root * (math.sin(theta) + (math.pi - theta) * math.cos(theta)) / (2 * math.pi)
        assert abs(weights @ np.prod(np.maximum(u, 0), axis=0) - exact) < 1e-13 * root


def test_without_the_kink_the_orthant_is_wrong():
    """Mutant: panels that do not know the kink."""
    u, weights = gaussian.pair_nodes([[1.0, 0.9], [0.9, 1.0]])
    exact = (math.pi - math.acos(0.9)) / (2 * math.pi)
    assert abs(weights @ np.all(u > 0, axis=0) - exact) > 1e-6


@pytest.mark.parametrize("name", ["tanh", "silu", "sigmoid", "erf", "sin"])
def test_smooth_products_against_the_trapezoidal_rule(name):
    """Rotated coordinates and equidistant nodes, which converge exponentially for analytic functions."""
    phi = activations.get(name).phi
    for q, c in itertools.product((0.01, 1.0, 20.0), (0.0, 0.6, -0.9, 0.9999)):
        z = np.linspace(-10, 10, 200 + int(150 * math.sqrt(q)))
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
        along, across = math.sqrt(q * (1 + c) / 2) * z[:, None], math.sqrt(q * (1 - c) / 2) * z
        expected = density @ (phi(along + across) * phi(along - across)) @ density
        value = gaussian.product(name, q, q, c * q, quadrature=True)
        assert abs(value - expected) < 1e-13 * gaussian.square(name, q)


@pytest.mark.parametrize("name", ["elu", "selu", "softplus", {"name": "elu", "alpha": 2.0}])
def test_products_against_the_hermite_series(name):
    """E f(u_a) f(u_b) = sum_n c^n (E f He_n)^2 / n!, from means of one variable only."""
    entry = activations.get(name)
    u, weights = gaussian.nodes(1.7, entry.kinks)
    z = u / math.sqrt(1.7)
    polynomial, below = np.ones_like(z), np.zeros_like(z)
    coefficients = []
    for n in range(61):
        coefficients.append([weights @ (f(u) * polynomial) for f in (entry.phi, entry.dphi)])
        # normalised: He_n / sqrt(n!)
        polynomial, below = (z * polynomial - math.sqrt(n) * below) / math.sqrt(n + 1), polynomial
    for c in (0.5, -0.4, 0.1):
        series = (np.array(coefficients) ** 2 * c ** np.arange(61)[:, None]).sum(0)
        value = [mean(name, 1.7, 1.7, c * 1.7) for mean in (gaussian.product, gaussian.derivative_product)]
        np.testing.assert_allclose(value, series, rtol=1e-12)


def test_singular_covariances_use_one_dimension():
    tanh = activations.get("tanh").phi
    for c in (1.0, -1.0):
        value = gaussian.product("tanh", 0.5, 2.0, c)
        assert value == pytest.approx(c * gaussian.mean(lambda u: tanh(u) * tanh(2 * u), 0.5), rel=1e-13)
    assert gaussian.product("softplus", 0.0, 2.0, 0.0) == pytest.approx(
        math.log(2) * gaussian.mean(activations.get("softplus").phi, 2.0), rel=1e-13
    )
    assert gaussian.product("tanh", 0.0, 0.0, 0.0) == 0.0
    assert gaussian.derivative_square("selu", 0.0) == pytest.approx(
        1.0507009873554805**2 * (1 + 1.6732632423543772**2) / 2
    )


def test_shapes_and_broadcasting():
    q = np.array([[0.5], [2.0]])
    k = np.array([0.0, 0.1, 0.4])
    for name in ("tanh", "erf"):
        assert gaussian.square(name, q).shape == (2, 1)
        products = gaussian.product(name, q, 1.0, k)
        assert products.shape == (2, 3)
        assert products[1, 2] == pytest.approx(gaussian.product(name, 2.0, 1.0, 0.4), rel=1e-14)
        assert isinstance(gaussian.derivative_product(name, 2.0, 1.0, 0.4), float)


@pytest.mark.parametrize("covariance", [[[1.0, 1.1], [1.1, 1.0]], [[-1.0, 0.0], [0.0, 1.0]], [[1.0, 0.2], [0.3, 1.0]]])
def test_no_covariance(covariance):
    with pytest.raises(ValueError, match="not a covariance"):
        gaussian.pair_nodes(covariance)


def test_no_variance():
    for q in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite and >= 0"):
            gaussian.nodes(q)


@pytest.mark.parametrize("scale", [3.0, 20.0])
def test_sharp_functions_get_finer_panels(scale):
    activation = activations.get({"name": "erf", "scale": scale})
    assert gaussian.feature_scale(activation) < 2 / scale
    for mean in (gaussian.square, gaussian.derivative_square):
        assert mean(activation, 1.0, quadrature=True) == pytest.approx(mean(activation, 1.0), rel=1e-12)
    for mean in (gaussian.product, gaussian.derivative_product):
        assert mean(activation, 1.0, 1.0, 0.7, quadrature=True) == pytest.approx(
            mean(activation, 1.0, 1.0, 0.7), rel=1e-12
        )


def test_a_missing_kink_is_noticed(monkeypatch):
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    phi, dphi = lambda u, m: m.abs(u - 0.3), lambda u, m: m.where(u > 0.3, 1.0, -1.0)
    with pytest.raises(ValueError, match=r"dphi jumps at u = 0\.3"):
        activations.register("bent", phi, dphi, kinks=())
    activations.register("bent", phi, dphi, kinks=(0.3,))
    with pytest.raises(ValueError, match="not smooth between its kinks"):
        gaussian.square(replace(activations.get("bent"), kinks=()), 1.0)
