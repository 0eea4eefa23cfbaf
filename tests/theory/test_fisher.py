"""Statistics of the Fisher information: published settings, the full spectrum of wide networks, and bounds."""

from __future__ import annotations

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import fisher


@pytest.mark.parametrize(
    ("name", "sigma_w2", "sigma_b2", "weights_alone", "with_biases"),
    [("tanh", 3.0, 0.64, 126.98, 128.87), ("relu", 2.0, 0.1, 413.23, 415.18), ("linear", 1.0, 0.1, 165.00, 168.00)],
)
def test_settings_of_karakida(
    name: str, sigma_w2: float, sigma_b2: float, weights_alone: float, with_biases: float
) -> None:
    """Three weight layers, one output, M = 500, T = 100, inputs N(0, 1)."""
    for train_biases, expected in ((False, weights_alone), (True, with_biases)):
        got = fisher.eigenvalue_statistics(name, sigma_w2, sigma_b2, 2, 500, 100, 1, 1.0, 0.0, train_biases)
        np.testing.assert_allclose(got.lambda_max, expected, atol=5e-3)
        np.testing.assert_allclose(got.learning_rate_bound, 2.0 / got.lambda_max, rtol=1e-14)


def test_linear_network_in_closed_form() -> None:
    """phi(u) = u, sigma_w2 = 1: q_tilde = 1 and q_hat grows by sigma_b2 a layer; kappa = (1/depth) sum q_hat."""
    depth, width, inputs, outputs, b2 = 2, 500, 100, 3, 0.1
    got = fisher.eigenvalue_statistics("linear", 1.0, b2, depth, width, inputs, outputs, 1.0, 0.4, True)
    one, two = (3 * 1.0 + 3 * b2) / 2, (3 * 0.4 + 3 * b2) / 2
    np.testing.assert_allclose([got.kappa_1, got.kappa_2], [one, two], rtol=1e-13)
    np.testing.assert_allclose(got.mean, one * outputs / width, rtol=1e-13)
    np.testing.assert_allclose(got.second_moment, 2 * outputs * (0.99 * two**2 + 0.01 * one**2), rtol=1e-13)
    np.testing.assert_allclose(got.lambda_max, 2 * width * (0.99 * two + 0.01 * one) + 3, rtol=1e-13)
    np.testing.assert_allclose(got.lambda_rest, 2 * width * (one - two) / inputs, rtol=1e-13)


def gradients(name: str, sigma_w2: float, sigma_b2: float, depth: int, x: np.ndarray, outputs: int, seed: int):
    """Gradients by all weights (and all biases) of the outputs of one explicit network, (T C, P) and (T C, P_b)."""
    phi, rng = activations.get(name), np.random.default_rng(seed)
    width, inputs = x.shape
    h, hs, slopes, weights = x, [x], [], []
    for _ in range(depth):
        weights.append(np.sqrt(sigma_w2 / width) * rng.standard_normal((width, width)))
        u = weights[-1] @ h + np.sqrt(sigma_b2) * rng.standard_normal((width, 1))
        h = phi.phi(u)
        hs.append(h)
        slopes.append(phi.dphi(u))
    readout = np.sqrt(sigma_w2 / width) * rng.standard_normal((outputs, width))
    rows, bias_rows = [], []
    for k in range(outputs):
        for t in range(inputs):
            top = np.zeros(outputs)
            top[k] = 1.0
            d, layers = readout[k], [(top, hs[-1][:, t])]
            for layer in reversed(range(depth)):
                d = slopes[layer][:, t] * d
                layers.append((d, hs[layer][:, t]))
                d = weights[layer].T @ d
            rows.append(np.concatenate([np.outer(error, below).ravel() for error, below in layers]))
            bias_rows.append(np.concatenate([error for error, _ in layers]))
    return np.array(rows), np.array(bias_rows)


def test_spectrum_of_explicit_networks() -> None:
    """Gradients written out, F = J^T J/T: all predictions to the relative accuracy 1/sqrt(M networks) and 1/M."""
    width, depth, inputs, outputs, count = 96, 2, 3, 2, 24
    q_hat, overlap = 1.0, 0.4
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((width, inputs)))[0]
    gram = overlap + (q_hat - overlap) * np.eye(inputs)
    x = np.sqrt(width) * frame @ np.linalg.cholesky(gram).T
    measured = []
    for seed in range(count):
        by_weights, by_biases = gradients("tanh", 2.0, 0.3, depth, x, outputs, seed)
        weights_alone = by_weights @ by_weights.T / inputs  # the dual of F
        with_biases = weights_alone + by_biases @ by_biases.T / inputs
        values = np.linalg.eigvalsh(weights_alone)
        p = depth * width**2
        top = np.linalg.eigvalsh(with_biases)
        measured.append(
            [
                values.sum() / p,
                (values**2).sum() / p,
                values[-outputs:].mean(),
                top[-outputs:].mean(),
                values[:-outputs].mean(),
                top[-outputs:].mean() - values[-outputs:].mean(),
            ]
        )
    mean, error = np.mean(measured, axis=0), np.std(measured, axis=0, ddof=1) / np.sqrt(count)
    plain = fisher.eigenvalue_statistics("tanh", 2.0, 0.3, depth, width, inputs, outputs, q_hat, overlap, False)
    biased = fisher.eigenvalue_statistics("tanh", 2.0, 0.3, depth, width, inputs, outputs, q_hat, overlap, True)
    predicted = np.array(
        [
            plain.mean,
            plain.second_moment,
            plain.lambda_max,
            biased.lambda_max,
            plain.lambda_rest,
            biased.lambda_max - plain.lambda_max,
        ]
    )
    # the order that is dropped, a few over M (the readout block is not in P = depth M^2 to begin with)
    allowed = 5.0 * error + 5.0 / width * np.abs(predicted)
    assert np.all(np.abs(mean - predicted) < allowed), (mean, predicted, error)
    # power: kappa_1 and kappa_2 exchanged, or a missing factor of outputs or inputs, is far outside
    swapped = fisher.eigenvalue_statistics("tanh", 2.0, 0.3, depth, width, inputs, outputs, q_hat, q_hat, False)
    assert abs(mean[2] - swapped.lambda_max) > 3 * allowed[2]


def test_mean_subtraction() -> None:
    given = ("relu", 2.0, 0.1, 3, 400, 200, 2, 1.0, 0.1)
    order = fisher.eigenvalue_statistics(*given, False)
    got = fisher.mean_subtracted(*given, False)
    gap = 3 * (order.kappa_1 - order.kappa_2)
    np.testing.assert_allclose(got.lambda_max_lower, 2.0 * gap, rtol=1e-12)  # rho = 2
    np.testing.assert_allclose(got.lambda_max_upper, np.sqrt(2 * 2.0 * gap**2 * 400), rtol=1e-12)
    np.testing.assert_allclose(got.trace, 2 * 199 / 200 * 400 * gap, rtol=1e-12)
    assert got.lambda_max_lower < got.lambda_max_upper < order.lambda_max
    assert fisher.mean_subtracted(*given, True).trace > got.trace


def test_mean_subtracted_trace_of_explicit_networks() -> None:
    """(1/T) Pi Theta Pi, traced, for T inputs with the same overlap; its top eigenvalue exceeds the lower bound."""
    width, depth, inputs, count = 64, 2, 24, 12
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((width, inputs)))[0]
    x = np.sqrt(width) * frame @ np.linalg.cholesky(0.2 + 0.8 * np.eye(inputs)).T
    project = np.eye(inputs) - 1.0 / inputs
    traces, tops = [], []
    for seed in range(count):
        rows, bias_rows = gradients("tanh", 2.0, 0.3, depth, x, 1, seed)
        theta = rows @ rows.T + bias_rows @ bias_rows.T
        dual = project @ theta @ project / inputs
        traces.append(np.trace(dual))
        tops.append(np.linalg.eigvalsh(dual)[-1])
    got = fisher.mean_subtracted("tanh", 2.0, 0.3, depth, width, inputs, 1, 1.0, 0.2, True)
    error = np.std(traces, ddof=1) / np.sqrt(count)
    assert abs(np.mean(traces) - got.trace) < 5 * error + 5 / width * got.trace
    assert got.lambda_max_lower < np.mean(tops) < 1.3 * got.lambda_max_upper


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 0}, "width"),
        ({"q_hat_0_st": 2.0}, "q_hat_0"),
        ({"sigma_b2": -1.0}, "sigma_b2"),
        ({"inputs": 0}, "inputs"),
        ({"inputs": 1}, "kappa_2 is the overlap of two"),
    ],
)
def test_what_is_refused(change: dict[str, object], match: str) -> None:
    given: dict[str, object] = {
        "activation": "tanh",
        "sigma_w2": 2.0,
        "sigma_b2": 0.1,
        "depth": 2,
        "width": 100,
        "inputs": 10,
        "outputs": 1,
        "q_hat_0": 1.0,
        "q_hat_0_st": 0.0,
        "train_biases": True,
    }
    with pytest.raises(ValueError, match=match):
        fisher.eigenvalue_statistics(**{**given, **change})
