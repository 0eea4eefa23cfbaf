"""Gated networks with new matrices at every step: explicit networks, their Jacobians by differences, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from extrapolation import limit_of
from scipy.special import expit

from mcnet.theory import gated, gaussian

W2, V2, B2, Z2 = 1.7, 0.5, 0.1, 0.8
GRAM = np.array([[0.9, 0.3], [0.3, 0.6]])
Step = Callable[[np.ndarray], np.ndarray]


def affine(rng: np.random.Generator, count: int, width: int, z: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """h -> W h + V z + b with fresh matrices; h (N, M, columns)."""
    w = math.sqrt(W2 / width) * rng.standard_normal((count, width, width))
    v = math.sqrt(V2 / width) * rng.standard_normal((count, width, width))
    rest = v @ z + math.sqrt(B2) * rng.standard_normal((count, width, 1))
    return lambda h: w @ h + rest


def minimal_rnn(rng: np.random.Generator, count: int, width: int) -> Step:
    z = sequence(rng, count, width)
    gate = affine(rng, count, width, z)

    def step(h: np.ndarray) -> np.ndarray:
        u = expit(gate(h) + 0.7)
        return u * h + (1.0 - u) * z

    return step


def gru(rng: np.random.Generator, count: int, width: int) -> Step:
    z = sequence(rng, count, width)
    update, reset, inner = (affine(rng, count, width, z) for _ in range(3))

    def step(h: np.ndarray) -> np.ndarray:
        u, r = expit(update(h) + 0.7), expit(reset(h) - 0.4)
        return u * h + (1.0 - u) * np.tanh(inner(r * h))

    return step


def sequence(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Entries of variance Z2 with that squared length exactly."""
    z = rng.standard_normal((count, width, 1))
    return z * np.sqrt(Z2 / (z**2).mean(1, keepdims=True))


def population(name: str, sites: int, count: int) -> np.ndarray:
    """q_hat (11, 12, 22) after three steps of networks of that many units, drawn without their matrices.

    Fresh matrices answer with Gaussian vectors whose covariance is that of the questions: exact at any width.
    """
    rng = np.random.default_rng(4)
    grams = []
    for _ in range(count):
        h = rng.standard_normal((sites, 2)) @ np.linalg.cholesky(GRAM).T

        def answer(question: np.ndarray) -> np.ndarray:
            covariance = W2 * question.T @ question / sites + V2 * Z2 + B2
            return rng.standard_normal((sites, 2)) @ np.linalg.cholesky(covariance).T

        for _ in range(3):
            u = expit(answer(h) + 0.7)
            if name == "gru":
                new = np.tanh(answer(expit(answer(h) - 0.4) * h))
            else:
                new = math.sqrt(Z2) * rng.standard_normal((sites, 1))
            h = u * h + (1.0 - u) * new
        grams.append((h.T @ h / sites)[np.triu_indices(2)])
    return np.array(grams)


def jacobian(make: Callable[[np.random.Generator, int, int], Step], width: int, count: int) -> np.ndarray:
    """First and second moment of the Jacobian of the third step, per network."""
    rng = np.random.default_rng(5)
    h = start(rng, count, width)[:, :, :1]
    for _ in range(2):
        h = make(rng, count, width)(h)
    step, epsilon = make(rng, count, width), 1e-5
    ahead, back = (step(h + sign * epsilon * np.eye(width)) for sign in (1, -1))
    j = (ahead - back) / (2 * epsilon)
    square = j @ j.transpose(0, 2, 1)
    first = np.einsum("nii->n", square) / width
    return np.stack([first, (square**2).sum((1, 2)) / width], axis=1)


def start(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    frame = np.linalg.qr(rng.standard_normal((count, width, 2)))[0]
    return math.sqrt(width) * frame @ np.linalg.cholesky(GRAM).T


@pytest.mark.parametrize("name", ["minimal_rnn", "gru"])
def test_explicit_networks(name: str) -> None:
    """Signal of 24 networks of 40 000 units, Jacobian at widths 24 to 96; 2 % more is refused (5 % of mu_2)."""
    make = {"minimal_rnn": minimal_rnn, "gru": gru}[name]
    bias = 0.7 if name == "minimal_rnn" else {"update": 0.7, "reset": -0.4}
    law = getattr(gated, name)(W2, V2, B2, bias, GRAM, Z2, 3)
    grams = population(name, 40_000, 24)
    expected, error = law.q_hat[3][np.triu_indices(2)], grams.std(0) / math.sqrt(24)
    z = [(grams.mean(0) - factor * expected) / error for factor in (1.0, 1.02)]
    assert np.abs(z[0]).max() < 4.5
    assert np.abs(z[1]).min() > 6.0
    expected, widths = np.array([law.chi[2, 0, 0], law.jacobian[2, 0]]), [24, 48, 96]
    found, error = limit_of([jacobian(make, m, 30_000 // m) for m in widths], widths)
    assert np.abs((found - expected) / error).max() < 4.0
    wrong = np.abs((found - np.array([1.02, 1.05]) * expected) / error)
    assert wrong.min() > 4.5


def test_gradients_of_two_inputs() -> None:
    """chi_12 is the mean of Tr J_a J_b^T / M, which the mean over a shared fresh W gives at a GRU with closed reset."""
    law = gated.gru(W2, V2, B2, {"update": -40.0, "reset": 40.0}, GRAM, Z2, 1)
    inner = W2 * GRAM + V2 * Z2 + B2
    slopes = gaussian.derivative_product("tanh", inner[0, 0], inner[1, 1], inner[0, 1])
    np.testing.assert_allclose(law.chi[0, 0, 1], W2 * slopes, rtol=1e-10)  # a plain tanh network
    np.testing.assert_allclose(
        law.q_hat[1, 0, 1], gaussian.product("tanh", *np.diagonal(inner), inner[0, 1]), rtol=1e-10
    )
    mu_1, mu_2 = (gaussian.mean(lambda u, k=k: (1 - np.tanh(u) ** 2) ** k, inner[0, 0]) for k in (2, 4))
    np.testing.assert_allclose(law.jacobian[0, 0], W2**2 * (mu_2 + mu_1**2), rtol=1e-10)


def test_open_gates_keep_the_state() -> None:
    for law in (
        gated.minimal_rnn(W2, V2, B2, 40.0, GRAM, Z2, 4),
        gated.gru(W2, V2, B2, {"update": 40.0}, GRAM, Z2, 4),
    ):
        np.testing.assert_allclose(law.q_hat[4], GRAM, rtol=1e-12)
        np.testing.assert_allclose(law.chi, 1.0, rtol=1e-12)
        np.testing.assert_allclose(law.jacobian, 1.0, rtol=1e-12)


def test_where_gradients_of_the_minimal_rnn_explode() -> None:
    """chi = 1 at sigma_w2 = 16, sigma_v2 = 1, R = 1: biases 1.3577 and 3.9593, at the stationary length."""
    for bias in (1.3577, 3.9593):
        chi = [gated.minimal_rnn(16.0, 1.0, 0.0, bias + off, [[1.0]], 1.0, 250).chi[-1, 0, 0] for off in (-2e-3, 2e-3)]
        assert (chi[0] - 1.0) * (chi[1] - 1.0) < 0.0


def test_cell_of_an_lstm() -> None:
    """2 10^5 units of one step, in standard errors."""
    rng, n = np.random.default_rng(1), 200_000
    cell = gated.lstm_cell(1.5, 0.5, 0.1, {"forget": 1.0, "output": -0.5}, 0.3, 0.8, 0.7)
    np.testing.assert_allclose(cell.q, 1.5 * 0.3 + 0.5 * 0.7 + 0.1, rtol=1e-14)
    e = math.sqrt(cell.q) * rng.standard_normal((4, n))
    f, i, o = expit(e[0] + 1.0), expit(e[1]), expit(e[2] - 0.5)
    c = f * math.sqrt(0.8) * rng.standard_normal(n) + i * np.tanh(e[3])
    for sample, expected in ((c**2, cell.cell), (f**2, cell.forget), (i**2, cell.input), (o**2, cell.output)):
        error = sample.std() / math.sqrt(n)
        assert abs(sample.mean() - expected) < 4.0 * error
        assert abs(sample.mean() - 1.02 * expected) > 5.0 * error


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma_v2 = -1"):
        gated.minimal_rnn(1.0, -1.0, 0.0, 0.0, GRAM, 1.0, 1)
    with pytest.raises(ValueError, match='no gate "forget"'):
        gated.gru(1.0, 1.0, 0.0, {"forget": 1.0}, GRAM, 1.0, 1)
    with pytest.raises(ValueError, match="must be >= 0"):
        gated.lstm_cell(1.0, 1.0, 0.0, 0.0, -0.1, 1.0, 1.0)
