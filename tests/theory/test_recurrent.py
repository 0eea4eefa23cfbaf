"""Recurrent networks: stationary chaos against its equation of motion and explicit networks; leaky networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from extrapolation import limit_of

from mcnet import activations
from mcnet.theory import exact, gaussian, mean_field, recurrent

UNIT_ERF = {"name": "erf", "scale": math.sqrt(math.pi) / 2}  # slope 1 at 0, as tanh, and closed means


def log_cosh(u: np.ndarray) -> np.ndarray:
    return np.logaddexp(u, -u) - math.log(2.0)


def test_variance_by_the_potential() -> None:
    """The first integral with a primitive of phi, Delta^2/2 = g^2 Var Phi, which the code does not use."""
    for g, published in ((1.5, 0.747686), (2.0, 1.924805)):
        delta = recurrent.continuous("tanh", g * g).variance
        assert abs(delta - published) < 5e-7
        square = gaussian.mean(lambda u: log_cosh(u) ** 2, delta)
        variance = square - gaussian.mean(log_cosh, delta) ** 2
        np.testing.assert_allclose(0.5 * delta**2, g * g * variance, rtol=1e-11)
        assert abs(0.5 * (1.02 * delta) ** 2 - g * g * variance) > 1e-3 * delta**2


@pytest.mark.parametrize(("name", "sigma_w2"), [("tanh", 2.25), ("hard-tanh", 4.0), ("sin", 3.0), ("elu", 1.5)])
def test_equation_of_motion(name: str, sigma_w2: float) -> None:
    """Delta'' = Delta - g^2 C by fourth-order differences, at lags from 0 to 9; elu is not odd and has a floor."""
    state = recurrent.continuous(name, sigma_w2)
    step, lags = 0.02, np.array([0.0, 0.4, 1.0, 2.5, 5.0, 9.0])
    delta = np.stack([state.autocovariance(lags + k * step) for k in range(-2, 3)])
    second = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) @ delta / (12 * step**2)
    np.testing.assert_allclose(delta[2], state.autocovariance(-lags), rtol=1e-14)
    assert abs(delta[2, 0] - state.variance) < 1e-12

    def right(sigma_w2: float) -> np.ndarray:
        return delta[2] - sigma_w2 * np.array(
            [gaussian.product(name, state.variance, state.variance, x) for x in delta[2]]
        )

    np.testing.assert_allclose(second, right(sigma_w2), atol=1e-7)
    assert np.abs(second - right(1.02 * sigma_w2)).max() > 1e-3
    assert abs(state.autocovariance(400.0) - state.floor) < 1e-12
    if name != "elu":
        assert state.floor == 0.0
    else:
        product = gaussian.product(name, state.variance, state.variance, state.floor)
        np.testing.assert_allclose(state.floor, sigma_w2 * product, rtol=1e-12)
        assert 0.3 * state.variance < state.floor < state.variance


def test_lyapunov_exponent() -> None:
    """Delta' is the first odd state, at level 0; near the transition the exponent is (g - 1)^2/2."""
    state = recurrent.continuous("tanh", 4.0)
    assert abs(state._level(-1.0)) < 1e-9
    assert state._level(1.0) < -0.1
    near = [recurrent.continuous(UNIT_ERF, g * g).lyapunov / (g - 1) ** 2 for g in (1.02, 1.01)]
    np.testing.assert_allclose(2 * near[1] - near[0], 0.5, rtol=0.01)


def test_leaky_linear_networks_exactly() -> None:
    """x_t is a polynomial of degree t in W applied to x_0, and the powers of W are orthogonal as M -> infinity."""
    d, sigma_w2, q_0, steps = 0.3, 1.4, 0.7, 6
    got = recurrent.leaky("linear", sigma_w2, 0.0, d, q_0, steps)
    for t in range(steps + 1):
        for s in range(steps + 1):
            terms = [
                math.comb(t, k) * math.comb(s, k) * (1 - d) ** (t + s - 2 * k) * d ** (2 * k) * sigma_w2**k
                for k in range(min(s, t) + 1)
            ]
            np.testing.assert_allclose(got[t, s], q_0 * sum(terms), rtol=1e-13)


def test_tied_linear_networks_at_any_width() -> None:
    """Published polynomials in 1/M, and 3 x 3 matrices applied three times; 2 % more, or new matrices, are refused."""
    for m in (1, 4, 50):
        known = [
            1.0,
            1.0,
            1 + 2 / m**2,
            1 + 10 / m**2 + 4 / m**3,
            1 + 28 / m**2 + 28 / m**3 + 48 / m**4,
            1 + 62 / m**2 + 110 / m**3 + 468 / m**4 + 304 / m**5,
        ]
        got = [exact.tied_linear_length(1.0, m, t) for t in range(6)]
        np.testing.assert_allclose(got, known, rtol=1e-13)
    np.testing.assert_allclose(exact.tied_linear_length(2.0, 1, 7), 2.0**7 * math.prod(range(1, 14, 2)), rtol=1e-12)
    rng, count = np.random.default_rng(0), 1_000_000
    w = math.sqrt(1.3 / 3) * rng.standard_normal((count, 3, 3))
    x = np.broadcast_to(np.array([1.0, 0.0, 0.0]), (count, 3))
    for _ in range(3):
        x = np.einsum("nij,nj->ni", w, x)
    ratio, expected = (x**2).sum(1), exact.tied_linear_length(1.3, 3, 3)
    error = ratio.std() / math.sqrt(count)
    assert abs(ratio.mean() - expected) < 4.0 * error
    assert abs(ratio.mean() - 1.02 * expected) > 4.5 * error
    assert abs(ratio.mean() - 1.3**3) > 50.0 * error
    with pytest.raises(ValueError, match="0 to 7"):
        exact.tied_linear_length(1.0, 3, 8)


def test_without_leak_lengths_are_those_of_depth() -> None:
    got = np.diagonal(recurrent.leaky("erf", 1.8, 0.2, 1.0, 0.9, 5))
    np.testing.assert_allclose(got[1], 1.8 * 0.9 + 0.2, rtol=1e-13)
    lengths = mean_field.lengths("erf", 1.8, 0.2, 0.9, 5)
    np.testing.assert_allclose(got[1:], lengths, rtol=1e-13)


def leaky_networks(width: int, count: int, tied: bool = True) -> np.ndarray:
    """C[6, s], s = 0, 3, 5, 6, of erf networks with bias: (count, 4). First state and bias have exact lengths."""
    rng, phi = np.random.default_rng(6), activations.get("erf")
    x = rng.standard_normal((count, width))
    x *= np.sqrt(0.9 / (x**2).mean(1, keepdims=True))
    path = [x]
    for step in range(6):
        if tied is False or step == 0:
            w = math.sqrt(2.5 / width) * rng.standard_normal((count, width, width))
            b = rng.standard_normal((count, width))
            b *= np.sqrt(0.2 / (b**2).mean(1, keepdims=True))
        h = phi.phi(x) if step else x
        x = 0.6 * x + 0.4 * (np.einsum("nij,nj->ni", w, h) + b)
        path.append(x)
    return np.stack([(path[6] * path[s]).mean(1) for s in (0, 3, 5, 6)], axis=1)


def test_leaky_networks() -> None:
    widths = [24, 48, 96]
    found, error = limit_of([leaky_networks(m, 500_000 // m) for m in widths], widths)
    expected = recurrent.leaky("erf", 2.5, 0.2, 0.4, 0.9, 6)[6, [0, 3, 5, 6]]
    assert np.abs((found - expected) / error).max() < 4.5
    assert np.abs((found - 1.03 * expected) / error).max() > 6.0
    fresh, error = limit_of([leaky_networks(m, 20_000 // m, tied=False) for m in widths], widths)
    assert np.abs((fresh - expected) / error).max() > 20.0  # a new matrix at every step is another network


def test_continuous_time_is_the_limit_of_small_leaks() -> None:
    """erf: variance, and autocovariance at lag 1, of late times at leak 1/4 and 1/8, extrapolated in the leak."""
    state = recurrent.continuous("erf", 4.0)
    late = []
    for d, steps in ((0.25, 240), (0.125, 480)):
        c = recurrent.leaky("erf", 4.0, 0.0, d, state.variance, steps)
        late.append([c[-1, -1], c[-1, -1 - round(1 / d)]])
    found = 2 * np.array(late[1]) - np.array(late[0])
    expected = np.array([state.variance, state.autocovariance(1.0)])
    np.testing.assert_allclose(found, expected, rtol=0.003)
    assert np.abs(found / (1.02 * expected) - 1.0).min() > 0.015


def test_untied_leaky_networks() -> None:
    half = recurrent.untied_variance("erf", 4.0, 0.5)
    np.testing.assert_allclose(half, 4.0 / 3.0 * gaussian.square("erf", half), rtol=1e-10)
    late = recurrent.leaky("erf", 4.0, 0.0, 1.0, 2.0, 60)[-1, -1]
    np.testing.assert_allclose(late, recurrent.untied_variance("erf", 4.0, 1.0), rtol=1e-9)
    assert recurrent.untied_variance(UNIT_ERF, 2.0, 0.5) == 0.0  # silent where the tied network is chaotic
    assert recurrent.continuous(UNIT_ERF, 2.0).variance > 0.5


@pytest.mark.parametrize(
    ("name", "sigma_w2", "match"),
    [
        ("tanh", 1.0, "chi_1 = 1 <= 1"),
        ("tanh", 0.5, "chi_1 = 0.5 <= 1"),
        ("sigmoid", 9.0, "settles in a fixed point"),
        ("relu", 2.5, "homogeneous"),
        ("linear", 1.5, "homogeneous"),
        ("softplus", 9.0, "without bound"),
    ],
)
def test_no_chaotic_state(name: str, sigma_w2: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        recurrent.continuous(name, sigma_w2)


def test_leak_is_checked() -> None:
    for leak in (0.0, 1.5):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            recurrent.leaky("tanh", 2.0, 0.0, leak, 1.0, 3)
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            recurrent.untied_variance("tanh", 2.0, leak)
