"""Haar frames as products of random reflections, applied without ever making the frame.

The Householder vectors of the QR factorisation of a Gaussian matrix are independent Gaussian vectors x_0, x_1, ... of
n, n - 1, ... components (Stewart 1980), so no factorisation is needed: with v_k = x_k + sign(x_k0) |x_k| e_0,

    Q = H_0 H_1 ... H_(m-1) diag(-sign x_00, -sign x_10, ...),      H_k = 1 - 2 v_k v_k^T / |v_k|^2,             (1)

is Haar distributed (the m first columns of a square one where m < n). The signs are those that make the diagonal of R
positive; without them Q is not Haar (Mezzadri 2007). Reflections are applied by blocks (Schreiber and Van Loan 1989),

    H_k ... H_(k+b-1) = 1 - V^T T V,      T^-1 = strict upper part of V V^T + half its diagonal,                 (2)

V the rows v_k, at the cost of one product with a dense matrix. T is made from the rounded V, so Q is orthogonal to the
rounding of the products: a few 1e-7 in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mcnet.kernels.linalg import Array, transpose

BLOCK = 64
"""Reflections applied together; a multiple of 4, the columns that one call of the generator makes."""


class Block(NamedTuple):
    """Some reflections, acting on the components from ``first`` on.

    Attributes
    ----------
    first : int
    v : Array, shape (N, b, n - first)
        The vectors, as rows; zero left of the diagonal.
    tv : Array, shape (N, b, n - first)
        T V of equation (2).
    """

    first: int
    v: Array
    tv: Array


class Frame(NamedTuple):
    """Q of equation (1), (N, n, m) with orthonormal columns.

    Attributes
    ----------
    size : int
        n.
    blocks : tuple of Block
    signs : Array, shape (N, m, 1)
        The last factor of (1).
    """

    size: int
    blocks: tuple[Block, ...]
    signs: Array


def frame(xp: Any, draw: Callable[[int, int, int], Array], size: int, count: int) -> Frame:
    """A Haar frame of each network.

    Parameters
    ----------
    xp : namespace
    draw : callable
        ``draw(first, rows, columns)`` -> (N, rows, columns): independent standard normals, entry (k, j) of row
        first + k and column first + j of a matrix; x_k is row k from its diagonal on.
    size, count : int
        n and m <= n.
    """
    blocks, signs = [], []
    triangle: Array = None
    one: Array = None
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        v = draw(first, rows, size - first)
        if triangle is None:
            triangle = xp.triu(xp.ones_like(v[0, :, :rows]))
            one = triangle - xp.triu(triangle, k=1)
        v[:, :, :rows] *= triangle[:rows, :rows]
        squares = _squares(xp, v)  # (N, rows)
        lengths = xp.sqrt(squares)
        leading = xp.astype(xp.linalg.diagonal(v[:, :, :rows]), xp.float64)
        sign = xp.where(leading < 0.0, -xp.ones_like(leading), xp.ones_like(leading))
        v[:, :, :rows] += one[:rows, :rows] * xp.astype(sign * lengths, v.dtype)[:, None, :]
        blocks.append(Block(first, v, _solved(xp, v, squares + lengths * xp.abs(leading))))
        signs.append(xp.astype(-sign, v.dtype))
    return Frame(size, tuple(blocks), xp.expand_dims(xp.concat(signs, axis=1), axis=-1))


def apply(xp: Any, q: Frame, x: Array) -> Array:
    """Q x of each network: (N or 1, m, k) -> (N, n, k)."""
    x = q.signs * x
    missing = q.size - x.shape[1]
    if missing:
        zero = xp.broadcast_to(xp.zeros_like(x[:, :1, :]), (x.shape[0], missing, x.shape[2]))
        x = xp.concat([x, zero], axis=1)
    for block in reversed(q.blocks):
        _reflect(xp, x, block.first, block.v, block.tv)
    return x


def apply_transpose(xp: Any, q: Frame, x: Array) -> Array:
    """Q^T x of each network: (N or 1, n, k) -> (N, m, k)."""
    x = xp.broadcast_to(x, (q.signs.shape[0], *x.shape[1:])) + 0.0  # a copy
    for block in q.blocks:
        _reflect(xp, x, block.first, block.tv, block.v)
    return q.signs * x[:, : q.signs.shape[1], :]


def _squares(xp: Any, v: Array) -> Array:
    """Squared lengths of rows in float64: their rounding is that of Q."""
    if xp is np:
        return np.einsum("nij,nij->ni", v, v, dtype=np.float64)
    wide = xp.astype(v, xp.float64)
    return xp.vecdot(wide, wide)


def _solved(xp: Any, v: Array, half: Array) -> Array:
    """T V of equation (2); ``half`` (N, b) is half the diagonal of V V^T."""
    gram = xp.matmul(v, transpose(xp, v))
    if xp is not np:
        gram = xp.astype(gram, xp.float64)
        triangle = xp.triu(xp.ones_like(gram[0, :, :]))
        one = triangle - xp.triu(triangle, k=1)
        return xp.matmul(xp.astype(xp.linalg.inv(xp.triu(gram, k=1) + one * half[:, None, :]), v.dtype), v)
    from scipy.linalg import blas

    solve = blas.strsm if v.dtype == np.float32 else blas.dtrsm
    diagonal = np.arange(gram.shape[1])
    gram[:, diagonal, diagonal] = half
    solved = np.empty_like(v)
    for g, rows, out in zip(gram, v, solved, strict=True):
        out[...] = solve(1.0, g.T, rows.T, side=1, lower=1).T  # column-major BLAS sees the transposed equation
    return solved


def _reflect(xp: Any, x: Array, first: int, left: Array, right: Array) -> None:
    """x - left^T right x for the components from ``first`` on, in place: (N, n, k)."""
    part = x[:, first:, :]
    inner = xp.matmul(right, part)  # (N, b, k)
    if xp is not np or x.shape[2] < BLOCK or not x.flags.c_contiguous:
        part -= xp.matmul(transpose(xp, left), inner)
        return
    from scipy.linalg import blas

    multiply = blas.sgemm if x.dtype == np.float32 else blas.dgemm  # adds to its target: half the passes over memory
    for target, rows, product in zip(part, left, inner, strict=True):
        done = multiply(-1.0, product.T, rows.T, 1.0, target.T, trans_b=1, overwrite_c=1)
        assert np.shares_memory(done, target)
