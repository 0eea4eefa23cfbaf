"""Kernels in plain NumPy and float64: slow, clear, the judge of the others. The same names in every backend."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mcnet import streams
from mcnet.activations.table import Activation
from mcnet.streams import Key

RANK_TOLERANCE = 1e-13
NARROW = 16
"""Below this width a network is narrow: see :func:`in_float32`."""


class Chain(NamedTuple):
    """Gram matrices u.u/M and h.h/M of layers 1 to depth in the difference basis, float64 (N, depth, T, T)."""

    u: NDArray[np.float64]
    h: NDArray[np.float64]


class Activated(NamedTuple):
    """What one pass over a layer gives.

    Attributes
    ----------
    h : ndarray, shape (N, T, M)
        phi(u) in the difference basis.
    slope : ndarray, shape (N, T, M)
        phi'(u) of the inputs themselves.
    u_gram, h_gram : ndarray, shape (N, T, T)
        u.u/M and h.h/M, float64, in the difference basis.
    """

    h: NDArray[Any]
    slope: NDArray[Any]
    u_gram: NDArray[np.float64]
    h_gram: NDArray[np.float64]


class TangentChain(NamedTuple):
    """Gram matrices of signal and errors of layers 1 to depth, (N, depth, T, T), float64.

    Attributes
    ----------
    u, h : ndarray
        u.u/M and h.h/M in the difference basis.
    b : ndarray
        d.d of the errors d^l(t) = df(t)/du^l of the inputs themselves, not their differences; divided by 4^exponent.
    exponent : ndarray, shape (N, depth)
        Zero unless the errors grow or shrink out of the range of float64 squares.
    """

    u: NDArray[np.float64]
    h: NDArray[np.float64]
    b: NDArray[np.float64]
    exponent: NDArray[np.float64]


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


def in_float32(precision: str, weights: str, width: int, inputs: int) -> bool:
    """Whether the fused kernels take float32 for normals, u and h.

    Not with T >= M, where Gram matrices have no full rank, nor in narrow networks, where a unit or two may be all that
    lives and rounding is not averaged; nor with Haar frames of more than M / 4 vectors, which may be nearly dependent
    before they are made orthonormal.
    """
    return precision == "mixed" and width >= NARROW and inputs * (4 if weights == "orthogonal" else 1) < width


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


def apply_weights(
    key: Key,
    start: int,
    stop: int,
    x: NDArray[Any],
    *,
    law: str,
    layer: int,
    units: int,
    inputs: int,
    scale: float,
    transpose: bool,
) -> NDArray[np.float64]:
    """Products with the explicit weights of networks start to stop - 1: scale W x, or scale W^T x.

    Parameters
    ----------
    key, start, stop
        As for :func:`normals`.
    x : ndarray, shape (N or 1, T, inputs), or (N or 1, T, units) for the transpose
    law : str
        ``gaussian``: entries of W are the normals of role WEIGHTS; ``uniform``: its uniforms.
    layer, units, inputs : int
        Index of the matrix, its rows and columns.
    scale : float
    transpose : bool

    Returns
    -------
    ndarray, shape (N, T, units), or (N, T, inputs) for the transpose
    """
    numbers = {"gaussian": normals, "uniform": uniforms}[law]
    w = numbers(key, start, stop, streams.WEIGHTS, layer, units, inputs, dtype=np.float64)
    product: NDArray[np.float64] = np.matmul(np.asarray(x, np.float64), w if transpose else np.swapaxes(w, 1, 2))
    return scale * product


def activate(activation: Activation, u: NDArray[Any]) -> Activated:
    """phi(u), phi'(u) and the second moments of a layer, (N, T, M) in the difference basis of the inputs."""
    u = np.asarray(u, np.float64)
    plain = u[:, :1] + np.concatenate([np.zeros_like(u[:, :1]), u[:, 1:]], axis=1)
    h = np.array(activation.phi(plain))
    h[:, 1:] -= h[:, :1]
    u_gram, h_gram = (rows @ np.swapaxes(rows, 1, 2) / rows.shape[2] for rows in (u, h))
    return Activated(h, activation.dphi(plain), u_gram, h_gram)


def tangent_chain(
    key: Key,
    start: int,
    stop: int,
    gram: NDArray[np.float64],
    *,
    activation: Activation,
    width: int,
    depth: int,
    sigma_w2: float,
    sigma_b2: float,
    readout: bool,
    precision: str = "float64",
) -> TangentChain:
    """Gram matrices of signal and back-propagated errors, Gaussian weights, exact in distribution at finite width.

    They give the tangent kernel in every parametrisation, Theta = sum_l B^l o (alpha_l K^(l-1) + beta_l).

    Parameters
    ----------
    key, start, stop, gram, activation, width, depth, sigma_w2, sigma_b2, precision
        As for :func:`conditioned_chain`.
    readout : bool
        True: errors of one output with Gaussian weights. False: the error at h^depth is one vector of independent
        N(0, 1/M) for all inputs (role PROBES, layer depth + 1).

    Returns
    -------
    TangentChain

    Notes
    -----
    The transposed weights are asked d^l (difference basis, r its lower Cholesky factor) after they have answered the
    forward questions X = (sqrt(sigma_w2/M) h, sqrt(sigma_b2) e_0) = R A by Z:

        V^T d = r G + (d Z^T - r G A^T) A,      A orthonormal rows, G fresh normals of role BACKWARD,

    the same rows of the same streams as :class:`mcnet.weights.conditioned.ConditionedGaussian`.
    """
    inputs = gram.shape[-1]
    shape = (stop - start, depth, inputs, inputs)
    chain = TangentChain(np.empty(shape), np.empty(shape), np.empty(shape), np.zeros(shape[:2]))
    step, bias = np.sqrt(sigma_w2 / width), np.sqrt(sigma_b2)
    for n in range(stop - start):
        k = gram[min(n, len(gram) - 1)]
        first, z, h, p = [], [], [], []
        for layer in range(1, depth + 2):
            s = sigma_w2 * k
            s[0, 0] += sigma_b2
            first.append(factor(s))
            columns = width if layer <= depth else 1
            z.append(streams.normals(key, start + n, streams.FORWARD, layer, inputs, columns).astype(np.float64))
            if layer > depth:
                break
            u = first[-1] @ z[-1]
            plain = u[0] + np.r_[np.zeros((1, width)), u[1:]]
            y = np.array(activation.phi(plain))
            y[1:] -= y[0]
            h.append(y)
            p.append(np.array(activation.dphi(plain)))
            k = y @ y.T / width
            chain.u[n, layer - 1], chain.h[n, layer - 1] = u @ u.T / width, k
        d = np.eye(inputs, 1)
        for layer in range(depth, 0, -1):
            if layer == depth and not readout:
                probe = streams.normals(key, start + n, streams.PROBES, depth + 1, 1, width)
                y = np.eye(inputs, 1) @ probe.astype(np.float64) / np.sqrt(width)
            else:
                g = _questions(key, start + n, layer + 1, inputs, width)
                x = np.concatenate([step * h[layer - 1], bias * np.eye(inputs, 1)], axis=1)
                a = _solved(first[layer], x)  # orthonormal rows
                r = factor(d @ d.T)
                y = step * (r @ g + (d @ z[layer].T - r @ g @ a.T) @ a)[:, :width]
            d = p[layer - 1] * y
            d[1:] += (p[layer - 1][1:] - p[layer - 1][0]) * y[0]
            plain = d + np.r_[np.zeros((1, width)), np.repeat(d[:1], inputs - 1, axis=0)]
            chain.b[n, layer - 1] = plain @ plain.T
    return chain


def _questions(key: Key, network: int, layer: int, rows: int, width: int) -> NDArray[np.float64]:
    """Backward normals of a layer with the bias coordinate last, (rows, width + 1)."""
    parts = [
        streams.normals(key, network, streams.BACKWARD, layer, rows, columns, 0, first)
        for first, columns in ((0, width), (streams.BIAS_COLUMN, 1))
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _solved(a: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """a^-1 x for lower triangular a; a zero pivot gives a row of zeros."""
    rows = np.zeros_like(x)
    for t in range(len(a)):
        if a[t, t] > 0:
            rows[t] = (x[t] - a[t, :t] @ rows[:t]) / a[t, t]
    return rows
