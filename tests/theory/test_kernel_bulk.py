"""Kernel bulks with T proportional to M: the quartic of one layer, moments, networks."""

import itertools

import numpy as np
import pytest
from scipy.special import erf

from mcnet import activations
from mcnet.theory import gaussian
from mcnet.theory.kernel_bulk import conjugate_kernel_bulk, kernel_bulk


def moment(spectrum, power):
    """Moment by the midpoint rule of the grid."""
    total = sum(mass * place**power for place, mass in spectrum.atoms)
    for band in spectrum.log.bands:
        n = band.log_x.size
        t = (np.arange(n)[::-1] + 0.5) / n
        angle = (np.arange(n) + 0.5) * np.pi / n
        weight = (
            2 * (band.high - band.log_x) / t / n
            if np.isinf(band.low)
            else (band.high - band.low) / 2 * np.sin(angle) * np.pi / n
        )
        total += np.sum(weight * band.density * (spectrum.shift + np.exp(band.log_x)) ** power)
    return total


def quartic_density(x, eta, zeta, gamma):
    """Density of Y^T Y/M, Y = phi(W X), T/M_0 = T/M = gamma, from its polynomial equation (Pennington and Bahri 2017).

    Rows of Y have covariance (eta - zeta) + zeta K, K white inputs: with g the Stieltjes transform of K_1 and h that of
    (eta - zeta) + zeta K, K_1 = MP boxtimes it: g = h(z/(1 - gamma - gamma z g)) / (1 - gamma - gamma z g).
    """
    density = []
    for point in x:
        p = np.polynomial.Polynomial([0.0, 1.0])  # g
        d = 1 - gamma - gamma * point * p
        # K's equation in k = zeta g d (its own transform at kappa = (z/d - alpha)/zeta):
        # gamma kappa k^2 - (1 - gamma - kappa) k + 1 = 0, multiplied by d zeta to be a polynomial in g
        k = zeta * p * d
        kappa_d_zeta = point - (eta - zeta) * d
        polynomial = gamma * kappa_d_zeta * k * k - (1 - gamma) * d * zeta * k + kappa_d_zeta * k + d * zeta
        roots = polynomial.roots()
        density.append(np.max(roots.imag) / np.pi)
    return np.array(density)


@pytest.mark.parametrize("gamma", [0.5, 1.5])
def test_one_layer_is_the_quartic(gamma):
    phi = activations.get("tanh")
    found = conjugate_kernel_bulk("tanh", 1.5, 0.0, 1, gamma, q_hat_0=1.0, points=200)
    zeta = 1.5 * gaussian.mean(phi.dphi, 1.5) ** 2
    eta = gaussian.mean(lambda u: phi.phi(u) ** 2, 1.5)
    inner = slice(10, -10, 12)
    exact = quartic_density(found.x[inner], eta, zeta, gamma)
    np.testing.assert_allclose(found.density[inner], exact, rtol=1e-7)
    wrong = quartic_density(found.x[inner], eta, 1.02 * zeta, gamma)
    assert np.max(np.abs(found.density[inner] / wrong - 1)) > 1e-2


def test_linear_inputs_and_one_layer_are_fuss_catalan():
    """One linear layer at gamma = 1: the squared singular values of a product of two Gaussian matrices."""
    found = conjugate_kernel_bulk("linear", 1.0, 0.0, 1, 1.0, q_hat_0=1.0, points=100)
    angle = np.linspace(0.05, 1.0, 20)
    x = np.sin(3 * angle) ** 3 / (np.sin(angle) * np.sin(2 * angle) ** 2)
    rho = np.sin(angle) ** 2 * np.sin(2 * angle) / (np.pi * np.sin(3 * angle) ** 2)
    x, rho = x[::-1], rho[::-1]
    assert found.lambda_max == pytest.approx(27 / 4, rel=1e-8)
    step = np.diff(x)
    mass = np.diff(found.cdf(x))
    simpson = quadrature_between(angle[::-1])
    np.testing.assert_allclose(mass, simpson, atol=2e-6)
    assert step.min() > 0


def quadrature_between(angle):
    """Mass of the Fuss-Catalan law of order 2 between angles, by Gauss-Legendre on its curve."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    masses = []
    for high, low in itertools.pairwise(angle):
        a = (high + low) / 2 + (high - low) / 2 * nodes
        h = 1e-5

        def x(a):
            return np.sin(3 * a) ** 3 / (np.sin(a) * np.sin(2 * a) ** 2)

        slope = (8 * (x(a + h) - x(a - h)) - x(a + 2 * h) + x(a - 2 * h)) / (12 * h)
        rho = np.sin(a) ** 2 * np.sin(2 * a) / (np.pi * np.sin(3 * a) ** 2)
        masses.append(np.sum(weights * rho * np.abs(slope)) * (high - low) / 2)
    return np.array(masses)


@pytest.mark.parametrize(
    ("activation", "sigma_w2", "sigma_b2", "depth", "gamma", "tolerance"),
    [
        ("tanh", 1.5, 0.0, 3, 0.5, 1e-6),
        ("tanh", 1.5, 0.0, 2, 2.0, 1e-6),
        ("tanh", 1.5, 0.0, 2, 1.0, 1e-6),
        ("tanh", 1.5, 0.1, 2, 0.5, 1e-6),
        ("relu", 2.0, 0.0, 2, 0.4, 1e-6),
    ],
)
def test_conjugate_mass_and_moments(activation, sigma_w2, sigma_b2, depth, gamma, tolerance):
    found = conjugate_kernel_bulk(activation, sigma_w2, sigma_b2, depth, gamma, points=200)
    assert found.mass == pytest.approx(1.0, abs=tolerance)
    assert moment(found, 1) == pytest.approx(found.mean, rel=tolerance)
    assert moment(found, 2) == pytest.approx(found.second_moment, rel=tolerance)
    assert sum(mass for _, mass in found.atoms) == pytest.approx(max(0.0, 1 - 1 / gamma))
    np.testing.assert_allclose(np.diff(found.cdf(found.x)), np.diff(trapezoid(found)), atol=1e-5)


def trapezoid(found):
    """Distribution function on the grid from the density alone."""
    parts = []
    for band in found.log.bands:
        n = band.log_x.size
        angle = (np.arange(n) + 0.5) * np.pi / n
        t = (np.arange(n)[::-1] + 0.5) / n
        cells = (
            2 * (band.high - band.log_x) / t / n
            if np.isinf(band.low)
            else (band.high - band.low) / 2 * np.sin(angle) * np.pi / n
        ) * band.density
        parts.append(band.start + np.cumsum(cells) - cells / 2 + np.gradient(np.gradient(cells)) / 24)
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("activation", "depth", "gamma", "tolerance"),
    [("tanh", 1, 0.5, 1e-6), ("erf", 3, 0.7, 1e-6), ("tanh", 2, 2.0, 2e-4)],  # the last nearly splits in two
)
def test_tangent_mass_and_moments(activation, depth, gamma, tolerance):
    found = kernel_bulk(activation, 1.5, 0.0, depth, gamma, q_hat_0=0.8, points=200)
    assert found.mass == pytest.approx(1.0, abs=tolerance)
    assert moment(found, 1) == pytest.approx(found.mean, rel=tolerance)
    assert moment(found, 2) == pytest.approx(found.second_moment, rel=tolerance)
    # The trace is that of the limiting kernel's diagonal.
    phi = activations.get(activation)
    q_hat, diagonal = 0.8, 0.0
    for _ in range(depth):
        q = 1.5 * q_hat
        slope = gaussian.mean(lambda u: phi.dphi(u) ** 2, q)
        diagonal = diagonal * 1.5 * slope + q_hat * slope  # readout_variance = 1
        q_hat = gaussian.mean(lambda u: phi.phi(u) ** 2, q)
    assert found.mean == pytest.approx(diagonal + q_hat, rel=1e-9)


def test_a_linear_network_has_no_other_part():
    """Linear, one layer, sigma_w2 = 1: Theta = K_0 + K_1 with K_1 = X^T W^T W X / M^2; support from zero."""
    found = kernel_bulk("linear", 1.0, 0.0, 1, 0.5, q_hat_0=1.0, points=200)
    assert found.shift == 0.0
    assert found.mean == pytest.approx(2.0)
    # E tr (K_0 + K_1)^2 by Wick: 1.5 (K_0^2), 1.5 (K_0 K_1), 2 (K_1^2: 1.5 + gamma)
    assert found.second_moment == pytest.approx(1.5 + 2 * 1.5 + 2.0)


def conjugate_networks(rng, phi, sigma_w2, sigma_b2, depth, q_hat_0, width, inputs, count):
    found = []
    for _ in range(count):
        h = np.sqrt(q_hat_0) * rng.standard_normal((width, inputs))
        for _ in range(depth):
            w = np.sqrt(sigma_w2 / width) * rng.standard_normal((width, width))
            h = phi.phi(w @ h + np.sqrt(sigma_b2) * rng.standard_normal((width, 1)))
        found.append(np.linalg.eigvalsh(h.T @ h / width)[:-2])  # the outliers of the common part
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize(("activation", "sigma_w2", "sigma_b2"), [("relu", 2.0, 0.0), ("tanh", 1.5, 0.2)])
def test_networks_with_a_common_part(activation, sigma_w2, sigma_b2):
    """Two layers, T/M = 1/2; rows of equal covariance, the mutant, are off by 0.03 and more."""
    rng = np.random.default_rng(4)
    phi = activations.get(activation)
    values = conjugate_networks(rng, phi, sigma_w2, sigma_b2, 2, 0.6, 400, 200, 4)
    found = conjugate_kernel_bulk(activation, sigma_w2, sigma_b2, 2, 0.5, q_hat_0=0.6, points=150)
    steps = (np.arange(values.size) + 0.5) / values.size
    assert np.max(np.abs(found.cdf(values) - steps)) < 0.02
    mutant = conjugate_kernel_bulk(activation, 1.1 * sigma_w2, sigma_b2, 2, 0.5, q_hat_0=0.6, points=150)
    assert np.max(np.abs(mutant.cdf(values) - steps)) > 0.025


def test_tangent_networks():
    """Two layers, mean over 30 outputs: the read-out norm of one output alone rescales the kernel."""
    rng = np.random.default_rng(9)
    width, inputs, outputs = 300, 150, 30
    found = kernel_bulk("erf", 1.4, 0.0, 2, 0.5, q_hat_0=1.0, points=150)
    values = []
    for _ in range(3):
        x = rng.standard_normal((width, inputs))
        w1, w2 = (np.sqrt(1.4 / width) * rng.standard_normal((width, width)) for _ in range(2))
        u1 = w1 @ x
        u2 = w2 @ erf(u1)
        d1, d2 = (2 / np.sqrt(np.pi) * np.exp(-u * u) for u in (u1, u2))
        kernel = erf(u2).T @ erf(u2) / width
        for _ in range(outputs):
            back2 = d2 * rng.standard_normal((width, 1)) / np.sqrt(width)
            back1 = d1 * (w2.T @ back2)
            kernel += (back2.T @ back2) * (erf(u1).T @ erf(u1)) / width / outputs
            kernel += (back1.T @ back1) * (x.T @ x) / width / outputs
        values.append(np.linalg.eigvalsh(kernel))
    values = np.sort(np.concatenate(values))
    steps = (np.arange(values.size) + 0.5) / values.size
    assert np.max(np.abs(found.cdf(values) - steps)) < 0.025
    mutant = kernel_bulk("erf", 1.4, 0.0, 2, 0.5, q_hat_0=1.0, readout_variance=1.1, points=150)
    assert np.max(np.abs(mutant.cdf(values) - steps)) > 0.04


def test_what_is_not_derived_is_refused():
    with pytest.raises(ValueError, match="not centred"):
        kernel_bulk("relu", 2.0, 0.0, 2, 0.5)
    with pytest.raises(ValueError, match="sigma_b2 = 0"):
        kernel_bulk("tanh", 1.5, 0.1, 2, 0.5)
    with pytest.raises(ValueError, match="q_hat_0"):
        conjugate_kernel_bulk("tanh", 0.5, 0.0, 2, 0.5)
