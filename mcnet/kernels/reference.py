"""Kernels in plain NumPy and float64: slow, clear, the judge of the others. The same names in every backend."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcnet import streams
from mcnet.activations import Activation
from mcnet.streams import Key

RANK_TOLERANCE = 1e-13


class Chain(NamedTuple):
    """Gram matrices u.u/M and h.h/M of layers 1 to depth in the difference basis, float64 (N, depth, T, T)."""

    u: NDArray[np.float64]
    h: NDArray[np.float64]


def normals(
    key: Key,
    start: int,
    stop: int,
    role: int,
    layer: int,
    rows: int,
    columns: int,
    *,
    first_row: int = 0,
    first_column: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Standard normals of networks start to stop - 1, shape (N, rows, columns); see :func:`mcnet.streams.normals`."""
    out = np.empty((stop - start, rows, columns), dtype)
    for n in range(stop - start):
        out[n] = streams.normals(key, start + n, role, layer, rows, columns, first_row, first_column)
    return out


def uniforms(
    key: Key,
    start: int,
    stop: int,
    role: int,
    layer: int,
    rows: int,
    columns: int,
    *,
    first_row: int = 0,
    first_column: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Uniform numbers on (-1, 1), shape (N, rows, columns); see :func:`mcnet.streams.uniforms`."""
    out = np.empty((stop - start, rows, columns), dtype)
    for n in range(stop - start):
        out[n] = streams.uniforms(key, start + n, role, layer, rows, columns, first_row, first_column)
    return out


def factor(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower Cholesky factor of a Gram matrix (T, T) in the difference basis, which may have any rank.

    A pivot below 1e-13 of its diagonal entry is zero. An input of plain length exactly zero has minus the row of input
    0: its u is then exactly zero, as that of a dead layer must be (else rounding decides which units are on).
    """
    a = np.zeros_like(s)
    for t in range(len(s)):
        if t > 0 and s[0, 0] + 2 * s[t, 0] + s[t, t] == 0:
            a[t] = -a[0]
            continue
        for q in range(t):
            if a[q, q] > 0:
                a[t, q] = (s[t, q] - a[t, :q] @ a[q, :q]) / a[q, q]
        pivot = s[t, t] - a[t, :t] @ a[t, :t]
        a[t, t] = np.sqrt(pivot) if pivot > RANK_TOLERANCE * s[t, t] else 0.0
    return a


def check_chain(gram: NDArray[np.float64], weights: str, width: int) -> None:
    """Raise ValueError where the chain cannot be drawn."""
    inputs = gram.shape[-1]
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(f'weights "{weights}" have no conditioned form: use "gaussian" or "orthogonal"')
    if weights == "orthogonal" and inputs > width:
        raise ValueError(
            f"{inputs} inputs need an orthonormal frame of {inputs} vectors, more than the width {width} can hold: "
            "use explicit weights"
        )


def conditioned_chain(
    key: Key,
    start: int,
    stop: int,
    gram: NDArray[np.float64],
    *,
    activation: Activation,
    weights: str,
    width: int,
    depth: int,
    sigma_w2: float,
    sigma_b2: float,
    input_dimension: int,
    precision: str = "float64",
) -> Chain:
    """Gram matrices of a dense network layer by layer, exact in distribution at finite width, without weights.

    Parameters
    ----------
    key : Key
        Of the point, :func:`mcnet.streams.point_key`.
    start, stop : int
        Networks start to stop - 1 of the ensemble; N = stop - start.
    gram : ndarray, shape (N or 1, T, T)
        x.x/M_0 of the inputs in the difference basis (x_0, x_1 - x_0, ..., x_(T-1) - x_0).
    activation : Activation
    weights : str
        ``gaussian`` or ``orthogonal`` (Haar).
    width, depth : int
        M and the number of layers.
    sigma_w2, sigma_b2 : float
        Variance of a weight times its fan-in, variance of a bias.
    input_dimension : int
        M_0; matters for Haar weights only.
    precision : str
        The reference is float64 whatever it says.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError
        If the weights have no conditioned form, or T > M with Haar weights.

    Notes
    -----
    Given the layer below, whose Gram matrix is K (difference basis),

        Gaussian:  U = A Z,               A A^T = sigma_w2 K + sigma_b2 e_0 e_0^T
        Haar:      U = s L C^-1 Z + sqrt(sigma_b2) e_0 b^T,  L L^T = K,  C C^T = Z Z^T,  s^2 = sigma_w2 max(M, fan-in)

    with A, L, C lower triangular, Z (T, M) the normals of role FORWARD and b those of role BIAS. A Haar matrix with
    fewer outputs than inputs shows M of the fan-in columns of Z, all of which make C. Exact at finite M: Z of Gaussian
    weights are the weights seen from orthonormal directions, and Z made orthonormal is a Haar frame.
    """
    check_chain(gram, weights, width)
    inputs = gram.shape[-1]
    chain = Chain(*(np.empty((stop - start, depth, inputs, inputs)) for _ in range(2)))
    for n in range(stop - start):
        k = gram[min(n, len(gram) - 1)]
        for layer in range(1, depth + 1):
            fan_in = input_dimension if layer == 1 else width
            columns = max(fan_in, width) if weights == "orthogonal" else width
            z = streams.normals(key, start + n, streams.FORWARD, layer, inputs, columns).astype(np.float64)
            if weights == "gaussian":
                s = sigma_w2 * k
                s[0, 0] += sigma_b2
                u = factor(s) @ z
            else:
                orthonormal = np.linalg.solve(np.linalg.cholesky(z @ z.T), z)
                u = np.sqrt(sigma_w2 * max(fan_in, width)) * factor(k) @ orthonormal[:, :width]
                bias = streams.normals(key, start + n, streams.BIAS, layer, 1, width)[0]
                u[0] += np.sqrt(sigma_b2) * bias
            h = np.array(activation.phi(u[0] + np.r_[np.zeros((1, width)), u[1:]]))
            h[1:] -= h[0]
            k = h @ h.T / width
            chain.u[n, layer - 1], chain.h[n, layer - 1] = u @ u.T / width, k
    return chain
