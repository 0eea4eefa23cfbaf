"""Batch and layer normalisation inside the network: quadrature, one layer of any width, and explicit networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from extrapolation import limit_of

from mcnet import activations
from mcnet.theory import batch_pair, gaussian, normalization


def normalise(u: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(u - mean)/sigma and sigma over an axis."""
    centred = u - u.mean(axis, keepdims=True)
    sigma = np.sqrt((centred**2).mean(axis, keepdims=True))
    return centred / sigma, sigma


def pull_back(d: np.ndarray, normed: np.ndarray, sigma: np.ndarray, axis: int) -> np.ndarray:
    """The symmetric Jacobian of the normalisation applied to d; d may have more leading axes."""
    along = (d * normed).mean(axis, keepdims=True)
    return (d - d.mean(axis, keepdims=True) - normed * along) / sigma


@pytest.mark.parametrize("batch", [3, 4, 5, 8, 33, 1000])
@pytest.mark.parametrize("name", ["relu", "hard-tanh", "tanh", {"name": "erf", "scale": 6.0}])
def test_nodes_of_a_normalised_batch(batch: int, name: str | dict[str, str | float]) -> None:
    """Moments of the sphere, exchange of the two entries, and homogeneous means, which are Gaussian ones."""
    phi = activations.get(name)
    (a, b), weights = batch_pair.nodes(batch, phi.kinks, gaussian.feature_scale(phi))
    c, d = -1.0 / (batch - 1), batch - 1
    means = [weights.sum(), weights @ a**2, weights @ (a * b), weights @ b**4, weights @ (a * b) ** 2]
    fourth = d / (d + 2)  # E w_i w_j w_k w_l = (3 pairings)/(d (d + 2)) at R^2 = d
    np.testing.assert_allclose(means, [1.0, 1.0, c, 3 * fourth, fourth * (1 + 2 * c * c)], rtol=1e-13)
    np.testing.assert_allclose(weights @ phi.phi(a) ** 3, weights @ phi.phi(b) ** 3, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weights @ phi.dphi(a), weights @ phi.dphi(b), rtol=1e-9)
    if phi.homogeneous:
        np.testing.assert_allclose(weights @ (phi.phi(a) * phi.phi(b)), gaussian.product(phi, 1, 1, c), rtol=1e-12)
        slope = gaussian.derivative_product(phi, 1, 1, c)
        np.testing.assert_allclose(weights @ (phi.dphi(a) * phi.dphi(b)), slope, rtol=1e-12)


def test_published_and_closed_values() -> None:
    chi = normalization.chi
    np.testing.assert_allclose([chi("relu", t) for t in (8, 32, 256)], [1.788190, 1.521953, 1.473234], atol=5e-7)
    np.testing.assert_allclose([chi("tanh", t) for t in (8, 32)], [1.358548, 1.208303], atol=5e-7)
    np.testing.assert_allclose(chi("relu", 10**7), math.pi / (math.pi - 1), rtol=1e-6)
    np.testing.assert_allclose([chi("linear", t) for t in (4, 9)], [2.0, 7 / 6], rtol=1e-13)
    t = 8
    angle = math.acos(-1 / (t - 1))
    got = normalization.gram("relu", t)
    np.testing.assert_allclose(got, [0.5, (math.sin(angle) - (math.pi - angle) / (t - 1)) / (2 * math.pi)], rtol=1e-13)
    np.testing.assert_allclose(normalization.gram("tanh", 2), [math.tanh(1.0) ** 2, -(math.tanh(1.0) ** 2)], rtol=1e-14)


def layer_scores(name: str, batch: int, factor: float = 1.0) -> np.ndarray:
    """z of a layer of infinite width, by 300 000 of its units.

    The pre-activations have the exchangeable covariance 0.3 + 1.7 delta_ab, of which nothing may remain but 1/1.7 in
    gradients. Cotangents from above: of a normalised layer (Gram 1 - 1/T over the batch, trace 1), of the sum of all
    outputs of a readout, of the output of the first input. Scores: K_11, K_12, chi, and for these two the parts of
    ``lambda_1`` and of the trace of a network with one hidden layer that its first weights contribute.
    """
    rng, phi = np.random.default_rng(1), activations.get(name)
    u = math.sqrt(0.3) * rng.standard_normal((300_000, 1)) + math.sqrt(1.7) * rng.standard_normal((300_000, batch))
    normed, sigma = normalise(u, 1)
    h, p = phi.phi(normed), phi.dphi(normed)
    y = rng.standard_normal(u.shape)
    y = (y - y.mean(1, keepdims=True)) / math.sqrt(batch - 1)
    above, total, first = (pull_back(p * z, normed, sigma, 1) for z in (y, 1.0, np.eye(batch)[0]))
    values = [
        (h**2).mean(1),
        (h.sum(1) ** 2 - (h**2).sum(1)) / (batch * (batch - 1)),
        (above**2).sum(1),
        (total**2).sum(1) / batch**2,
        (first**2).sum(1),
    ]
    k_11, k_12 = normalization.gram(name, batch)
    law, chi = normalization.fim(name, batch, 2), normalization.chi(name, batch)
    readout = (k_11 + (batch - 1) * k_12) / batch
    gradients = [chi * (k_11 - k_12), law.lambda_1 - readout, law.trace - k_11]
    expected = [k_11, k_12, *(gradient / 1.7 for gradient in gradients)]
    return np.array(
        [(x.mean() - factor * m) / (x.std() / math.sqrt(x.size)) for x, m in zip(values, expected, strict=True)]
    )


@pytest.mark.parametrize("name", ["relu", "tanh", "hard-tanh", "gelu"])
def test_one_layer_of_many_units(name: str) -> None:
    assert np.abs(layer_scores(name, 8)).max() < 4.5
    wrong = np.abs(layer_scores(name, 8, 1.02))
    assert wrong[[0, 2, 3, 4]].min() > 6.0


def network(
    name: str, axis: int, inputs: np.ndarray, sigma_w2: float, sigma_b2: float, depth: int, width: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q_hat of the last layer, the last q_tilde of each input's output, and Theta/M of the weights: each (count, T, T).

    ``axis``: -1 normalises over the batch, -2 over the units; inputs (M_0, T).
    """
    rng, phi = np.random.default_rng(3), activations.get(name)
    batch = inputs.shape[1]
    h = np.broadcast_to(inputs, (count, *inputs.shape))
    layers = []
    for _ in range(depth):
        w = math.sqrt(sigma_w2 / h.shape[1]) * rng.standard_normal((count, width, h.shape[1]))
        u = w @ h + math.sqrt(sigma_b2) * rng.standard_normal((count, width, 1))
        normed, sigma = normalise(u, axis)
        layers.append((w, h, normed, sigma))
        h = phi.phi(normed)  # (N, M, T)
    q_hat = np.einsum("nia,nib->nab", h, h) / width
    theta = q_hat.copy()
    v = math.sqrt(sigma_w2 / width) * rng.standard_normal((count, width))
    d = np.einsum("ni,st->snit", v, np.eye(batch))  # gradient of the output of s with respect to h(t)
    for w, below, normed, sigma in reversed(layers):
        d = pull_back(phi.dphi(normed) * d, normed, sigma, axis)
        fan = below.shape[1]
        gram = np.einsum("nia,nib->nab", below, below) / fan
        overlaps = np.einsum("snia,rnib->nsarb", d, d, optimize=True)
        theta += np.einsum("nsarb,nab->nsr", overlaps, gram)
        last = np.einsum("nsarb->nsr", overlaps)
        d = np.einsum("nij,snit->snjt", w, d, optimize=True)
    return q_hat, last, theta


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_fisher_matrix_of_explicit_networks(name: str) -> None:
    """Constant mode and trace, widths 48 to 192 extrapolated; T = 8, three weight layers, sigma_w2 = 1.7."""
    batch, widths = 8, [48, 96, 192]
    inputs = math.sqrt(20) * np.linalg.qr(np.random.default_rng(0).standard_normal((20, batch)))[0]
    samples = []
    for width, count in zip(widths, (1200, 600, 300), strict=True):
        theta = network(name, -1, inputs, 1.7, 0.4, 2, width, count)[2]
        samples.append(np.stack([theta.sum((1, 2)) / batch**2, np.einsum("nss->n", theta) / batch], axis=1))
    found, error = limit_of(samples, widths)
    law = normalization.fim(name, batch, 3)
    expected = np.array([law.lambda_1, law.trace])
    np.testing.assert_allclose(law.trace, law.lambda_1 + (batch - 1) * law.lambda_perp, rtol=1e-13)
    assert np.abs((found - expected) / error).max() < 4.0
    assert np.all(error < 0.02 * expected)
    deeper = normalization.fim(name, batch, 4)
    assert abs((found[1] - deeper.trace) / error[1]) > 8.0
    one, two = (normalization.fim(name, batch, layers).trace for layers in (2, 3))
    chi, readout = normalization.chi(name, batch), normalization.gram(name, batch)[0]
    np.testing.assert_allclose(two - one, chi * (one - readout), rtol=1e-12)


def test_layer_normalisation_of_explicit_networks() -> None:
    """Gram, gradients and kernel of two inputs, extrapolated in the width."""
    gram = np.array([[1.2, 0.4], [0.4, 0.7]])
    inputs = (
        np.sqrt(10) * np.linalg.qr(np.random.default_rng(0).standard_normal((10, 2)))[0] @ np.linalg.cholesky(gram).T
    )
    widths, samples = [32, 64, 128], []
    upper = np.triu_indices(2)
    for width, count in zip(widths, (4000, 2000, 1000), strict=True):
        parts = network("gelu", -2, inputs, 1.7, 0.3, 3, width, count)
        samples.append(np.concatenate([part[:, *upper] for part in parts], axis=1))
    found, error = limit_of(samples, widths)
    signal = normalization.layer_norm("gelu", 1.7, 0.3, gram, 3)
    theta = normalization.layer_norm_kernel(gram, "gelu", 1.7, 0.3, 3, "pdlt", False)
    expected = np.concatenate([part[upper] for part in (signal.q_hat[-1], signal.q_tilde[0], theta)])
    assert np.abs((found - expected) / error).max() < 4.5
    assert np.abs((found - 1.02 * expected) / error).max() > 6.0


def test_layer_normalisation_of_relu_keeps_gradients() -> None:
    for sigma_w2 in (0.5, 3.0):
        np.testing.assert_allclose(normalization.layer_norm_chi("relu", sigma_w2, 0.0), 1.0, rtol=1e-14)
        q_tilde = normalization.layer_norm("relu", sigma_w2, 0.0, [[1.0]], 30).q_tilde[:, 0, 0]
        np.testing.assert_allclose(q_tilde[1:], q_tilde[-1], rtol=1e-12)
    assert normalization.layer_norm_chi("tanh", 1.7, 0.3) < 1.02


def test_normalised_outputs() -> None:
    """E 1/sigma^2 over C outputs, times the C - 2 directions that pass; 2 % more is refused."""
    outputs, variance = 12, 1.9
    rng = np.random.default_rng(8)
    f = math.sqrt(variance) * rng.standard_normal((400_000, outputs))
    traces = 3.0 * (outputs - 2) / outputs / f.var(1)  # of an isotropic Theta of trace 3
    expected = normalization.last_layer_trace(3.0, outputs, variance)
    error = traces.std() / math.sqrt(len(traces))
    assert abs(traces.mean() - expected) < 4.0 * error
    assert abs(traces.mean() - 1.02 * expected) > 8.0 * error


def test_growth_of_the_largest_eigenvalue() -> None:
    """T = M: hidden batch norm keeps the large eigenvalue of relu, not that of tanh; layer norm keeps it."""
    for name, axis in (("relu", -1), ("tanh", -1), ("relu", -2)):
        sizes, largest = [16, 32, 64], []
        for size in sizes:
            inputs = np.random.default_rng(1).standard_normal((size, size))
            theta = network(name, axis, inputs, 1.5, 0.3, 1, size, 2048 // size**2 + 2)[2]
            largest.append(size * np.linalg.eigvalsh(theta / size)[:, -1].mean())
        slope = np.polyfit(np.log(sizes), np.log(largest), 1)[0]
        placement = "hidden-batch" if axis == -1 else "hidden-layer"
        assert abs(slope - normalization.growth(placement, name, "proportional")) < 0.3
    assert normalization.growth("last-batch", "relu", "fixed") == 1.0
    assert normalization.growth("last-mean", "relu", "proportional") == 0.0


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="from 4 inputs on"):
        normalization.chi("relu", 3)
    with pytest.raises(ValueError, match="from 4 inputs on"):
        normalization.fim("tanh", 2, 3)
    with pytest.raises(ValueError, match="at least one hidden layer"):
        normalization.fim("tanh", 8, 1)
    with pytest.raises(ValueError, match="at least 2 inputs"):
        normalization.gram("relu", 1)
    with pytest.raises(ValueError, match="from 4 outputs on"):
        normalization.last_layer_trace(1.0, 3, 1.0)
    with pytest.raises(ValueError, match="must be one of"):
        normalization.growth("first", "relu", "fixed")
    with pytest.raises(ValueError, match="zero length"):
        normalization.layer_norm("relu", 1.0, 0.0, [[0.0]], 1)
