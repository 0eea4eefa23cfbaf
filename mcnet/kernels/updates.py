"""Updates of built matrices in place: no array of the size of a gradient is made."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


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
