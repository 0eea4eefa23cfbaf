"""Two independent samplers of small random networks in plain NumPy, to judge the theory of finite width.

``explicit`` draws the weight matrices, ``conditioned`` only their answers: the same law, and much cheaper. Two inputs;
equal widths; Gaussian readout. The Gram matrices come as arrays ``k (N, depth + 1, 2, 2)``, ``q (N, depth, 2, 2)``,
``b (N, depth, CT, CT)`` and ``theta (N, CT, CT)``, columns (output, input); theta in the parametrisation
alpha = sigma_w2, beta = sigma_b2 (``ntk``) with biases trained.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mcnet.activations.table import Activation


@dataclass
class Sample:
    k: np.ndarray
    q: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    normals: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)


def inputs_of(gram: np.ndarray, width: int) -> np.ndarray:
    """Fixed inputs (M, 2) with x_a . x_b / M = gram exactly."""
    frame = np.linalg.qr(np.random.default_rng(0).standard_normal((width, 2)))[0]
    return np.sqrt(width) * frame @ np.linalg.cholesky(gram).T


def gram_of(h: np.ndarray) -> np.ndarray:
    return np.einsum("nia,nib->nab", h, h)


def haar(rng: np.random.Generator, networks: int, size: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((networks, size, size)))
    return q * np.sign(np.einsum("nii->ni", r))[:, None, :]


def explicit(
    rng: np.random.Generator,
    phi: Activation,
    orthogonal: bool,
    gram: np.ndarray,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    width: int,
    networks: int,
    outputs: int = 1,
) -> Sample:
    h = np.broadcast_to(inputs_of(gram, width), (networks, width, 2))
    ks, qs, slopes, matrices = [gram_of(h) / width], [], [], []
    for _ in range(depth):
        if orthogonal:
            w = np.sqrt(sigma_w2) * haar(rng, networks, width)
        else:
            w = np.sqrt(sigma_w2 / width) * rng.standard_normal((networks, width, width))
        u = w @ h + np.sqrt(sigma_b2) * rng.standard_normal((networks, width, 1))
        h = phi.phi(u)
        slopes.append(phi.dphi(u))
        matrices.append(w)
        ks.append(gram_of(h) / width)
        qs.append(gram_of(u) / width)
    readout = np.sqrt(sigma_w2 / width) * rng.standard_normal((networks, width, outputs))
    back = np.repeat(readout, 2, axis=2)  # (N, M, C T)
    bs = []
    for layer in range(depth, 0, -1):
        d = np.tile(slopes[layer - 1], outputs) * back
        bs.insert(0, gram_of(d))
        back = matrices[layer - 1].transpose(0, 2, 1) @ d
    return _collect(ks, qs, bs, sigma_w2, sigma_b2, outputs)


def conditioned(
    rng: np.random.Generator,
    phi: Activation,
    orthogonal: bool,
    gram: np.ndarray,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    width: int,
    networks: int,
    outputs: int = 1,
) -> Sample:
    """The same law from the normals z (forward), bias and gamma (backward) of each layer, kept in ``normals``."""
    m, columns = width, 2 * outputs
    root_bias, ones = np.sqrt(sigma_b2), np.ones((2, 2))
    k = np.broadcast_to(gram, (networks, 2, 2))
    ks, qs, us, slopes = [k], [], [], []
    hs = [np.broadcast_to(inputs_of(gram, m), (networks, m, 2))]
    normals = []
    for _ in range(depth):
        z, bias = rng.standard_normal((networks, m, 2)), rng.standard_normal((networks, m, 1))
        normals.append((z, bias, rng.standard_normal((networks, m, columns))))
        if orthogonal:
            us.append(np.sqrt(sigma_w2 * m) * z @ upper(gram_of(z), inverse=True) @ upper(k))
            u = us[-1] + root_bias * bias
        else:
            u = z @ upper(sigma_w2 * k + sigma_b2 * ones)
            us.append(u)
        hs.append(phi.phi(u))
        slopes.append(phi.dphi(u))
        k = gram_of(hs[-1]) / m
        qs.append(gram_of(u) / m)
        ks.append(k)
    each = np.repeat(np.eye(outputs), 2, axis=1)  # (C, C T): the errors of the readout
    above = rng.standard_normal((networks, outputs, 2)) @ upper(sigma_w2 * k + sigma_b2 * ones)
    d = np.broadcast_to(each, (networks, outputs, columns))
    bs = []
    for layer in range(depth, 0, -1):
        h, gamma = hs[layer], normals[layer - 1][2]
        a = np.einsum("nis,nit->nst", above, d)
        if orthogonal and layer < depth:
            inverse = np.linalg.inv(gram_of(h))
            rest = sigma_w2 * gram_of(d) - a.transpose(0, 2, 1) @ inverse @ a
            free = gamma - h @ (inverse @ (h.transpose(0, 2, 1) @ gamma))
            y = h @ (inverse @ a) + free @ upper(gram_of(free), inverse=True) @ upper(rest)
        else:
            scale = np.sqrt(sigma_w2 / m)
            row = rng.standard_normal((networks, 1, columns))
            if layer == depth:
                g, row = gamma[:, :, ::2] @ each, row[:, :, ::2] @ each
            else:
                root = upper(gram_of(d))
                g, row = gamma @ root, row @ root
            projected = scale * h.transpose(0, 2, 1) @ g + root_bias * row
            y = scale * (g + scale * h @ np.linalg.solve(sigma_w2 * ks[layer] + sigma_b2 * ones, a - projected))
        d = np.tile(slopes[layer - 1], outputs) * y
        bs.insert(0, gram_of(d))
        above = us[layer - 1]
    return _collect(ks, qs, bs, sigma_w2, sigma_b2, outputs, normals)


def upper(matrix: np.ndarray, inverse: bool = False) -> np.ndarray:
    """Upper triangular R with R^T R = matrix (N, n, n), which may be singular; or the inverse of R."""
    rest, r = matrix.copy(), np.zeros_like(matrix)
    for i in range(matrix.shape[-1]):
        pivot = np.sqrt(np.where(rest[:, i, i] > 1e-13 * matrix[:, i, i], rest[:, i, i], 0.0))
        r[:, i, i:] = rest[:, i, i:] * np.divide(1.0, pivot, out=np.zeros_like(pivot), where=pivot > 0.0)[:, None]
        rest -= r[:, i, :, None] * r[:, i, None, :]
    return np.linalg.inv(r) if inverse else r


def entries(matrices: np.ndarray) -> np.ndarray:
    """Entries (11, 12, 22) of (..., 2, 2)."""
    return matrices[..., [0, 0, 1], [0, 1, 1]]


def unit_noise(
    sample: Sample, phi: Activation, orthogonal: bool, sigma_b2: float, s: np.ndarray, b: np.ndarray, means: np.ndarray
) -> list[np.ndarray]:
    """Functions of the raw normals of each unit, a list over layers of (N, M, features), of exactly zero mean.

    Their means over the units are, at M = infinity, the noise that a layer adds: a regression on them leaves a variance
    of order 1/M^2. ``s`` and ``b`` (depth, 2, 2) are S^1..S^depth and B^2..B^(depth + 1), ``means (depth, 6)`` those of
    h_a h_b and p_a p_b; the zero mean does not depend on b.
    """
    out = []
    depth = len(s)
    for layer, (z, bias, gamma) in enumerate(sample.normals):
        if orthogonal:
            u = z @ np.linalg.cholesky(s[layer] - sigma_b2).T + np.sqrt(sigma_b2) * bias
        else:
            u = z @ np.linalg.cholesky(s[layer]).T
        slopes = products(phi.dphi(u))
        root = np.linalg.cholesky(b[layer] + 1e-13 * np.eye(2))
        features = [
            products(u) - entries(s[layer]),
            products(phi.phi(u)) - means[layer, :3],
            slopes - means[layer, 3:],
            slopes * (products(gamma[:, :, :2] @ root.T) - entries(root @ root.T)),
        ]
        if orthogonal:
            features.append(products(z) - entries(np.eye(2)))
        if orthogonal and layer < depth - 1:
            features.append(products(gamma[:, :, :2]) - entries(np.eye(2)))
        out.append(np.concatenate(features, axis=2))
    return out


def products(x: np.ndarray) -> np.ndarray:
    """x_a x_b of (..., 2) in the order (11, 12, 22)."""
    return x[..., [0, 0, 1]] * x[..., [0, 1, 1]]


def _collect(
    ks: list[np.ndarray],
    qs: list[np.ndarray],
    bs: list[np.ndarray],
    sigma_w2: float,
    sigma_b2: float,
    outputs: int,
    normals: list[tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None,
) -> Sample:
    k, b = np.stack(ks, axis=1), np.stack(bs, axis=1)
    readout = np.kron(np.eye(outputs), np.ones((2, 2)))
    theta = sum(
        above * np.tile(sigma_w2 * k[:, layer] + sigma_b2, (outputs, outputs))
        for layer, above in enumerate([*np.moveaxis(b, 1, 0), readout])
    )
    return Sample(k, np.stack(qs, axis=1), b, theta, normals or [])
