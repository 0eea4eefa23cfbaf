"""Convolutional networks: Fourier modes in the recursion, reductions to dense ones, explicit networks, exact laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from extrapolation import limit_of

from mcnet import activations
from mcnet.architectures.convolution import network
from mcnet.theory import convolution, exact, mean_field, program, tangent

TAPS = np.array([0.2, 0.5, 0.3])
RNG = np.random.default_rng(7)
POINTS = RNG.standard_normal((2, 4, 6))  # inputs, positions, coordinates
GRAM = np.einsum("api,bqi->apbq", POINTS, POINTS) / 6


def test_modes_of_uniform_taps() -> None:
    """sin(w k/2)/(w sin(k/2)) for w taps; the product over axes in two dimensions; 1 for a single tap."""
    k = 2 * np.pi * np.arange(1, 12) / 12
    got = convolution.tap_modes(np.full(5, 0.2), 12)
    np.testing.assert_allclose(got[1:], np.sin(2.5 * k) / (5 * np.sin(0.5 * k)), atol=1e-14)
    np.testing.assert_allclose(got[0], 1.0, rtol=1e-14)
    plane = convolution.tap_modes(np.full((5, 3), 1 / 15), (12, 4))
    np.testing.assert_allclose(plane, np.outer(got, convolution.tap_modes(np.full(3, 1 / 3), 4)), atol=1e-14)
    np.testing.assert_allclose(convolution.tap_modes([0.0, 1.0, 0.0], 7), 1.0, rtol=1e-14)
    k = 2 * np.pi * np.arange(7) / 7
    np.testing.assert_allclose(
        convolution.tap_modes(TAPS, 7), 0.5 + 0.2 * np.exp(-1j * k) + 0.3 * np.exp(1j * k), atol=1e-14
    )


def test_depth_scales_in_the_recursion() -> None:
    """A small wave on the lengths, or on overlaps at a fixed separation, decays as predicted over three layers."""
    w2, b2, positions = 2.5, 0.1, 8
    q, c = mean_field.fixed_length("erf", w2, b2), mean_field.fixed_correlation("erf", w2, b2)
    below = (q * (c + (1 - c) * np.eye(positions)) - b2) / w2  # K at the fixed point of S
    scales = convolution.modes("erf", w2, b2, TAPS, positions)
    place = np.arange(positions)
    for number in (0, 1, 3):
        wave = np.cos(2 * np.pi * number * place / positions)
        for separation, scale in ((0, scales.length), (2, scales.correlation)):
            change = np.zeros_like(below)
            change[place, (place + separation) % positions] = change[(place + separation) % positions, place] = wave
            amplitudes = []
            for sign in (1, -1):
                start = (below + sign * 1e-6 * change)[None, :, None, :]
                after = convolution.covariances("erf", w2, b2, start, 3, TAPS)[3, 0, :, 0]
                line = after[place, (place + separation) % positions]
                amplitudes.append(np.fft.fft(line)[number])
            size = abs(amplitudes[0] - amplitudes[1]) / (2e-6 * abs(np.fft.fft(wave)[number]))
            np.testing.assert_allclose(size, math.exp(-3.0 / scale[number]), rtol=2e-5)
            assert abs(size - math.exp(-3.0 / (1.02 * scale[number]))) > 1e-3 * size
    xi_q, xi_c = mean_field.depth_scales("erf", w2, b2)
    np.testing.assert_allclose([scales.length[0], scales.correlation[0]], [xi_q, xi_c], rtol=1e-12)
    np.testing.assert_allclose(scales.gradient[0], mean_field.chi_1("erf", w2, b2), rtol=1e-12)
    critical = convolution.modes("erf", mean_field.critical_sigma_w2("erf", 0.1), 0.1, TAPS, 8)
    assert np.isinf(critical.correlation[0])
    assert np.all(np.isfinite(critical.correlation[1:]))


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_single_tap_is_a_dense_network_of_positions(parameterization: str) -> None:
    """Every position is an input of its own: gap averages the dense kernel over pairs, flat over equal positions."""
    given = ("gelu", 1.7, 0.2, 2)
    dense = tangent.kernel(GRAM.reshape(8, 8), *given, parameterization, True, 50).reshape(2, 4, 2, 4)
    got = convolution.kernel(GRAM, *given, [1.0], "gap", parameterization, True, 50)
    np.testing.assert_allclose(got, dense.mean((1, 3)), rtol=1e-12)
    if parameterization == "ntk":  # in the standard one the readout has P times as many weights
        flat = convolution.kernel(GRAM, *given, [1.0], "flat", parameterization, True, 50)
        np.testing.assert_allclose(flat, np.einsum("apbp->ab", dense) / 4, rtol=1e-12)
        idle = convolution.kernel(GRAM, *given, [0.0, 1.0, 0.0], "flat", parameterization, True, 50)
        np.testing.assert_allclose(idle, flat, rtol=1e-12)
    one = convolution.kernel(GRAM[:, :1, :, :1], *given, [1.0], "flat", parameterization, True, 50)
    plain = tangent.kernel(GRAM[:, 0, :, 0], *given, parameterization, True, 50)
    np.testing.assert_allclose(one, plain, rtol=1e-12)


def test_planes_contain_rings() -> None:
    """A grid of 4 x 1, taps along the first axis; and the same values for translated inputs."""
    given = ("erf", 1.7, 0.2, 3)
    ring = convolution.kernel(GRAM, *given, TAPS, "gap", "ntk", True)
    plane = convolution.kernel(GRAM[:, :, None, :, :, None], *given, TAPS[:, None], "gap", "ntk", True)
    np.testing.assert_allclose(plane, ring, rtol=1e-13)
    moved = np.roll(GRAM, (1, 1), (1, 3))
    np.testing.assert_allclose(convolution.kernel(moved, *given, TAPS, "gap", "ntk", True), ring, rtol=1e-12)
    covariances = convolution.covariances("erf", 1.7, 0.2, GRAM, 3, TAPS)
    assert covariances.shape == (4, 2, 4, 2, 4)
    mirrored = convolution.kernel(GRAM[:, ::-1, :, ::-1], *given, TAPS[::-1], "gap", "ntk", True)
    np.testing.assert_allclose(mirrored, ring, rtol=1e-12)


def explicit(width: int, count: int, pooling: str) -> np.ndarray:
    """Theta (11, 12, 22), weights alone, NTK parametrisation, of erf networks with two hidden layers: by gradients."""
    rng, phi = np.random.default_rng(3), activations.get("erf")
    frame = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))[0][:, :8]
    x = math.sqrt(width) * frame @ np.linalg.cholesky(GRAM.reshape(8, 8)).T  # M_0 = M with the same Gram
    h = np.broadcast_to(x.reshape(width, 2, 4), (count, width, 2, 4))
    taps = [math.sqrt(1.7 * v / width) for v in TAPS]
    layers = []
    for _ in range(2):
        w = rng.standard_normal((3, count, width, width))
        u = sum(s * np.einsum("nij,njap->niap", w[b], np.roll(h, 1 - b, 3)) for b, s in enumerate(taps))
        layers.append((w, h, phi.dphi(u)))
        h = phi.phi(u)
    shape = (count, width) if pooling == "gap" else (count, width, 4)
    size = math.sqrt(1.7 / width) / (4 if pooling == "gap" else 2)  # 1/P, or 1/sqrt(P)
    v = rng.standard_normal(shape)
    v *= size * math.sqrt(width) / np.sqrt((v**2).sum(1, keepdims=True))  # exact lengths: the same limit, less noise
    pooled = h.sum(3, keepdims=True) if pooling == "gap" else h
    theta = size**2 * np.einsum("niap,nibp->nab", pooled, pooled)
    d = np.broadcast_to(v[..., None, None] if pooling == "gap" else v[:, :, None, :], h.shape)
    for w, below, slope in reversed(layers):
        d = slope * d
        for b, s in enumerate(taps):
            gradient = s * np.einsum("niap,njap->naij", d, np.roll(below, 1 - b, 3))
            theta += np.einsum("naij,nbij->nab", gradient, gradient)
        d = sum(s * np.roll(np.einsum("nij,niap->njap", w[b], d), b - 1, 3) for b, s in enumerate(taps))
    return np.stack([theta[:, 0, 0], theta[:, 0, 1], theta[:, 1, 1]], axis=1)


@pytest.mark.parametrize("pooling", ["gap", "flat"])
def test_kernels_of_explicit_networks(pooling: str) -> None:
    """Widths 12 to 48, extrapolated; 4 % more is refused."""
    widths = [12, 24, 48]
    found, error = limit_of([explicit(m, 24_000 // m, pooling) for m in widths], widths)
    upper = np.triu_indices(2)
    expected = convolution.kernel(GRAM, "erf", 1.7, 0.0, 2, TAPS, pooling, "ntk", False)[upper]
    assert np.abs((found - expected) / error).max() < 4.0
    assert np.abs((found - 1.04 * expected) / error).max() > 5.0


@pytest.mark.parametrize("pooling", ["gap", "flat"])
@pytest.mark.parametrize("parameterization", ["ntk", "standard", "pdlt"])
def test_kernels_of_the_program(pooling: str, parameterization: str) -> None:
    """The architecture itself, taken to infinite width by the interpreter of programs."""
    p = {
        "positions": (4,),
        "kernel": 3,
        "taps": TAPS,
        "pooling": pooling,
        "depth": 3,
        "width": 50,
        "weights": "gaussian",
    }
    laws = {"W": (1.7, 0.2), "readout": (1.7, 0.2)}
    found = program.limit(
        network, laws, GRAM.reshape(8, 8), activation="gelu", axes={"position": 4}, parameters=p
    ).tangent_kernel(parameterization, True)
    given = (0.2, 3, TAPS, pooling, parameterization, True, 50)
    np.testing.assert_allclose(convolution.kernel(GRAM, "gelu", 1.7, *given), found, rtol=1e-10)
    assert np.abs(convolution.kernel(GRAM, "gelu", 1.02 * 1.7, *given) / found - 1).max() > 0.01


def linear_layer(rng: np.random.Generator, h: np.ndarray) -> np.ndarray:
    """u (N, M, P) of h (N, M, P), sigma_w2 = 1.4."""
    count, width = h.shape[:2]
    taps = [math.sqrt(1.4 * v / width) for v in TAPS]
    w = rng.standard_normal((3, count, width, width))
    return np.asarray(sum(s * w[b] @ np.roll(h, 1 - b, 2) for b, s in enumerate(taps)))


def test_linear_and_relu_networks_at_any_width() -> None:
    """M = 3, P = 4, two layers: all means, all second moments; lengths of relu. 2 % more of a mean is refused."""
    count, width = 200_000, 3
    x = np.random.default_rng(0).standard_normal((width, 4))
    for name in ("linear", "relu"):
        rng, phi = np.random.default_rng(5), activations.get(name)
        h = np.broadcast_to(x, (count, width, 4))
        for _ in range(2):
            h = phi.phi(linear_layer(rng, h))
        k = np.einsum("nip,niq->npq", h, h) / width
        if name == "relu":
            lengths = np.einsum("npp->np", k)
            expected = exact.relu_convolution_lengths(1.4, TAPS, (x**2).mean(0), 2)
            error = lengths.std(0) / math.sqrt(count)
            assert np.abs((lengths.mean(0) - expected) / error).max() < 4.0
            assert np.abs((lengths.mean(0) - 1.02 * expected) / error).max() > 4.0
            np.testing.assert_allclose(expected.mean(), 0.7**2 * (x**2).mean(), rtol=1e-13)
            continue
        law = exact.linear_convolution_grams(1.4, TAPS, x.T @ x / width, width, 2)
        z = (k.mean(0) - law.mean) * math.sqrt(count) / k.std(0)
        products = np.einsum("nab,ncd->nabcd", k[:40_000], k[:40_000])
        z_second = (products.mean(0) - law.second) * math.sqrt(40_000) / products.std(0)
        assert np.abs(z).max() < 4.0
        assert np.abs(z_second).max() < 4.5
        wrong = (k.mean(0) - 1.02 * law.mean) * math.sqrt(count) / k.std(0)
        assert np.abs(wrong).max() > 5.0
        wide = exact.linear_convolution_grams(1.4, TAPS, x.T @ x / width, 10 * width, 2)
        assert np.abs((products.mean(0) - wide.second) * math.sqrt(40_000) / products.std(0)).max() > 10.0


def test_linear_convolution_as_a_matrix() -> None:
    """E Tr (C C^T)^2/(P M) for M = 3, P = 4, where only some Fourier blocks are complex; the dense value is refused."""
    count, width, positions = 20_000, 3, 4
    rng = np.random.default_rng(1)
    eye = np.eye(width * positions).reshape(width * positions, width, positions)
    w = rng.standard_normal((3, count, width, width))
    c = sum(
        math.sqrt(1.4 * TAPS[b] / width) * np.einsum("nij,ejp->nipe", w[b], np.roll(eye, 1 - b, 2)) for b in range(3)
    ).reshape(count, 12, 12)
    square = c @ c.transpose(0, 2, 1)
    values = (square**2).sum((1, 2)) / 12
    expected = exact.linear_convolution_spread(1.4, TAPS, positions, width)
    error = values.std() / math.sqrt(count)
    assert abs(values.mean() - expected) < 4.0 * error
    assert abs(values.mean() - 1.96 * (2 + 1 / 3)) > 6.0 * error


@pytest.mark.parametrize(
    ("taps", "positions", "match"),
    [
        ([0.5, 0.5], 8, "odd numbers"),
        ([0.2] * 5, 4, "at most those of the grid"),
        ([0.5, 0.6, 0.1], 8, "sum to 1.2"),
        ([1.2, -0.4, 0.2], 8, ">= 0"),
        ([[1.0]], 8, "one axis for each"),
    ],
)
def test_taps_are_checked(taps: list[float], positions: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        convolution.tap_modes(taps, positions)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match='must be "gap" or "flat"'):
        convolution.kernel(GRAM, "erf", 1.7, 0.2, 2, TAPS, "max", "ntk", True)
    with pytest.raises(ValueError, match="leave the tap out"):
        convolution.kernel(GRAM, "erf", 1.7, 0.2, 2, [0.0, 1.0, 0.0], "gap", "standard", True, 50)
    with pytest.raises(ValueError, match=r"shape \(T, P, T, P\)"):
        convolution.covariances("erf", 1.7, 0.2, np.eye(3), 2, TAPS)
