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

import functools
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
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        v, sign, halves = _householder(xp, draw(first, rows, size - first))
        blocks.append(Block(first, v, _solved(xp, v, halves)))
        signs.append(sign)
    return Frame(size, tuple(blocks), xp.expand_dims(xp.concat(signs, axis=1), axis=-1))


def apply(xp: Any, q: Frame, x: Array, factor: Array | None = None) -> Array:
    """Q x of each network, or Q (factor x) with a factor (N or 1, m, 1) for each row: (N or 1, m, k) -> (N, n, k)."""
    x = (q.signs if factor is None else q.signs * factor) * x
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


def _householder(xp: Any, x: Array) -> tuple[Array, Array, Array]:
    """Vectors v, factors (N, b) and half squared lengths (N, b), float64, of rows (N, b, n), which are overwritten.

    Lengths are summed in float64: their rounding is that of Q.
    """
    if xp is np:
        v = np.ascontiguousarray(x)
        signs, halves = np.empty(v.shape[:2], v.dtype), np.empty(v.shape[:2])
        _program().householder(v.reshape(-1), signs, halves, v.shape[2])
        return v, signs, halves
    triangle = xp.triu(xp.ones_like(x[0, :, : x.shape[1]]))
    one = triangle - xp.triu(triangle, k=1)
    head = x[:, :, : x.shape[1]]  # a view
    head *= triangle
    wide = xp.astype(x, xp.float64)
    squares = xp.vecdot(wide, wide)  # (N, b)
    lengths, leading = xp.sqrt(squares), xp.linalg.diagonal(wide[:, :, : x.shape[1]])
    sign = xp.where(leading < 0.0, -xp.ones_like(leading), xp.ones_like(leading))
    head += one * xp.astype(sign * lengths, x.dtype)[:, None, :]
    return x, xp.astype(-sign, x.dtype), squares + lengths * xp.abs(leading)


def _solved(xp: Any, v: Array, halves: Array) -> Array:
    """T V of equation (2); ``halves`` (N, b) is half the diagonal of V V^T."""
    gram = xp.matmul(v, transpose(xp, v))
    if xp is np:
        rows = v.shape[1]
        t = np.zeros((v.shape[0], rows, -(-rows // 16) * 16), v.dtype)
        _program().inverted(t.reshape(-1), gram, halves, t.shape[2])
        return np.matmul(t[:, :, :rows], v)
    gram = xp.astype(gram, xp.float64)
    triangle = xp.triu(xp.ones_like(gram[0, :, :]))
    one = triangle - xp.triu(triangle, k=1)
    return xp.matmul(xp.astype(xp.linalg.inv(xp.triu(gram, k=1) + one * halves[:, None, :]), v.dtype), v)


@functools.cache
def _program() -> Any:
    from mcnet.kernels.lanes.programs import program  # Numba, which other devices do without

    return program("reflections")


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
