"""Residual networks: one block at any width, Jacobians of explicit networks, recursions to great depth, the flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from extrapolation import limit_of
from random_networks import haar

from mcnet.theory import exact, gaussian, jacobian, residual
from mcnet.theory.exact.jacobian import second_moments

POST = residual.Block("post", "gelu", 1.7, 0.2, 0.9, 0.6)
PRE = residual.Block("pre", "tanh", 1.7, 0.2, 0.9, 0.8)
TWO = residual.Block("two", "tanh", 1.7, 0.2, 0.9, 0.6, 1.3, 0.1)


def block_of(
    block: residual.Block, rng: np.random.Generator, h: np.ndarray, orthogonal: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """h (N, M) one block on, and the Jacobian (N, M, M) of that block."""
    count, width = h.shape

    def matrix(variance: float) -> np.ndarray:
        if orthogonal:
            return math.sqrt(variance) * haar(rng, count, width)
        return math.sqrt(variance / width) * rng.standard_normal((count, width, width))

    phi, w = block.phi, matrix(block.sigma_w2)
    b = math.sqrt(block.sigma_b2) * rng.standard_normal((count, width))
    eye = np.eye(width)
    if block.kind == "pre":
        branch = np.einsum("nij,nj->ni", w, phi.phi(h)) + b
        j = w * phi.dphi(h)[:, None, :]
    else:
        u = np.einsum("nij,nj->ni", w, h) + b
        branch, j = phi.phi(u), phi.dphi(u)[:, :, None] * w
        if block.sigma_v2 is not None and block.sigma_c2 is not None:
            v = matrix(block.sigma_v2)
            branch = np.einsum("nij,nj->ni", v, branch)
            branch = branch + math.sqrt(block.sigma_c2) * rng.standard_normal((count, width))
            j = v @ j
    return block.skip * h + block.branch * branch, block.skip * eye + block.branch * j


@pytest.mark.parametrize("block", [POST, PRE, TWO], ids=lambda block: block.kind)
def test_one_block_is_exact_at_any_width(block: residual.Block) -> None:
    """The mean length after a block, M = 5, from a fixed state (Gaussian for ``pre``); 2 % more is refused."""
    rng, count = np.random.default_rng(1), 200_000
    if block.kind == "pre":
        h = math.sqrt(1.3) * rng.standard_normal((count, 5))
        law = residual.signal(block, 1.3, 1)
    else:
        fixed = np.array([1.4, -0.3, 0.8, 1.1, 0.2])
        h = np.broadcast_to(fixed, (count, 5))
        law = residual.signal(block, float(fixed @ fixed) / 5, 1, float(fixed.mean()))
    after = block_of(block, rng, h)[0]
    for sample, expected in (((after**2).mean(1), law.length[1]), (after.mean(1), law.mean[1])):
        error = sample.std() / math.sqrt(count)
        assert abs(sample.mean() - expected) < 4.0 * error
        assert expected == 0.0 or abs(sample.mean() - 1.02 * expected) > 6.0 * error


def jacobians(block: residual.Block, width: int, count: int, orthogonal: bool = False) -> np.ndarray:
    """Moments of J J^T of three blocks, network by network."""
    rng = np.random.default_rng(3)
    h = rng.standard_normal((count, width))
    if block.kind != "pre":
        h *= np.sqrt(1.1 / (h**2).mean(1, keepdims=True))
    else:
        h *= math.sqrt(1.1)
    total = np.broadcast_to(np.eye(width), (count, width, width))
    for _ in range(3):
        h, j = block_of(block, rng, h, orthogonal)
        total = j @ total
    square = total @ total.transpose(0, 2, 1)
    return np.stack([np.einsum("nii->n", square) / width, (square**2).sum((1, 2)) / width], axis=1)


@pytest.mark.parametrize(
    ("block", "weights"), [(POST, "gaussian"), (POST, "orthogonal"), (PRE, "gaussian"), (TWO, "gaussian")]
)
def test_jacobians_of_explicit_networks(block: residual.Block, weights: str) -> None:
    """mu_1 and mu_2/mu_1^2, widths 24 to 96 extrapolated; 3 % more is refused.

    From mu_2 its correlation with mu_1 is taken off, which leaves mu_2/mu_1^2 in the limit.
    """
    law = residual.jacobian_moments(block, 1.1, 3, weights)
    np.testing.assert_allclose(law.mean, np.prod(residual.signal(block, 1.1, 3).chi), rtol=1e-9)
    widths, samples = ([12, 24, 48] if weights == "orthogonal" else [24, 48, 96]), []
    for width in widths:
        first, second = jacobians(block, width, 48_000 // width, weights == "orthogonal").T
        ratio = (second - 2.0 * law.second / law.mean * (first - law.mean)) / law.mean**2
        samples.append(np.stack([first, ratio], axis=1))
    found, error = limit_of(samples, widths)
    expected = np.array([law.mean, law.second / law.mean**2])
    assert np.abs((found - expected) / error).max() < 4.0
    assert np.abs((found - 1.03 * expected) / error).min() > 5.0


def test_blocks_of_pre_are_not_free() -> None:
    """The free formula misses mu_2 by more than the networks allow; one block, where nothing is correlated, agrees."""
    law, path = residual.jacobian_moments(PRE, 1.1, 3), residual.signal(PRE, 1.1, 3)

    def free(depth: int) -> float:
        ratio, a2, s2 = 1.0, PRE.skip**2, PRE.branch**2
        for q in path.q[:depth]:
            first, fourth = (gaussian.mean(lambda u, k=k: np.cosh(u) ** (-2.0 * k), q) for k in (2, 4))
            x = 1.7 * first
            ratio += (2 * a2 * s2 * x + s2 * s2 * x * x * fourth / first**2) / (a2 + s2 * x) ** 2
        return ratio

    assert free(3) < 0.97 * law.second / law.mean**2
    one = residual.jacobian_moments(PRE, 1.1, 1)
    np.testing.assert_allclose(one.second / one.mean**2, free(1), rtol=1e-12)


def test_reductions() -> None:
    """Without skip a ``post`` network is a dense one; without branch J is a^L."""
    dense = residual.Block("post", "tanh", 1.7, 0.2, 0.0, 1.0)
    got = residual.jacobian_moments(dense, 1.1, 4)
    q = residual.signal(dense, 1.1, 4).q
    exactly = jacobian.moments("tanh", "gaussian", 1.7, 0.2, 4, 2, q=q)
    np.testing.assert_allclose([got.mean, got.second], exactly, rtol=1e-8)
    for kind in ("post", "pre"):
        still = residual.jacobian_moments(residual.Block(kind, "tanh", 1.7, 0.2, 0.9, 0.0), 1.1, 5)
        np.testing.assert_allclose([still.mean, still.second], [0.9**10, 0.9**20], rtol=1e-12)


def test_linear_residual_jacobians_at_any_width() -> None:
    """M = 4, three blocks, E tr A, E tr A^2 and E (tr A)^2; 2 % more is refused."""
    rng, count, m = np.random.default_rng(2), 400_000, 4
    total = np.broadcast_to(np.eye(m), (count, m, m))
    for _ in range(3):
        total = total + 0.5 * math.sqrt(1.4 / m) * (rng.standard_normal((count, m, m)) @ total)
    a = total @ total.transpose(0, 2, 1)
    trace = np.einsum("nii->n", a) / m
    law = exact.linear_residual_jacobian(1.4, 1.0, 0.5, m, 3)
    for sample, expected in ((trace, law.mean), ((a**2).sum((1, 2)) / m, law.second), (trace**2, law.trace_square)):
        error = sample.std() / math.sqrt(count)
        assert abs(sample.mean() - expected) < 4.0 * error
        assert abs(sample.mean() - 1.02 * expected) > 6.0 * error
    dense, plain = exact.linear_residual_jacobian(1.4, 0.0, 1.0, 9, 5), second_moments("linear", "gaussian", 1.4, 5, 9)
    np.testing.assert_allclose(dense, plain, rtol=1e-12)


def test_relu_residual_networks_at_any_width() -> None:
    """M = 4, three ``two`` blocks: moments of the length, and of the squared gradient of a fixed error at the top."""
    rng, count, m = np.random.default_rng(2), 200_000, 4
    block = residual.Block("two", "relu", 1.6, 0.0, 1.0, 0.7, 1.2, 0.0)
    h = np.broadcast_to(np.array([1.0, -0.5, 0.3, 0.8]), (count, m))
    start, total = (h**2).sum(1), np.broadcast_to(np.eye(m), (count, m, m))
    for _ in range(3):
        h, j = block_of(block, rng, h)
        total = j @ total
    law = exact.relu_residual_lengths(1.6, 1.2, 1.0, 0.7, m, 3)
    for sample in ((h**2).sum(1) / start, (total[:, 0] ** 2).sum(1)):
        for power, expected in ((1, law.mean), (2, law.second)):
            values = sample**power
            error = values.std() / math.sqrt(count)
            assert abs(values.mean() - expected) < 4.5 * error
            assert power == 2 or abs(values.mean() - 1.02 * expected) > 6.0 * error
    np.testing.assert_allclose(residual.signal(block, 1.0, 3).length[3], law.mean, rtol=1e-12)
    deep = exact.relu_residual_lengths(2.0, 1.0, 1.0, 1.0 / 8.0, 100, 64)  # s = 1/sqrt(64): no growth with depth
    wide = exact.relu_residual_lengths(2.0, 1.0, 1.0, 1.0 / 32.0, 100, 1024)
    np.testing.assert_allclose(wide.second / wide.mean**2 - 1.0, 0.0408, atol=5e-5)
    assert abs(deep.second / deep.mean**2 - wide.second / wide.mean**2) < 0.002


def erf_path(block: residual.Block, gram: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation and the sum of log chi after every block of ``post`` or ``two`` with erf, by closed forms."""
    (k, c), k_2 = gram[0], gram[1, 1]
    path, log_chi = np.empty(depth), np.empty(depth)
    total = 0.0
    for layer in range(depth):
        q, q_2, s = (block.variance(x) for x in (k, k_2, c))
        total += math.log(1.0 + block.gain * 4.0 / math.pi / math.sqrt(1.0 + 4.0 * q))
        k += block.branch_length(2.0 / math.pi * math.asin(2.0 * q / (1.0 + 2.0 * q)))
        k_2 += block.branch_length(2.0 / math.pi * math.asin(2.0 * q_2 / (1.0 + 2.0 * q_2)))
        c += block.branch_length(2.0 / math.pi * math.asin(2.0 * s / math.sqrt((1.0 + 2.0 * q) * (1.0 + 2.0 * q_2))))
        path[layer], log_chi[layer] = c / math.sqrt(k * k_2), total
    return path, log_chi


@pytest.mark.parametrize(
    "block",
    [
        residual.Block("post", "erf", 1.5, 0.3, 1.0, 1.0),
        residual.Block("two", "erf", 1.5, 0.3, 1.0, 1.0, 0.8, 0.0),
        residual.Block("two", "erf", 1.5, 0.3, 1.0, 1.0, 0.8, 0.05),
    ],
    ids=["post", "two", "two with bias"],
)
def test_laws_of_large_depth(block: residual.Block) -> None:
    """Recursions to 10^5 blocks: gradients grow as exp(rate sqrt(L)), correlations as a power towards their limit."""
    c, log_chi = erf_path(block, np.array([[1.0, 0.6], [0.6, 1.2]]), 100_000)
    depths = np.array([6000.0, 12000.0, 25000.0, 50000.0, 100000.0])
    design = np.stack([np.sqrt(depths), np.log(depths), np.ones(5), depths**-0.5], axis=1)
    slope = np.linalg.lstsq(design, log_chi[depths.astype(int) - 1], rcond=None)[0][0]
    rate = residual.gradient_rate(block)
    np.testing.assert_allclose(slope, rate, rtol=2e-3)
    assert abs(slope / (1.02 * rate) - 1.0) > 0.015
    law = residual.correlation_law(block)
    far = c[[6_249, 24_999, 99_999]] - law.limit
    assert abs(far[2]) < 0.03
    if law.limit == 0.0:
        np.testing.assert_allclose(math.log(far[2] / far[1]) / math.log(4.0), law.exponent, atol=0.004)
        np.testing.assert_allclose(law.exponent, 2.0 / math.pi - 1.0, rtol=1e-14)
        np.testing.assert_allclose(rate, 4.0 / math.pi * math.sqrt(block.gain), rtol=1e-10)
    else:
        rest = 2.0 * far[1:] - far[:-1]  # without the term of power -1/2
        np.testing.assert_allclose(math.log(rest[1] / rest[0]) / math.log(4.0), law.exponent, atol=0.012)
        assert law.exponent < -0.38


def test_correlations_with_a_strong_bias() -> None:
    """The root of c (sigma_v2 + sigma_c2) = sigma_v2 (2/pi) asin c + sigma_c2; its two powers are close."""
    block = residual.Block("two", "erf", 1.5, 0.3, 1.0, 1.0, 0.8, 1.6)
    law = residual.correlation_law(block)
    np.testing.assert_allclose(2.4 * law.limit, 0.8 * 2 / math.pi * math.asin(law.limit) + 1.6, rtol=1e-13)
    np.testing.assert_allclose(law.exponent, -0.492112, atol=1e-6)
    c = erf_path(block, np.array([[1.0, 0.6], [0.6, 1.2]]), 40_000)[0][[9_999, 39_999]]
    limit = 2.0 * c[1] - c[0]  # without a term of power -1/2, which is nearly all there is
    assert abs(limit - law.limit) < 0.002
    assert abs(limit - 0.98 * law.limit) > 0.015


def test_rate_of_tanh() -> None:
    """(8/3) sqrt(sigma_w2/2 pi)."""
    rate = residual.gradient_rate(residual.Block("post", "tanh", 1.7, 0.2, 1.0, 1.0))
    np.testing.assert_allclose(rate, 8.0 / 3.0 * math.sqrt(1.7 / (2.0 * math.pi)), rtol=1e-10)


def test_flow_of_relu() -> None:
    block = residual.Block("two", "relu", 1.6, 0.0, 1.0, 0.7, 1.2, 0.0)
    law = residual.flow(block, [[1.3]], [0.0, 0.5, 1.0])
    expected = np.exp(0.49 * 1.6 * 1.2 / 2 * np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(law.gram[:, 0, 0], 1.3 * expected, rtol=1e-9)
    np.testing.assert_allclose(law.gradient[:, 0, 0], expected, rtol=1e-9)


@pytest.mark.parametrize(
    "block",
    [
        residual.Block("two", "tanh", 1.7, 0.2, 1.0, 1.4, 1.3, 0.1),
        residual.Block("pre", "gelu", 1.7, 0.2, 1.0, 1.2),
        residual.Block("post", "erf", 1.7, 0.2, 1.0, 1.2),
    ],
    ids=lambda block: block.kind,
)
def test_flow_is_the_limit_of_many_blocks(block: residual.Block) -> None:
    """150 and 300 blocks, extrapolated in 1/L; 2 % more of the branch is refused."""
    law = residual.flow(block, [[1.1]], 1.0)
    values = []
    for depth in (150, 300):
        small = replace(block, branch=block.branch / math.sqrt(depth))
        path = residual.signal(small, 1.1, depth)
        values.append([path.length[-1], np.prod(path.chi)])
    found = 2 * np.array(values[1]) - np.array(values[0])
    np.testing.assert_allclose([law.gram[0, 0], law.gradient[0, 0]], found, rtol=5e-5)
    more = residual.flow(replace(block, branch=1.01 * block.branch), [[1.1]], 1.0)
    assert abs(more.gradient[0, 0] / found[1] - 1.0) > 1e-3
    if block.kind != "pre":  # bounded spread of the spectrum
        small = replace(block, branch=block.branch / math.sqrt(300))
        moments = residual.jacobian_moments(small, 1.1, 300)
        ratio = moments.second / moments.mean**2
        np.testing.assert_allclose(ratio, 1.0 + 2.0 * math.log(law.gradient[0, 0]), rtol=0.01)


def test_flow_of_two_inputs() -> None:
    """Off-diagonal overlaps and gradients: 200 and 400 blocks of erf by closed forms."""
    block = residual.Block("two", "erf", 1.5, 0.3, 1.0, 1.2, 0.8, 0.2)
    gram = np.array([[1.0, 0.6], [0.6, 1.2]])
    law = residual.flow(block, gram, 1.0)
    values = []
    for depth in (200, 400):
        k, log_b = gram.copy(), 0.0
        for _ in range(depth):
            q = block.variance(k)
            root = np.sqrt(np.outer(1 + 2 * np.diagonal(q), 1 + 2 * np.diagonal(q)))
            step = block.branch**2 / depth
            slope = 4 / math.pi / math.sqrt(root[0, 1] ** 2 - 4 * q[0, 1] ** 2)
            log_b += math.log1p(step * block.gain * slope)
            k = k + step * block.branch_length(2 / math.pi * np.arcsin(2 * q / root))
        values.append([k[0, 1], math.exp(log_b)])
    found = 2 * np.array(values[1]) - np.array(values[0])
    np.testing.assert_allclose([law.gram[0, 1], law.gradient[0, 1]], found, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: residual.Block("dense", "tanh", 1.0, 0.0, 1.0, 1.0), 'is "post", "pre" or "two"'),
        (lambda: residual.Block("two", "tanh", 1.0, 0.0, 1.0, 1.0), "needs sigma_v2 and sigma_c2"),
        (lambda: residual.Block("post", "tanh", 1.0, 0.0, 1.0, 1.0, 1.0, 0.0), 'belong to block "two"'),
        (lambda: residual.Block("pre", "tanh", 1.0, 0.0, 0.0, 0.0), "nothing passes"),
        (lambda: residual.Block("pre", "tanh", -1.0, 0.0, 1.0, 1.0), "must be finite and >= 0"),
        (lambda: residual.gradient_rate(POST), "skip = 1 and branch = 1"),
        (lambda: residual.gradient_rate(residual.Block("post", "relu", 1.0, 0.0, 1.0, 1.0)), "does not saturate"),
        (lambda: residual.correlation_law(residual.Block("post", "sigmoid", 1.0, 0.0, 1.0, 1.0)), "opposite values"),
        (lambda: residual.jacobian_moments(TWO, 1.0, 3, "orthogonal"), 'orthogonal ones for "post"'),
        (lambda: residual.flow(residual.Block("post", "relu", 1.0, 0.0, 1.0, 1.0), [[1.0]], 1.0), "E phi is not zero"),
        (lambda: residual.flow(TWO, [[1.0]], 1.0), "the flow needs skip = 1"),
    ],
)
def test_what_is_refused(make: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
