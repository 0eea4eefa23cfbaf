"""1/M coefficients of the spectral moments: exact homogeneous cases, and networks of small width."""

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import jacobian


@pytest.mark.parametrize("sigma_b2", [0.0, 0.3])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("slope", [1.0, 0.0, 0.4])
def test_homogeneous_activations_have_the_exact_expansion(weights, slope, sigma_b2):
    """The general formula, with all its overlaps and derivatives, against the exact moments at a huge width."""
    activation = {"name": "leaky-relu", "slope": slope}
    depth, width = 5, 10**6
    found = jacobian.moment_coefficients(activation, weights, 1.7, sigma_b2, depth, 0.8)
    for layer in range(1, depth + 1):
        exact = jacobian.second_moments(activation, weights, 1.7, layer, width)
        limit, mean, covariance = found.limit[layer - 1], found.mean[layer - 1], found.covariance[layer - 1]
        assert limit[0] == pytest.approx(exact.mean, rel=1e-12)
        assert mean[0] == pytest.approx(0.0, abs=1e-10 * limit[0])
        assert width * (exact.second - limit[1]) == pytest.approx(mean[1], rel=1e-4, abs=1e-3 * limit[1])
        assert width * exact.trace_variance == pytest.approx(covariance[0, 0], rel=1e-4, abs=1e-3 * limit[0] ** 2)


def test_limits_are_the_moments_of_the_spectrum():
    for weights in ("gaussian", "orthogonal"):
        found = jacobian.moment_coefficients("tanh", weights, 1.6, 0.1, 4)
        exact = jacobian.moments("tanh", weights, 1.6, 0.1, 4, 2)
        np.testing.assert_allclose(found.limit[-1], exact, rtol=1e-9)


def test_a_scalar_homogeneous_map():
    """phi(u) -> phi(c u)/c at sigma_w2, q_hat_0 unchanged in units of 1/c: all coefficients are the same."""
    one = jacobian.moment_coefficients({"name": "erf", "scale": 1.0}, "orthogonal", 1.3, 0.2, 3, 0.5)
    other = jacobian.moment_coefficients({"name": "erf", "scale": 0.5}, "orthogonal", 4 * 1.3, 0.8, 3, 0.5)
    # u = 2 u', phi'(u) = phi(u'): J is multiplied by scale * sqrt(ratio of sigma_w2) = 1 a layer
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-9)
    np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-9)


def traces(rng, phi, weights, sigma_w2, sigma_b2, depth, q_hat_0, width, count):
    """tr A and tr A^2 of networks with explicit matrices, (count, 2)."""
    h = rng.standard_normal((count, width))
    h *= np.sqrt(width * q_hat_0) / np.linalg.norm(h, axis=1)[:, None]
    product = np.broadcast_to(np.eye(width), (count, width, width))
    for _ in range(depth):
        w = rng.standard_normal((count, width, width)) / np.sqrt(width)
        if weights == "orthogonal":
            basis, triangle = np.linalg.qr(w)
            w = basis * np.sign(np.diagonal(triangle, axis1=1, axis2=2))[:, None, :]
        w = np.sqrt(sigma_w2) * w
        u = np.einsum("nij,nj->ni", w, h) + np.sqrt(sigma_b2) * rng.standard_normal((count, width))
        h = phi.phi(u)
        product = phi.dphi(u)[:, :, None] * (w @ product)
    a = product @ product.transpose(0, 2, 1)
    return np.stack([np.einsum("nii->n", a), np.einsum("nij,nij->n", a, a)], axis=1) / width


@pytest.mark.parametrize(
    ("activation", "weights", "sigma_w2", "sigma_b2"),
    [("tanh", "gaussian", 1.6, 0.1), ("sin", "orthogonal", 1.5, 0.0), ("gelu", "orthogonal", 2.0, 0.2)],
)
def test_networks_of_small_width(activation, weights, sigma_w2, sigma_b2):
    """Shifts of 2 to 20 standard errors at width 48; the limit without corrections is rejected.

    What the coefficient leaves out is of order 1/M of itself, below two standard errors at this number of networks.
    """
    rng = np.random.default_rng(21)
    depth = 2
    phi = activations.get(activation)
    found = jacobian.moment_coefficients(activation, weights, sigma_w2, sigma_b2, depth, 1.0)
    limit, mean = found.limit[-1], found.mean[-1]
    ratios = []
    for width in (24, 48):
        values = np.concatenate(
            [traces(rng, phi, weights, sigma_w2, sigma_b2, depth, 1.0, width, 1000) for _ in range(12)]
        )
        error = values.std(0) / np.sqrt(len(values))
        assert np.max(np.abs(values.mean(0) - limit - mean / width) / error) < 5
        assert np.max(np.abs(values.mean(0) - limit) / error) > 5
        ratios.append(width * np.cov(values.T) / found.covariance[-1])
    # Covariances, extrapolated from the two widths; heavy tails make the error of one ratio up to 4 %.
    assert np.max(np.abs(2 * ratios[1] - ratios[0] - 1)) < 0.3


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="uniform"):
        jacobian.moment_coefficients("tanh", "uniform", 1.0, 0.0, 2, 1.0)
