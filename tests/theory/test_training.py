"""Training near initialisation: exact models step by step, and trained networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import expm

from mcnet.theory import mean_field, tangent, training

RNG = np.random.default_rng(11)
FEATURES = RNG.standard_normal((7, 9))  # inputs, parameters: 4 for training, 3 for tests
Y = RNG.standard_normal((4, 2))
NTK = FEATURES @ FEATURES.T
_ROOT = RNG.standard_normal((7, 8))
NNGP = _ROOT @ _ROOT.T / 8


def descent(rate: float, steps: int, theta: np.ndarray) -> np.ndarray:
    """Plain gradient descent of f = J theta on the first four inputs."""
    for _ in range(steps):
        residual = FEATURES[:4] @ theta - Y
        theta = theta - rate / 4 * FEATURES[:4].T @ residual
    return FEATURES @ theta


def test_linear_model_step_by_step() -> None:
    theta = RNG.standard_normal((9, 2))
    rate = 1.02 * tangent.learning_rate_bound(NTK[:4, :4])  # above the bound too it is exact
    for kernel in (NTK, NTK[:, :4]):
        got = training.linearized(kernel, FEATURES @ theta, Y, rate, 30)
        np.testing.assert_allclose(got, descent(rate, 30, theta), rtol=1e-9, atol=1e-10)
    many = training.linearized(NTK, FEATURES @ theta, Y, rate, [0, 3, 30])
    np.testing.assert_allclose(many[1], descent(rate, 3, theta), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(many[2], got, rtol=1e-14)
    one = training.linearized(NTK[:4, :4], (FEATURES @ theta)[:4, 0], Y[:, 0], rate, 30)
    np.testing.assert_allclose(one, got[:4, 0], rtol=1e-9, atol=1e-10)
    assert not np.allclose(training.linearized(1.02 * NTK, FEATURES @ theta, Y, rate, 3), many[1], rtol=1e-3)


def flow(time: float, ntk: np.ndarray, nngp: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by one matrix exponential over all inputs: df/dt = -Theta_.X (f_X - y)/T."""
    generator = np.zeros((8, 8))
    generator[:7, :4] = -ntk[:, :4] / 4
    generator[:7, 7] = ntk[:, :4] @ y / 4
    step = expm(time * generator)
    return step[:7, 7], step[:7, :7] @ nngp @ step[:7, :7].T


@pytest.mark.parametrize("time", [0.0, 0.3, 5.0])
def test_ensemble_against_the_matrix_exponential(time: float) -> None:
    got = training.ensemble(NTK, NNGP, Y, time)
    for k in range(2):
        mean, covariance = flow(time, NTK, NNGP, Y[:, k])
        np.testing.assert_allclose(got.mean[:, k], mean, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(got.covariance, covariance, rtol=1e-10, atol=1e-11)
    if time:
        assert not np.allclose(training.ensemble(1.02 * NTK, NNGP, Y, time).mean, got.mean, rtol=1e-3)
        assert not np.allclose(training.ensemble(NTK, NNGP, Y, 1.02 * time).covariance, covariance, rtol=1e-3)


def test_end_of_training_is_regression() -> None:
    got = training.ensemble(NTK, NNGP, Y, math.inf)
    np.testing.assert_allclose(got.mean[:4], Y, rtol=1e-12)
    np.testing.assert_allclose(got.mean[4:], tangent.regression(NTK[:4, :4], Y, NTK[4:, :4]), rtol=1e-11)
    np.testing.assert_allclose(got.covariance[:4], 0.0, atol=1e-12)
    late = training.ensemble(NTK, NNGP, Y, 1e7)
    np.testing.assert_allclose(late.covariance, got.covariance, atol=1e-12)
    # where only the readout is trained, the posterior of the Gaussian process
    posterior = NNGP[4:, 4:] - NNGP[4:, :4] @ np.linalg.solve(NNGP[:4, :4], NNGP[:4, 4:])
    np.testing.assert_allclose(training.ensemble(NNGP, NNGP, Y, math.inf).covariance[4:, 4:], posterior, rtol=1e-9)


def trained_networks(width: int, count: int, x: np.ndarray, y: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """Outputs on all inputs, (count, T + S), of erf networks with one hidden layer in the NTK parametrisation."""
    from scipy.special import erf

    rng = np.random.default_rng(5)
    dimension, trained = x.shape[1], len(y)
    w = rng.standard_normal((count, width, dimension))
    v = rng.standard_normal((count, width))
    b = rng.standard_normal((count, width))

    def forward() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u = math.sqrt(1.5 / dimension) * np.einsum("nij,tj->nit", w, x) + math.sqrt(0.1) * b[:, :, None]
        h = erf(u)
        return u, h, math.sqrt(1.5 / width) * np.einsum("ni,nit->nt", v, h) + shift[:, None] * math.sqrt(0.1)

    shift = rng.standard_normal(count)
    for _ in range(steps):
        u, h, f = forward()
        e = rate / trained * (f[:, :trained] - y)  # (count, T)
        slope = 2 / math.sqrt(math.pi) * np.exp(-(u[:, :, :trained] ** 2))
        d = math.sqrt(1.5 / width) * v[:, :, None] * slope * e[:, None]
        v = v - math.sqrt(1.5 / width) * np.einsum("nit,nt->ni", h[:, :, :trained], e)
        w = w - math.sqrt(1.5 / dimension) * np.einsum("nit,tj->nij", d, x[:trained])
        b = b - math.sqrt(0.1) * d.sum(2)
        shift = shift - math.sqrt(0.1) * e.sum(1)
    return forward()[2]


def test_ensemble_of_trained_networks() -> None:
    """Mean and covariance of 1500 networks of width 200, in standard errors; kernels that are 20 % off are refused."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((5, 3)), np.array([1.0, -0.5, 0.3])
    gram = x @ x.T / 3
    ntk = tangent.kernel(gram, "erf", 1.5, 0.1, 1, "ntk", True)
    nngp = mean_field.covariances("erf", 1.5, 0.1, gram, 2).q[1]
    rate, steps = 0.1, 40
    f = trained_networks(200, 1500, x, y, rate, steps)

    def score(ntk: np.ndarray, nngp: np.ndarray) -> float:
        law = training.ensemble(ntk, nngp, y, rate * steps)
        off = f - law.mean
        z_mean = off.mean(0) / np.sqrt(np.diagonal(law.covariance) / len(f))
        products = off[:, :, None] * off[:, None, :]
        z_second = (products.mean(0) - law.covariance) / (products.std(0) / math.sqrt(len(f)))
        return max(np.abs(z_mean).max(), np.abs(z_second).max())

    assert score(ntk, nngp) < 5.0
    assert score(0.8 * ntk, nngp) > 6.0
    assert score(ntk, 1.25 * nngp) > 6.0


def test_what_an_ensemble_refuses() -> None:
    with pytest.raises(ValueError, match="negative eigenvalue"):
        training.ensemble(-NTK, NNGP, Y, 1.0)
    with pytest.raises(ValueError, match="same test inputs"):
        training.ensemble(NTK, NNGP[:5, :5], Y, 1.0)
    with pytest.raises(ValueError, match="time must be"):
        training.ensemble(NTK, NNGP, Y, -1.0)
    twice = np.ones((3, 3))
    with pytest.raises(ValueError, match="repeated inputs"):
        training.ensemble(twice, twice, [1.0, 1.0], math.inf)
    np.testing.assert_allclose(training.ensemble(twice, twice, [1.0, 1.0], 40.0).mean, 1.0, rtol=1e-12)
    with pytest.raises(ValueError, match="do not fit"):
        training.linearized(NTK, np.zeros(4), np.zeros(3), 0.1, 1)


@pytest.mark.parametrize("kappa", [0.5, 2.5, 3.5])
def test_catapult_is_the_network(kappa: float) -> None:
    """Explicit u and v, 25 steps: every output and kernel."""
    n = 40
    u, v = np.random.default_rng(3).standard_normal((2, n))
    f, curvature = v @ u / math.sqrt(n), (u @ u + v @ v) / n
    rate = kappa / curvature
    got = training.catapult(f, curvature, n, rate, 25)
    assert got.f.shape == got.curvature.shape == (26,)
    worse = training.catapult(f, curvature, 1.02 * n, rate, 25)
    for step in range(26):
        f, curvature = v @ u / math.sqrt(n), (u @ u + v @ v) / n
        np.testing.assert_allclose([got.f[step], got.curvature[step]], [f, curvature], rtol=1e-9, atol=1e-12)
        u, v = u - rate * f * v / math.sqrt(n), v - rate * f * u / math.sqrt(n)
    assert not np.allclose(worse.curvature, got.curvature, rtol=1e-8)


def test_three_phases_of_the_catapult() -> None:
    """The two boundaries kappa = 2 and 4 of wide networks, and the end point of the catapult at kappa = 2.5."""
    n, start = 1e12, 1.0
    ends = training.catapult(start, 1.0, n, [1.99, 2.5, 3.99, 4.01], 20000)
    assert abs(ends.curvature[-1, 0] - 1.0) < 1e-9
    np.testing.assert_allclose(2.5 * ends.curvature[-1, 1], 1.28233, atol=1e-5)
    assert np.isfinite(ends.f[-1, 2])
    assert np.isposinf(ends.f[-1, 3])
    peak = 2.2 * np.abs(training.catapult(start, 1.0, n, 2.2, 400).f).max() / math.sqrt(n)
    assert 0.0226 <= peak**2 <= 0.0228
    with pytest.raises(ValueError, match="no network starts so"):
        training.catapult(2.0, 1.0, 10, 0.1, 3)
