"""Batched linear algebra on the array-API namespace: orthonormal sets that grow, eigenvalues, singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
"""An array of the backend's namespace (NumPy, CuPy or another array-API library)."""

TOLERANCE = 1e-12
"""A vector whose part outside a span is shorter than this, relative to the vector, counts as inside."""


class Extension(NamedTuple):
    """An orthonormal set grown by some vectors.

    Attributes
    ----------
    basis : Array, shape (N, k + T, n)
        The old rows and one new row per vector: orthonormal, or zero where the vector was in the span already.
    coefficients : Array, shape (N, T, k + T)
        The vectors in that basis; of its last T columns the part above the diagonal is zero, the diagonal is >= 0.
    """

    basis: Array
    coefficients: Array


def transpose(xp: Any, a: Array) -> Array:
    """The last two axes exchanged."""
    return xp.matrix_transpose(a)


def extend(xp: Any, basis: Array, vectors: Array) -> Extension:
    """Grow an orthonormal set by vectors, one after the other (Gram-Schmidt, each vector twice).

    Parameters
    ----------
    xp : namespace
        Array namespace of the arguments.
    basis : Array, shape (N or 1, k, n), float64
        Rows orthonormal or zero.
    vectors : Array, shape (N or 1, T, n), float64

    Notes
    -----
    Vector t is projected on everything before it, so the result is the QR factorisation with a non-negative diagonal
    and does not depend on which vectors are asked in one call. Two projections leave the rows orthogonal to rounding
    as long as the part outside the span is above :data:`TOLERANCE`.
    """
    count, known = vectors.shape[1], basis.shape[1]
    lead = max(vectors.shape[0], basis.shape[0])
    vectors = xp.broadcast_to(vectors, (lead, *vectors.shape[1:]))
    rows = xp.concat([xp.broadcast_to(basis, (lead, *basis.shape[1:])), xp.zeros_like(vectors)], axis=1)
    zero = xp.zeros_like(vectors[:, :1, :1])  # (N, 1, 1)
    coefficients = []
    for t in range(known, known + count):
        rest = vectors[:, t - known : t - known + 1, :]  # (N, 1, n)
        floor = TOLERANCE * length(xp, rest)  # (N, 1, 1)
        row = []
        if t:
            before = rows[:, :t, :]
            first = xp.matmul(rest, transpose(xp, before))  # (N, 1, t)
            rest = rest - xp.matmul(first, before)
            second = xp.matmul(rest, transpose(xp, before))
            rest = rest - xp.matmul(second, before)
            row.append(first + second)
        size = length(xp, rest)
        outside = size > floor
        rows[:, t : t + 1, :] = xp.where(outside, rest / xp.where(outside, size, zero + 1.0), xp.zeros_like(rest))
        row.append(xp.where(outside, size, zero))
        row.append(xp.broadcast_to(zero, (lead, 1, known + count - 1 - t)))
        coefficients.append(xp.concat(row, axis=2))
    return Extension(rows, xp.concat(coefficients, axis=1))


def length(xp: Any, vectors: Array) -> Array:
    """Euclidean lengths along the last axis, which is kept with size 1."""
    return xp.sqrt(xp.expand_dims(xp.vecdot(vectors, vectors), axis=-1))


def eigenvalues(xp: Any, matrices: Array) -> Array:
    """Eigenvalues of symmetric matrices, the largest first: (N, n, n) -> (N, n); NaN where a matrix is not finite.

    Up to 2 x 2 in closed form: a call of LAPACK takes longer than a small network.
    """
    if matrices.shape[1] == 1:
        return matrices[:, :, 0]
    if matrices.shape[1] == 2:
        first, second = matrices[:, 0, 0] / 2, matrices[:, 1, 1] / 2
        center, radius = first + second, xp.hypot(first - second, matrices[:, 1, 0])
        return xp.stack([center + radius, center - radius], axis=1)
    finite = xp.all(xp.isfinite(matrices), axis=(1, 2))  # LAPACK may fail or hang on the others
    values = xp.linalg.eigvalsh(xp.where(finite[:, None, None], matrices, xp.zeros_like(matrices)))
    return xp.where(finite[:, None], xp.flip(values, axis=1), xp.full_like(values, xp.nan))


def singular_values(xp: Any, matrices: Array) -> Array:
    """Singular values, the largest first: (N, m, n) -> (N, min(m, n)), float64.

    Notes
    -----
    From the float64 Gram matrix of the smaller side: half the time of an SVD. Those below 1e-6 of the largest are lost.
    """
    a = xp.astype(matrices, xp.float64)
    if a.shape[1] > a.shape[2]:
        a = transpose(xp, a)
    squares = eigenvalues(xp, xp.matmul(a, transpose(xp, a)))
    return xp.sqrt(xp.where(squares < 0.0, xp.zeros_like(squares), squares))
