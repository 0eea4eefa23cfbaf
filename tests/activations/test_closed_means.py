"""Closed Gaussian means against the panel quadrature, which knows nothing of them, and against 30-digit integrals."""

import warnings

import mpmath
import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import gaussian

ACTIVATIONS = [
    "linear",
    "relu",
    {"name": "leaky-relu", "slope": 0.2},
    {"name": "leaky-relu", "slope": -1.0},
    "shifted-relu",
    {"name": "shifted-relu", "shift": -0.7},
    {"name": "shifted-relu", "shift": 0.0},
    "erf",
    {"name": "erf", "scale": 3.0},
    {"name": "erf", "scale": 0.8862269254527580},
    "hard-tanh",
    "gelu",
    "sin",
]
LENGTHS = np.array([0.01, 0.3, 1.0, 7.0, 100.0])
GAPS = (1.0, 0.4, 1e-2, 1e-4, 1e-6, 1.3, 2 - 1e-6, 0.0, 2.0)


def relative(value, expected, size):
    return np.abs(np.asarray(value) - expected) / size


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_single_means(activation):
    for mean in (gaussian.square, gaussian.derivative_square):
        expected = mean(activation, LENGTHS, quadrature=True)
        assert np.all(relative(mean(activation, LENGTHS), expected, expected) < 1e-12)
        assert isinstance(mean(activation, 1.0), float)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("ratio", [1.0, 2.7])
def test_pair_means(activation, ratio):
    entry = activations.get(activation)
    scale = gaussian.feature_scale(entry)
    for q_a in (0.01, 0.5, 6.0):
        q_b = ratio * q_a
        root = np.sqrt(q_a * q_b)
        size = np.sqrt(gaussian.square(activation, q_a) * gaussian.square(activation, q_b))
        for gap in GAPS:
            k = (1 - gap) * root
            u, weights = gaussian.pair_nodes([[q_a, k], [k, q_b]], entry.kinks, scale)
            expected = weights @ (entry.phi(u[0]) * entry.phi(u[1]))
            expected_slope = weights @ (entry.dphi(u[0]) * entry.dphi(u[1]))
            assert relative(gaussian.product(activation, q_a, q_b, k), expected, size) < 1e-12, gap
            # a covariance that is rounded moves 1 - c by 1e-16, and a jump of phi' feels the root of that
            allowed = 1e-12 if min(gap, 2 - gap) > 0 else 3e-8
            slope = gaussian.derivative_product(activation, q_a, q_b, k)
            assert relative(slope, expected_slope, 1.0) < allowed * max(1.0, scale**-2), gap


def test_products_near_correlation_one_follow_the_angle():
    """1 - c = 1e-10 is held by k to six digits; the arc-cosine kernel must lose no more than that."""
    q, gap = 1.3, 1e-10
    k = q * (1 - gap)
    theta = 2 * np.arcsin(np.sqrt((1 - k / q) / 2))
    assert abs(gaussian.derivative_product("relu", q, q, k) - (np.pi - theta) / (2 * np.pi)) < 1e-15 / np.sqrt(gap)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_degenerate_arguments(activation):
    """Zero and equal variances neither warn nor give NaN, and agree with the single means."""
    q = np.array([0.0, 0.3, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mean, single in (
            (gaussian.product, gaussian.square),
            (gaussian.derivative_product, gaussian.derivative_square),
        ):
            np.testing.assert_allclose(mean(activation, q, q, q), single(activation, q), rtol=1e-12, atol=1e-300)
            assert np.all(np.isfinite(mean(activation, 0.0, q, 0.0 * q)))
    phi0 = float(activations.get(activation).phi(np.float64(0.0)))
    mean_phi = gaussian.mean(activations.get(activation).phi, 2.0, activations.get(activation).kinks)
    assert abs(gaussian.product(activation, 0.0, 2.0, 0.0) - phi0 * mean_phi) < 1e-12


@pytest.mark.parametrize(
    ("activation", "phi"),
    [
        ("hard-tanh", lambda u: max(min(u, mpmath.mpf(1)), mpmath.mpf(-1))),
        ("gelu", lambda u: u * mpmath.ncdf(u)),
        ("erf", mpmath.erf),
        ("sin", mpmath.sin),
    ],
)
def test_squares_against_thirty_digits(activation, phi):
    with mpmath.workdps(30):
        for q in (0.01, 1, 50):
            root = mpmath.sqrt(mpmath.mpf(q))
            points = sorted({mpmath.mpf(z) for z in range(-14, 15)} | {p / root for p in (-1, 1) if p / root < 14})
            integral = mpmath.quad(lambda z, root=root: phi(root * z) ** 2 * mpmath.npdf(z), points)
            assert abs(gaussian.square(activation, q) / float(integral) - 1) < 1e-13


def test_a_wrong_closed_form_is_seen(monkeypatch):
    """Mutant: the slope of erf without its factor 4/pi -> 2/pi."""
    entry = activations.get("erf")
    monkeypatch.setitem(entry._family.closed, "derivative_square", lambda q, scale: 2 / np.pi / np.sqrt(1 + 4 * q))
    with pytest.raises(AssertionError):
        test_single_means("erf")
