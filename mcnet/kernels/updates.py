"""Products with built matrices and updates in place: no array of the size of a gradient is made."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


LARGE = 1 << 16
"""Entries of a float32 matrix from which its product with few vectors is faster with the matrix on the left."""


def applied(xp: Any, w: Array, x: Array) -> Array:
    """W x_t for each network: (N, m, n), (N or 1, T, n) -> (N, T, m)."""
    if xp is np and w.dtype == np.float32 and w.shape[1] * w.shape[2] >= LARGE:
        return np.ascontiguousarray(np.matmul(w, x.swapaxes(1, 2)).swapaxes(1, 2))
    return xp.matmul(x, xp.matrix_transpose(w))


def add_outer(xp: Any, w: Array, g: Array, x: Array) -> None:
    """W + sum_r g_r x_r^T for each network, in place: (N, m, n), (N, r, m), (N or 1, r, n)."""
    if xp is not np:
        w += xp.matmul(xp.matrix_transpose(g), x)
        return
    from scipy.linalg import blas

    gemm = blas.sgemm if w.dtype == np.float32 else blas.dgemm
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    for n in range(len(w)):  # W^T, in the order of Fortran, += x^T g
        gemm(1.0, x[n if len(x) > 1 else 0].T, g[n].T, beta=1.0, c=w[n].T, trans_b=1, overwrite_c=1)
