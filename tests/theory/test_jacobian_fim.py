"""The conditional Fisher information: closed cases, recursions, networks."""

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import jacobian
from mcnet.theory.free.slope_law import slope_law


def critical(activation, q):
    return 1.0 / slope_law(activations.get(activation), q).moments(1)[0]


def moments(spectrum):
    """Mean and second moment by the midpoint rule of the grid."""
    total = np.array([sum(mass * place**k for place, mass in spectrum.atoms) for k in (1, 2)], dtype=float)
    for band in spectrum.log.bands:
        n = band.log_x.size
        t = (np.arange(n)[::-1] + 0.5) / n
        angle = (np.arange(n) + 0.5) * np.pi / n
        weight = (
            2 * (band.high - band.log_x) / t / n
            if np.isinf(band.low)
            else (band.high - band.low) / 2 * np.sin(angle) * np.pi / n
        )
        x = spectrum.shift + np.exp(band.log_x)
        total += [np.sum(weight * band.density * x**k) for k in (1, 2)]
    return total


@pytest.mark.parametrize(
    ("activation", "q", "depth", "expected", "tolerance"),
    [
        ("tanh", 0.02, 2, 1.019, 5e-4),
        ("tanh", 0.02, 8, 1.102, 5e-4),
        ("tanh", 0.02, 32, 1.296, 6e-4),
        ("hard-tanh", 0.1, 2, 1.001, 5e-4),
        ("hard-tanh", 0.1, 8, 1.006, 6e-4),
        ("hard-tanh", 0.1, 32, 1.025, 5e-4),
    ],
)
def test_isometry_bounds_the_largest_eigenvalue(activation, q, depth, expected, tolerance):
    """lambda_max/(L q_hat) at criticality, orthogonal weights: the table of the theory sheets."""
    from mcnet.theory.free.fisher_chain import FisherChain

    sigma_w2 = critical(activation, q)
    law = slope_law(activations.get(activation), q)
    chain = FisherChain((law,) * (depth - 1), (q / sigma_w2,) * depth, np.log(sigma_w2), True)
    largest = np.exp(chain.top()) + q / sigma_w2
    assert largest / (depth * q / sigma_w2) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("activation", "weights", "q", "depth"),
    [
        ("linear", "gaussian", 1.0, 4),
        ("relu", "gaussian", 2.0, 3),
        ("relu", "orthogonal", 2.0, 4),
        ("hard-tanh", "orthogonal", 0.3, 4),
        ("tanh", "orthogonal", 0.5, 2),
        ("tanh", "orthogonal", 0.5, 3),
        ("tanh", "gaussian", 0.5, 3),
        ("gelu", "gaussian", 1.0, 2),
    ],
)
def test_mass_mean_and_second_moment(activation, weights, q, depth):
    sigma_w2 = critical(activation, q)
    found = jacobian.conditional_fim(activation, weights, sigma_w2, 0.0, depth, q, points=200)
    assert found.mean == pytest.approx(depth * q / sigma_w2, rel=1e-12)  # chi_1 = 1
    assert found.mass == pytest.approx(1.0, abs=2e-6)
    np.testing.assert_allclose(moments(found), [found.mean, found.second_moment], rtol=2e-6)


def test_two_gaussian_linear_layers():
    """Theta_2 = q_hat + q_hat W W^T: a shifted Marchenko-Pastur law."""
    found = jacobian.conditional_fim("linear", "gaussian", 1.0, 0.0, 2, 1.0)
    y = np.exp(found.log.log_x)  # x - 1 has lost its digits next to the edge
    np.testing.assert_allclose(found.density, np.sqrt((4 - y) / y) / (2 * np.pi), rtol=1e-9)
    assert (found.shift, found.lambda_max) == (1.0, pytest.approx(5.0, rel=1e-12))
    assert found.cdf(0.999) == 0.0


def test_orthogonal_hard_tanh_keeps_an_atom_at_the_top():
    q, depth = 0.3, 6
    sigma_w2 = critical("hard-tanh", q)
    found = jacobian.conditional_fim("hard-tanh", "orthogonal", sigma_w2, 0.0, depth, q, points=200)
    p = 1 / sigma_w2
    place, mass = found.atoms[-1]
    assert place == pytest.approx(q / sigma_w2 * sum(sigma_w2**k for k in range(depth)), rel=1e-12)
    assert mass == pytest.approx(1 - (depth - 1) * (1 - p), rel=1e-10)
    assert found.lambda_max == pytest.approx(place, rel=1e-12)
    # Each hidden layer silences a share 1 - p, which leaves a band of that mass between two gaps.
    assert [band.stop - band.start for band in found.log.bands] == pytest.approx([1 - p] * (depth - 2), abs=1e-9)


def test_a_zero_mode_sits_at_the_last_length():
    found = jacobian.conditional_fim("relu", "gaussian", 2.0, 0.0, 3, [2.0, 2.0, 2.0], points=200)
    assert found.atoms == ((pytest.approx(1.0), 0.5),)
    assert found.cdf(1.0) == pytest.approx(0.5)


def test_one_weight_layer_is_the_length():
    found = jacobian.conditional_fim("tanh", "gaussian", 1.5, 0.1, 1, 0.4)
    assert found.atoms == ((pytest.approx(0.2), 1.0),)
    assert (found.mean, found.second_moment) == (pytest.approx(0.2), pytest.approx(0.04))


def test_a_length_below_the_bias_is_refused():
    with pytest.raises(ValueError, match="sigma_b2"):
        jacobian.conditional_fim("tanh", "gaussian", 1.5, 0.5, 3, 0.4)


def networks(rng, phi, weights, sigma_w2, depth, q, width, count):
    """Eigenvalues of sum_l q_hat_{l-1} J_l J_l^T, from matrices.

    Lengths are those of the limit: they fluctuate by 1/sqrt(width), which moves the hard edge of the law.
    """
    q_hat = q / sigma_w2
    found = []
    for _ in range(count):
        total = q_hat * np.eye(width)
        for _ in range(depth - 1):
            w = rng.standard_normal((width, width)) / np.sqrt(width)
            if weights == "orthogonal":
                basis, triangle = np.linalg.qr(w)
                w = basis * np.sign(np.diag(triangle))
            slope = phi.dphi(np.sqrt(q) * rng.standard_normal(width))
            half = np.sqrt(sigma_w2) * w * slope
            total = q_hat * np.eye(width) + half @ total @ half.T
        found.append(np.linalg.eigvalsh(total))
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize(("weights", "depth"), [("gaussian", 3), ("orthogonal", 4)])
def test_free_matrices_follow_the_law(weights, depth):
    """Slopes drawn independently of the weights: the law is the same, without the noise of the lengths."""
    sigma_w2 = critical("tanh", 0.5)
    phi = activations.get("tanh")
    values = networks(np.random.default_rng(3), phi, weights, sigma_w2, depth, 0.5, 200, 16)

    def distance(sigma):
        found = jacobian.conditional_fim("tanh", weights, sigma, 0.0, depth, 0.5 * sigma / sigma_w2, points=150)
        return np.max(np.abs(found.cdf(values) - (np.arange(values.size) + 0.5) / values.size))

    assert distance(sigma_w2) < 0.012
    assert distance(1.2 * sigma_w2) > 0.025
